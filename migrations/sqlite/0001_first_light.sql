-- Times are epoch milliseconds (UTC), enums are text, JSON is text. CHECKs on text are OR chains with the commonest value
-- first: SQLite evaluates IN with many literals 2.4 times slower per row. The other folder holds the same tables.

CREATE TABLE subscribers (
    id INTEGER PRIMARY KEY,
    address TEXT NOT NULL,
    address_key TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    tier TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status = 'active' OR status = 'unsubscribed' OR status = 'pending'),
    timezone TEXT,
    language TEXT,
    term_started_at INTEGER,
    term_ends_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- Append-only: who agreed to what, when, where from.
CREATE TABLE consents (
    id INTEGER PRIMARY KEY,
    subscriber_id INTEGER NOT NULL REFERENCES subscribers (id),
    at INTEGER NOT NULL,
    source TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE INDEX consents_by_subscriber ON consents (subscriber_id);

-- Keyed by the address, because a suppression outlives the subscriber and comes before them (W157).
CREATE TABLE suppressions (
    address_key TEXT PRIMARY KEY,
    reason TEXT NOT NULL CHECK (
        reason = 'unsubscribed' OR reason = 'hard_bounce' OR reason = 'soft_limit'
        OR reason = 'complaint' OR reason = 'manual' OR reason = 'erased'
    ),
    at INTEGER NOT NULL,
    source TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE staff (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    address TEXT NOT NULL,
    address_key TEXT NOT NULL UNIQUE,
    active INTEGER NOT NULL CHECK (active = 1 OR active = 0)
) STRICT;

CREATE TABLE owners (
    id INTEGER PRIMARY KEY,
    process TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    heartbeat_at INTEGER NOT NULL,
    ended_at INTEGER
) STRICT;

CREATE TABLE editions (
    id INTEGER PRIMARY KEY,
    slug TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (
        state = 'sending' OR state = 'sent' OR state = 'paused' OR state = 'attention' OR state = 'waiting_approval'
        OR state = 'cancelled' OR state = 'missed' OR state = 'skipped'
    ),
    slot TEXT,
    slot_date TEXT,
    due_at INTEGER NOT NULL,
    queued_at INTEGER,
    finished_at INTEGER,
    subject TEXT NOT NULL,
    audience INTEGER NOT NULL,
    reason TEXT NOT NULL,
    UNIQUE (slot, slot_date)
) STRICT;

CREATE TABLE edition_articles (
    edition_id INTEGER NOT NULL REFERENCES editions (id),
    position INTEGER NOT NULL,
    article_id TEXT NOT NULL,
    PRIMARY KEY (edition_id, position)
) STRICT, WITHOUT ROWID;

-- What is sent, frozen: an edition's for one tier, or one notice's.
CREATE TABLE bodies (
    id INTEGER PRIMARY KEY,
    edition_id INTEGER REFERENCES editions (id),
    tier TEXT,
    audience INTEGER NOT NULL,
    frame TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (edition_id, tier)
) STRICT;

CREATE TABLE threads (
    id INTEGER PRIMARY KEY,
    state TEXT NOT NULL CHECK (state = 'open' OR state = 'waiting' OR state = 'closed'),
    subscriber_id INTEGER REFERENCES subscribers (id),
    address TEXT NOT NULL,
    address_key TEXT NOT NULL,
    name TEXT NOT NULL,
    subject TEXT NOT NULL,
    edition_id INTEGER REFERENCES editions (id),
    suspected_thread_id INTEGER REFERENCES threads (id),
    assigned_to INTEGER REFERENCES staff (id),
    waiting_since INTEGER,
    created_at INTEGER NOT NULL,
    last_post_at INTEGER NOT NULL
) STRICT;
CREATE INDEX threads_by_state ON threads (state, waiting_since);
CREATE INDEX threads_by_address ON threads (address_key);

-- One message to one recipient. `stream` is what claims are made from: -2 answers and sign-in links, -1 notices, else the
-- edition's id. It stands beside edition_id because an index can not read through a NULL in both dialects.
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (
        kind = 'edition' OR kind = 'notice' OR kind = 'answer' OR kind = 'confirm' OR kind = 'sign_in' OR kind = 'report'
    ),
    edition_id INTEGER REFERENCES editions (id),
    subscriber_id INTEGER REFERENCES subscribers (id),
    thread_id INTEGER REFERENCES threads (id),
    staff_id INTEGER REFERENCES staff (id),
    address TEXT,
    body_id INTEGER NOT NULL REFERENCES bodies (id),
    lane INTEGER NOT NULL,
    stream INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (
        state = 'queued' OR state = 'leased' OR state = 'accepted' OR state = 'skipped' OR state = 'refused'
        OR state = 'expired' OR state = 'uncertain' OR state = 'parked'
    ),
    due_at INTEGER CHECK (due_at IS NOT NULL OR state <> 'queued'),
    attempt INTEGER NOT NULL,
    uncertain_count INTEGER NOT NULL,
    first_attempt_at INTEGER,
    key_id INTEGER,
    owner INTEGER,
    relay TEXT,
    last_reply TEXT,
    settled_at INTEGER,
    CHECK (subscriber_id IS NOT NULL OR address IS NOT NULL),
    UNIQUE (edition_id, subscriber_id)
) STRICT;
-- Settled rows are in none of these: claiming does not slow down with the ledger.
CREATE INDEX deliveries_queued ON deliveries (stream, lane, due_at, id) WHERE state = 'queued';
CREATE INDEX deliveries_leased ON deliveries (owner) WHERE state = 'leased';
CREATE INDEX deliveries_doubtful ON deliveries (stream, due_at) WHERE state = 'uncertain' OR state = 'parked';

-- What a peer said to every attempt that was not accepted; an accepted one keeps its reply in the delivery.
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    delivery_id INTEGER NOT NULL REFERENCES deliveries (id),
    attempt INTEGER NOT NULL,
    at INTEGER NOT NULL,
    relay TEXT NOT NULL,
    state TEXT NOT NULL,
    reply TEXT NOT NULL
) STRICT;
CREATE INDEX attempts_by_delivery ON attempts (delivery_id);

