-- Slots, and the extras that a tier has per term.

-- When a slot was first seen: dates before it are nobody's loss.
CREATE TABLE slots (
    name TEXT PRIMARY KEY,
    since BIGINT NOT NULL
);

-- An extra edition is counted against the person's term.
ALTER TABLE editions ADD COLUMN extra BIGINT NOT NULL DEFAULT 0 CHECK (extra = 0 OR extra = 1);

-- The instant at which editors were told that every delivery has had its first attempt.
ALTER TABLE editions ADD COLUMN first_pass_at BIGINT;

-- How many extras a person of this tier may have in a term; NULL: the edition is none.
ALTER TABLE bodies ADD COLUMN extra_limit BIGINT;
