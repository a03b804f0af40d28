-- Whose name and term a proof shows; NULL: a sample reader's.
ALTER TABLE deliveries ADD COLUMN as_subscriber_id BIGINT REFERENCES subscribers (id);

-- What editors said about an edition by mail, each word once: a copy that comes again, or by a third hand, says nothing new. A
-- refusal to one of them has an entry too, so that forged answers flood nobody.
CREATE TABLE editor_words (
    edition_id BIGINT NOT NULL REFERENCES editions (id),
    word TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (edition_id, word)
);
