-- Signing in by a mailed link, erasing a person, and keeping nothing for longer than it is needed.

-- A wish to sign in, known by the hash of its link. Exactly one of subscriber_id and address_key says who, both NULL: an address
-- that is nobody's, written down all the same, so that asking costs the same. `fingerprint` is a keyed hash of the address.
CREATE TABLE sign_ins (
    id INTEGER PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    fingerprint TEXT NOT NULL,
    subscriber_id INTEGER REFERENCES subscribers (id),
    address_key TEXT,
    back TEXT NOT NULL,
    asked_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    CHECK (subscriber_id IS NULL OR address_key IS NULL)
) STRICT;
CREATE INDEX sign_ins_by_fingerprint ON sign_ins (fingerprint, asked_at);
CREATE INDEX sign_ins_by_time ON sign_ins (asked_at);

-- Somebody who is signed in, known by the hash of their cookie: a subscriber on the public pages, or somebody of the house, by
-- their address, on the private ones.
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    subscriber_id INTEGER REFERENCES subscribers (id),
    address_key TEXT,
    opened_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    CHECK ((subscriber_id IS NULL) <> (address_key IS NULL))
) STRICT;
CREATE INDEX sessions_by_end ON sessions (expires_at);
CREATE INDEX sessions_by_subscriber ON sessions (subscriber_id) WHERE subscriber_id IS NOT NULL;

-- A person's deliveries: those of editions are found by edition and person, one look-up each. So queueing an edition, which is
-- most of the ledger, writes to none of these.
CREATE INDEX deliveries_single ON deliveries (subscriber_id) WHERE edition_id IS NULL;
CREATE INDEX deliveries_addressed ON deliveries (lower(address)) WHERE address IS NOT NULL;
CREATE INDEX deliveries_of_thread ON deliveries (thread_id) WHERE thread_id IS NOT NULL;
CREATE INDEX threads_by_subscriber ON threads (subscriber_id) WHERE subscriber_id IS NOT NULL;
CREATE INDEX posts_by_sender ON posts (lower(from_address));
CREATE INDEX inbound_by_sender ON inbound (lower(envelope_from)) WHERE envelope_from IS NOT NULL;
CREATE INDEX inbound_by_recipient ON inbound (lower(recipient));
CREATE INDEX inbound_by_thread ON inbound (thread_id) WHERE thread_id IS NOT NULL;
CREATE INDEX audit_by_subject ON audit (subject);

-- Deliveries that were on their way when their person was erased: what the peer says about them is wiped once they are settled.
CREATE TABLE erased_in_flight (
    delivery_id INTEGER PRIMARY KEY REFERENCES deliveries (id)
) STRICT;

-- When the raw bytes of a received message were thrown away.
ALTER TABLE inbound ADD COLUMN emptied_at INTEGER;
CREATE INDEX inbound_full ON inbound (received_at) WHERE emptied_at IS NULL;

-- How far the ledger was gone through for what is too old to keep.
CREATE TABLE retention (
    what TEXT PRIMARY KEY,
    up_to INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
