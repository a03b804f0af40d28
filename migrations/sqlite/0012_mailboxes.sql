-- Mailboxes on IMAP servers: how far each was read, and what still has to be done there.

-- validity is UIDVALIDITY, last_uid the highest UID that was recorded: it moves in the transaction that records.
CREATE TABLE mailboxes (
    id INTEGER PRIMARY KEY,
    place TEXT NOT NULL UNIQUE,
    validity INTEGER NOT NULL,
    last_uid INTEGER NOT NULL,
    first_seen_at INTEGER NOT NULL,
    -- Whether UIDs have changed since: then last_uid began again.
    renumbered INTEGER NOT NULL CHECK (renumbered = 1 OR renumbered = 0)
) STRICT;

-- Recorded, and not yet moved or flagged where they were found.
CREATE TABLE unfiled (
    mailbox_id INTEGER NOT NULL REFERENCES mailboxes (id),
    uid INTEGER NOT NULL,
    PRIMARY KEY (mailbox_id, uid)
) STRICT, WITHOUT ROWID;
