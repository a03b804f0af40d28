-- Whose name and term a proof shows; NULL: a sample reader's.
ALTER TABLE deliveries ADD COLUMN as_subscriber_id INTEGER REFERENCES subscribers (id);
