-- Erasing that goes on to its end whatever happens, former addresses, and ages of what was kept for ever.

-- Addresses that a person had before they moved: what was kept by one of them is theirs.
CREATE TABLE former_addresses (
    subscriber_id INTEGER NOT NULL REFERENCES subscribers (id),
    address_key TEXT NOT NULL,
    left_at INTEGER NOT NULL,
    PRIMARY KEY (subscriber_id, address_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX former_addresses_by_key ON former_addresses (address_key);
-- Moves that were confirmed before this table was there, as far as a confirmed wish is kept: it names where somebody moved to.
INSERT INTO former_addresses (subscriber_id, address_key, left_at)
    SELECT r.subscriber_id, r.address_key, max(r.confirmed_at) FROM requests r JOIN subscribers s ON s.id = r.subscriber_id
    WHERE r.confirmed_at IS NOT NULL AND r.address_key <> s.address_key AND s.address <> ''
    GROUP BY r.subscriber_id, r.address_key;

-- An erasing that was begun and is not over, one row per address of the person. `touched_at` is its last piece: whoever began it
-- is at work, or was cut short.
CREATE TABLE erasures (
    id INTEGER PRIMARY KEY,
    address_key TEXT NOT NULL UNIQUE,
    subscriber_id INTEGER REFERENCES subscribers (id),
    begun_at INTEGER NOT NULL,
    touched_at INTEGER NOT NULL
) STRICT;

-- Their deliveries: once these say no more to whom they were, nothing else leads to them.
CREATE TABLE erasing_deliveries (
    erasure_id INTEGER NOT NULL REFERENCES erasures (id),
    delivery_id INTEGER NOT NULL REFERENCES deliveries (id),
    PRIMARY KEY (erasure_id, delivery_id)
) STRICT, WITHOUT ROWID;

-- Who was erased, among all who must not be mailed.
CREATE INDEX suppressions_erased ON suppressions (address_key) WHERE reason = 'erased';

-- Deliveries that were not over when the ledger was gone through for what is too old to keep: looked at again.
CREATE TABLE retention_waits (
    delivery_id INTEGER PRIMARY KEY REFERENCES deliveries (id)
) STRICT;

-- Who shares the words of a mail that is no edition's. Editions write nothing to it.
CREATE INDEX deliveries_of_body ON deliveries (body_id) WHERE edition_id IS NULL;

-- What a server said of a mail that came back, until it is too old.
CREATE INDEX bounces_said ON bounces (at) WHERE said <> '';

-- Who asked for a link: a keyed hash of the address and of where the question came from.
ALTER TABLE sign_ins ADD COLUMN asker TEXT NOT NULL DEFAULT '';
