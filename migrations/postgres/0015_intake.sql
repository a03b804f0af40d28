-- Mailboxes whose server does not give a message, or does not let go of one.

-- How often the server failed at a message: it said no, said nonsense, or hung up. `inbound_id` is the row that stands for the
-- message since it was set aside; the message itself is where it was.
CREATE TABLE refused_mail (
    mailbox_id BIGINT NOT NULL REFERENCES mailboxes (id),
    uid BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    why TEXT NOT NULL,
    tried_at BIGINT NOT NULL,
    inbound_id BIGINT REFERENCES inbound (id),
    PRIMARY KEY (mailbox_id, uid)
);

-- A copy is made once: 'copying' is written before the command leaves, and what is found like that later may have been copied or
-- not. It stays where it is, as 'left'.
ALTER TABLE unfiled ADD COLUMN state TEXT NOT NULL DEFAULT 'waiting'
    CHECK (state = 'waiting' OR state = 'copying' OR state = 'copied' OR state = 'left');
