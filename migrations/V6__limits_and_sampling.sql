-- How fast a key may send, and what part of a project's events is kept; both can be changed while everything runs.
-- Locks: ACCESS EXCLUSIVE on two small tables for a moment; nothing is rewritten.

-- Events a second: 0 is no limit, NULL the server's default.
ALTER TABLE project_keys ADD COLUMN rate_limit integer CHECK (rate_limit >= 0);
ALTER TABLE projects ADD COLUMN sample_rate double precision NOT NULL DEFAULT 1 CHECK (sample_rate BETWEEN 0 AND 1);
