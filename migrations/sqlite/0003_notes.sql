-- What other systems noted about a person. Beside subscribers, because sending never reads it.
CREATE TABLE notes (
    subscriber_id INTEGER PRIMARY KEY REFERENCES subscribers (id),
    text TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
