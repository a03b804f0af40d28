-- Who paused a lane. Only the guard against false bounces (W145) makes hard bounces doubtful: a pause for any other reason does not
-- change what they mean.
ALTER TABLE lanes ADD COLUMN paused_by TEXT CHECK (paused_by = 'operator' OR paused_by = 'policy' OR paused_by = 'false_bounces'
    OR paused_by = 'complaints');
UPDATE lanes SET paused_by = CASE
    WHEN paused LIKE '% recipients bounced hard who took mail before' THEN 'false_bounces'
    WHEN paused LIKE '% messages were refused for policy or reputation' THEN 'policy'
    WHEN paused LIKE '% readers complained' THEN 'complaints'
    ELSE 'operator' END
WHERE paused IS NOT NULL;

-- What reports said of a lane, by slices of an hour, so that weighing one does not read all others: hard bounces of people who took
-- mail before, and refusals for policy.
CREATE TABLE report_counts (
    lane_id BIGINT NOT NULL REFERENCES lanes (id),
    slice BIGINT NOT NULL,
    false_hard BIGINT NOT NULL,
    policy BIGINT NOT NULL,
    PRIMARY KEY (lane_id, slice)
);

-- When a subscriber was last asked whether they want to leave, because a mail that does not prove itself said so.
CREATE TABLE leave_asks (
    subscriber_id BIGINT PRIMARY KEY REFERENCES subscribers (id),
    at BIGINT NOT NULL
);
