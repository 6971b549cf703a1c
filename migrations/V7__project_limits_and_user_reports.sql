-- How fast all keys of a project may send together, and what users write about what went wrong.
-- Locks: ACCESS EXCLUSIVE on a small table for a moment, nothing is rewritten; a new table.

-- Events a second of all its keys together; NULL and 0 are no limit.
ALTER TABLE projects ADD COLUMN rate_limit integer CHECK (rate_limit >= 0);

CREATE TABLE user_reports (
    project_id  uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    -- Of a report about an event, that event's; of one that stands alone, its own. A later one takes an earlier one's place.
    id          uuid NOT NULL,
    -- The event it is about, by the SDK's id. No foreign key: the event may come later, or never.
    event_id    uuid,
    received_at timestamptz NOT NULL,
    name        text NOT NULL,
    email       text NOT NULL,
    message     text NOT NULL,
    url         text NOT NULL,
    PRIMARY KEY (project_id, id)
);

CREATE INDEX user_reports_received ON user_reports (project_id, received_at DESC, id DESC);
