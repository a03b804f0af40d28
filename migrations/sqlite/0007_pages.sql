-- What readers change themselves on the public pages.

-- No edition before this instant; NULL: not paused.
ALTER TABLE subscribers ADD COLUMN paused_until INTEGER;

-- A wish that a mail has to prove: to join, or to get the mails at another address. `asked` says how, when and from where.
CREATE TABLE requests (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind = 'join' OR kind = 'address'),
    subscriber_id INTEGER NOT NULL REFERENCES subscribers (id),
    address TEXT NOT NULL,
    address_key TEXT NOT NULL,
    asked TEXT NOT NULL,
    asked_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    confirmed_at INTEGER,
    UNIQUE (kind, subscriber_id, address_key)
) STRICT;
CREATE INDEX requests_open ON requests (expires_at) WHERE confirmed_at IS NULL;

-- Everybody who asked for a mail that has to be confirmed, so that nobody is flooded with them. Without addresses: a keyed hash,
-- which stays when the request is gone.
CREATE TABLE asks (
    id INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    at INTEGER NOT NULL,
    mailed INTEGER NOT NULL CHECK (mailed = 1 OR mailed = 0),
    confirmed INTEGER NOT NULL CHECK (confirmed = 0 OR confirmed = 1)
) STRICT;
CREATE INDEX asks_by_fingerprint ON asks (fingerprint, at);
CREATE INDEX asks_by_time ON asks (at);

-- The mails that asked a person; few rows.
CREATE INDEX deliveries_confirm ON deliveries (subscriber_id) WHERE kind = 'confirm';
