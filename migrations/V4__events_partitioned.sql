-- Events, one partition per UTC day of received_at. Partitions are made by the program, ahead of time and by the writer
-- itself (CREATE, then ATTACH, which does not stop readers and writers). There is no default partition: it would forbid
-- DETACH CONCURRENTLY.
-- Locks: new table only.

CREATE TABLE events (
    project_id          uuid NOT NULL,
    -- The SDK's event_id.
    id                  uuid NOT NULL,
    -- When the door took it, by our clock.
    received_at         timestamptz NOT NULL,
    -- When it happened, by the client's clock.
    occurred_at         timestamptz NOT NULL,
    processed_at        timestamptz NOT NULL DEFAULT now(),
    -- The issue of its birth; issues.merged_into leads on. No foreign key: deleting an issue must not scan its events.
    issue_id            uuid NOT NULL,
    level               text NOT NULL,
    platform            text NOT NULL,
    message             text NOT NULL,
    culprit             text NOT NULL,
    environment         text NOT NULL,
    release             text,
    dist                text,
    logger              text,
    transaction         text,
    server_name         text,
    -- A stable key of the person affected.
    user_key            text,
    exception_type      text,
    sdk_name            text,
    sdk_version         text,
    fingerprint         text NOT NULL,
    fingerprint_version smallint NOT NULL,
    -- key=value, cut at the first equals sign.
    tags                text[] NOT NULL,
    -- The normalised event as JSON, compressed with zstd.
    payload             bytea NOT NULL,
    PRIMARY KEY (project_id, id, received_at)
) PARTITION BY RANGE (received_at);

-- Compressed already; and readable in parts.
ALTER TABLE events ALTER COLUMN payload SET STORAGE EXTERNAL;

-- No other index may begin with project_id: the writer's search for duplicates is pinned to the primary key by that.
CREATE INDEX events_issue_received ON events (issue_id, received_at DESC, id DESC);
CREATE INDEX events_tags ON events USING gin (tags);
CREATE INDEX events_time ON events USING brin (received_at, occurred_at);