CREATE TABLE inbound (
    id INTEGER PRIMARY KEY,
    received_at INTEGER NOT NULL,
    source TEXT NOT NULL CHECK (source = 'lmtp' OR source = 'imap' OR source = 'maildir' OR source = 'file'),
    envelope_from TEXT,
    recipient TEXT NOT NULL,
    hash TEXT NOT NULL,
    raw BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state = 'received' OR state = 'done' OR state = 'quarantined'),
    failures INTEGER NOT NULL,
    verdict TEXT,
    reason TEXT NOT NULL,
    thread_id INTEGER REFERENCES threads (id),
    UNIQUE (hash, recipient)
) STRICT;
CREATE INDEX inbound_waiting ON inbound (id) WHERE state = 'received';

CREATE TABLE posts (
    id INTEGER PRIMARY KEY,
    thread_id INTEGER NOT NULL REFERENCES threads (id),
    kind TEXT NOT NULL CHECK (kind = 'subscriber' OR kind = 'staff' OR kind = 'note' OR kind = 'automatic'),
    from_name TEXT NOT NULL,
    from_address TEXT NOT NULL,
    at INTEGER NOT NULL,
    text TEXT NOT NULL,
    folded TEXT NOT NULL,
    message_id TEXT,
    inbound_id INTEGER UNIQUE REFERENCES inbound (id)
) STRICT;
CREATE INDEX posts_by_thread ON posts (thread_id, id);
CREATE INDEX posts_by_message_id ON posts (message_id) WHERE message_id IS NOT NULL;

-- The bytes stay in the raw message.
CREATE TABLE attachments (
    id INTEGER PRIMARY KEY,
    post_id INTEGER NOT NULL REFERENCES posts (id),
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;
CREATE INDEX attachments_by_post ON attachments (post_id);

CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;

-- The table that support reads: who waits, since when, for what.
CREATE VIEW chat_support_inbox AS
SELECT
    t.id AS thread,
    t.state AS state,
    t.address AS subscriber,
    t.name AS name,
    s.tier AS tier,
    t.subject AS subject,
    e.slug AS edition,
    a.name AS assigned_to,
    t.waiting_since AS waiting_since,
    (SELECT count(*) FROM posts p WHERE p.thread_id = t.id) AS posts,
    t.last_post_at AS last_post_at,
    (SELECT p.text FROM posts p WHERE p.thread_id = t.id ORDER BY p.id DESC LIMIT 1) AS last_post
FROM threads t
LEFT JOIN subscribers s ON s.id = t.subscriber_id
LEFT JOIN editions e ON e.id = t.edition_id
LEFT JOIN staff a ON a.id = t.assigned_to
WHERE t.state = 'open' OR t.state = 'waiting';
