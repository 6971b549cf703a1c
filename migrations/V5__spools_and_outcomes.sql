-- What makes storing exactly-once, and the fates of all events.
-- Locks: new tables only.

-- How far each node's spool is stored. Moves in the transaction that stores the rows.
CREATE TABLE spools (
    id        uuid PRIMARY KEY,
    -- Grows each time the spool is opened; a writer of an older life is refused.
    epoch     bigint NOT NULL CHECK (epoch > 0),
    -- Every record with a smaller sequence number is done.
    released  bigint NOT NULL DEFAULT 0 CHECK (released >= 0),
    opened_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

-- Changes of issues in the order in which they were committed, numbered without gaps in each project.
CREATE TABLE outbox (
    project_id uuid NOT NULL,
    sequence   bigint NOT NULL,
    issue_id   uuid NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('new', 'regressed', 'escalated', 'counted', 'changed')),
    -- The latest event of the change, and how many it stands for.
    event_id   uuid,
    quantity   bigint NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, sequence)
);

CREATE INDEX outbox_at ON outbox (at);

-- How many events ended how. No foreign key: refusals name projects that may be gone.
CREATE TABLE outcomes (
    hour       timestamptz NOT NULL,
    project_id uuid NOT NULL,
    outcome    text NOT NULL,
    -- Empty where the outcome says it all.
    reason     text NOT NULL DEFAULT '',
    quantity   bigint NOT NULL CHECK (quantity >= 0),
    PRIMARY KEY (project_id, hour, outcome, reason)
) WITH (fillfactor = 50);

-- Events that could not be processed or stored, kept for the operator.
CREATE TABLE quarantine (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id     uuid NOT NULL,
    event_id       uuid NOT NULL,
    received_at    timestamptz NOT NULL,
    quarantined_at timestamptz NOT NULL DEFAULT now(),
    reason         text NOT NULL,
    payload        bytea NOT NULL
);

ALTER TABLE quarantine ALTER COLUMN payload SET STORAGE EXTERNAL;

CREATE INDEX quarantine_project ON quarantine (project_id, quarantined_at DESC);
