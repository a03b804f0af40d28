-- Staff answer by mail, by command and on the desk.

-- Which post a mail carries (answers) or tells of (notices): what its reader had seen when they wrote.
ALTER TABLE deliveries ADD COLUMN post_id INTEGER REFERENCES posts (id);
CREATE INDEX deliveries_by_post ON deliveries (post_id) WHERE post_id IS NOT NULL;

-- Who of the house wrote it, and when staff were told that it did not arrive.
ALTER TABLE posts ADD COLUMN staff_id INTEGER REFERENCES staff (id);
ALTER TABLE posts ADD COLUMN told_at INTEGER;
CREATE INDEX posts_of_staff ON posts (at) WHERE kind = 'staff' AND told_at IS NULL;

-- Where a conversation goes on that was joined to another one.
ALTER TABLE threads ADD COLUMN merged_into INTEGER REFERENCES threads (id);

-- Answers that wait for a word of their author. `body_id` is what would be sent.
CREATE TABLE held_answers (
    id INTEGER PRIMARY KEY,
    thread_id INTEGER NOT NULL REFERENCES threads (id),
    staff_id INTEGER NOT NULL REFERENCES staff (id),
    inbound_id INTEGER REFERENCES inbound (id),
    body_id INTEGER NOT NULL REFERENCES bodies (id),
    at INTEGER NOT NULL,
    text TEXT NOT NULL,
    files TEXT NOT NULL,
    closes INTEGER NOT NULL CHECK (closes = 0 OR closes = 1),
    state TEXT NOT NULL CHECK (state = 'held' OR state = 'sent' OR state = 'dropped')
) STRICT;
CREATE INDEX held_answers_waiting ON held_answers (thread_id, staff_id) WHERE state = 'held';

-- What goes with a body; cleaned, as it is sent.
CREATE TABLE body_files (
    body_id INTEGER NOT NULL REFERENCES bodies (id),
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    octets BLOB NOT NULL,
    PRIMARY KEY (body_id, position)
) STRICT, WITHOUT ROWID;

-- When somebody was last told something that must not be told often.
CREATE TABLE staff_told (
    thread_id INTEGER NOT NULL REFERENCES threads (id),
    staff_id INTEGER NOT NULL REFERENCES staff (id),
    what TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (thread_id, staff_id, what)
) STRICT, WITHOUT ROWID;
