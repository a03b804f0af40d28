-- What operators were told of, what this file is a copy of, and what a page of numbers asks for.

-- One row per cause and what it is about (a relay, an edition). since_at, last_at and count belong to what no mail has told yet,
-- or to the mail of body_id while it waits untried.
CREATE TABLE alarms (
    cause TEXT NOT NULL,
    subject TEXT NOT NULL,
    text TEXT NOT NULL,
    since_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    count INTEGER NOT NULL,
    told_at INTEGER,
    body_id INTEGER REFERENCES bodies (id),
    PRIMARY KEY (cause, subject)
) STRICT, WITHOUT ROWID;

-- A row for each time that this store began as a copy of another one. While restored_at is NULL nothing is scheduled or sent.
CREATE TABLE copies (
    id INTEGER PRIMARY KEY,
    taken_at INTEGER NOT NULL,
    newest_delivery INTEGER NOT NULL,
    restored_at INTEGER
) STRICT;

CREATE INDEX owners_alive ON owners (heartbeat_at) WHERE ended_at IS NULL;
CREATE INDEX inbound_quarantined ON inbound (id) WHERE state = 'quarantined';
