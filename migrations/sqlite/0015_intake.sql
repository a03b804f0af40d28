-- Mailboxes whose server does not give a message, or does not let go of one; answers that are held; mails of ours that are counted.

-- How often the server failed at a message: it said no, said nonsense, or hung up. `inbound_id` is the row that stands for the
-- message since it was set aside; the message itself is where it was.
CREATE TABLE refused_mail (
    mailbox_id INTEGER NOT NULL REFERENCES mailboxes (id),
    uid INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    why TEXT NOT NULL,
    tried_at INTEGER NOT NULL,
    inbound_id INTEGER REFERENCES inbound (id),
    PRIMARY KEY (mailbox_id, uid)
) STRICT, WITHOUT ROWID;

-- A copy is made once: 'copying' is written before the command leaves, and what is found like that later may have been copied or
-- not. It stays where it is, as 'left'.
ALTER TABLE unfiled ADD COLUMN state TEXT NOT NULL DEFAULT 'waiting'
    CHECK (state = 'waiting' OR state = 'copying' OR state = 'copied' OR state = 'left');

-- The mail that asks about a held answer: who answers it means that one. And to whom the conversation goes with it; 0: to nobody.
ALTER TABLE held_answers ADD COLUMN asked_in INTEGER REFERENCES deliveries (id);
ALTER TABLE held_answers ADD COLUMN assign_to INTEGER;

-- Mails that told a member about a mail of theirs: counted, because a program may answer them. Kept for a day.
CREATE TABLE told_mails (
    id INTEGER PRIMARY KEY,
    thread_id INTEGER NOT NULL REFERENCES threads (id),
    staff_id INTEGER NOT NULL REFERENCES staff (id),
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX told_mails_of_staff ON told_mails (staff_id, at);
