-- Lanes and relays with their limits, and what breakers count.

-- A lane or a relay. Both have limits and both can be slowed down, so both are here; deliveries name lanes only.
CREATE TABLE lanes (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind = 'lane' OR kind = 'relay'),
    name TEXT NOT NULL,
    -- Whether the config names it. What has left it is served without limits of its own.
    configured INTEGER NOT NULL CHECK (configured = 1 OR configured = 0),
    -- Why editions do not leave by it until somebody resumes it.
    paused TEXT,
    paused_at INTEGER,
    -- Nothing leaves by it before that instant.
    quiet_until INTEGER,
    -- How many connections may use it at once while it is slowed down.
    width INTEGER,
    width_at INTEGER,
    UNIQUE (kind, name)
) STRICT;
INSERT INTO lanes (id, kind, name, configured) VALUES (0, 'lane', 'other', 1);

-- One rate of a lane or a relay. `tokens` are millionths of a message, as of `refilled_at`; `spent` is what a longer span's
-- quota has used, by slices of its span.
CREATE TABLE limits (
    lane_id INTEGER NOT NULL REFERENCES lanes (id),
    per INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    refilled_at INTEGER NOT NULL,
    spent TEXT NOT NULL,
    PRIMARY KEY (lane_id, per)
) STRICT, WITHOUT ROWID;

-- Which recipient domains a lane has: lower case, A-labels.
CREATE TABLE lane_domains (
    domain TEXT PRIMARY KEY,
    lane_id INTEGER NOT NULL REFERENCES lanes (id)
) STRICT, WITHOUT ROWID;

-- The key is lower case and has one @ (domain::address).
ALTER TABLE subscribers ADD COLUMN domain TEXT GENERATED ALWAYS AS (substr(address_key, instr(address_key, '@') + 1)) VIRTUAL;

-- What a breaker counts, since the edition was last set going.
ALTER TABLE editions ADD COLUMN decided INTEGER NOT NULL DEFAULT 0;
ALTER TABLE editions ADD COLUMN hard INTEGER NOT NULL DEFAULT 0;
ALTER TABLE editions ADD COLUMN content INTEGER NOT NULL DEFAULT 0;
-- Whether editors know why a breaker stopped it.
ALTER TABLE editions ADD COLUMN told INTEGER NOT NULL DEFAULT 1;

-- Hard bounces that may be a provider's mistake: not suppressed before somebody says so (W145).
CREATE TABLE held_suppressions (
    address_key TEXT PRIMARY KEY,
    lane_id INTEGER NOT NULL REFERENCES lanes (id),
    at INTEGER NOT NULL,
    source TEXT NOT NULL
) STRICT, WITHOUT ROWID;
