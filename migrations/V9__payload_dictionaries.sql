-- What a project's events have in common, said once: a payload may be packed with one of these, and names it by its id. Without its row such
-- a payload cannot be read, so a row goes only when no event can name it any more (app/src/storage/payload_dictionaries.rs).
-- Locks: none that anybody waits for; the table is new, and projects is locked for a moment (SHARE ROW EXCLUSIVE) for the foreign key.

CREATE TABLE payload_dictionaries (
    project_id uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    -- The first 16 bytes of the content's SHA-256.
    id         uuid NOT NULL,
    made_at    timestamptz NOT NULL,
    content    bytea NOT NULL CHECK (length(content) <= 65536),
    -- With the project, so that two projects never share one, and one's end never takes the other's.
    PRIMARY KEY (project_id, id)
);
