-- What came back: failures and complaints, and tries of received messages that ended with the process.

-- One row per delivery and kind, however often and by whichever way it is told (W147). No address: that is the delivery's.
CREATE TABLE bounces (
    id INTEGER PRIMARY KEY,
    delivery_id INTEGER NOT NULL REFERENCES deliveries (id),
    kind TEXT NOT NULL CHECK (kind = 'bounce' OR kind = 'complaint'),
    edition_id INTEGER REFERENCES editions (id),
    subscriber_id INTEGER REFERENCES subscribers (id),
    lane INTEGER NOT NULL,
    at INTEGER NOT NULL,
    -- The message that told it, which may be gone by now; NULL: the relay said it in the dialogue.
    inbound_id INTEGER,
    -- What the reply is about; 'unclassified' where nothing says it, 'complaint' of a complaint.
    class TEXT NOT NULL,
    reason TEXT NOT NULL,
    status TEXT NOT NULL,
    said TEXT NOT NULL,
    -- Whether it suppresses alone.
    confirmed INTEGER NOT NULL CHECK (confirmed = 1 OR confirmed = 0),
    points INTEGER NOT NULL,
    -- Whether the person took mail before.
    known INTEGER NOT NULL CHECK (known = 0 OR known = 1),
    -- Whether it still stands against the address: not after the person has another one, or an operator has lifted it.
    stands INTEGER NOT NULL CHECK (stands = 1 OR stands = 0),
    UNIQUE (delivery_id, kind)
) STRICT;
CREATE INDEX bounces_by_subscriber ON bounces (subscriber_id) WHERE subscriber_id IS NOT NULL;
CREATE INDEX bounces_by_edition ON bounces (edition_id, kind) WHERE edition_id IS NOT NULL;
CREATE INDEX bounces_by_lane ON bounces (lane, at);

-- Written before the try, so that a message which ends the process is found out.
ALTER TABLE inbound ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE inbound ADD COLUMN tried_at INTEGER;
