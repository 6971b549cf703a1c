-- Issues: groups of events with one cause. A row is an issue's birth; merging points it at another.
-- Locks: new table; SHARE ROW EXCLUSIVE on projects for the moment of creation.

CREATE TABLE issues (
    -- UUID version 5 of project and fingerprint: every node computes it without asking.
    id                     uuid PRIMARY KEY,
    project_id             uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    -- The 7 of WEB-7.
    number                 bigint NOT NULL,
    fingerprint            text NOT NULL,
    fingerprint_version    smallint NOT NULL,
    -- What contributed to the grouping, what did not, and why.
    grouping               jsonb NOT NULL,
    title                  text NOT NULL,
    culprit                text NOT NULL,
    type                   text,
    value                  text,
    platform               text NOT NULL,
    -- Of the latest event.
    level                  text NOT NULL CHECK (level IN ('debug', 'info', 'warning', 'error', 'fatal')),
    status                 text NOT NULL DEFAULT 'unresolved'
                           CHECK (status IN ('unresolved', 'resolved', 'archived', 'discarded')),
    -- It came back after it was resolved.
    regressed              boolean NOT NULL DEFAULT false,
    resolved_at            timestamptz,
    archived_until_time    timestamptz,
    archived_until_count   bigint,
    -- Rows of events with this issue_id; what merged issues count stands in merged_event_count of the canonical one.
    event_count            bigint NOT NULL DEFAULT 0,
    merged_event_count     bigint NOT NULL DEFAULT 0,
    first_seen             timestamptz NOT NULL,
    last_seen              timestamptz NOT NULL,
    first_release          text,
    last_release           text,
    latest_event_id        uuid NOT NULL,
    -- The canonical issue, which is itself never merged; NULL for a canonical one.
    merged_into            uuid REFERENCES issues (id),
    created_at             timestamptz NOT NULL DEFAULT now(),
    CHECK (merged_into <> id),
    UNIQUE (project_id, number),
    UNIQUE (project_id, fingerprint_version, fingerprint)
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02
);

CREATE INDEX issues_project_status_last_seen ON issues (project_id, status, last_seen DESC, id DESC)
    WHERE merged_into IS NULL;
CREATE INDEX issues_project_last_seen ON issues (project_id, last_seen DESC, id DESC)
    WHERE merged_into IS NULL;
CREATE INDEX issues_merged_into ON issues (merged_into) WHERE merged_into IS NOT NULL;
