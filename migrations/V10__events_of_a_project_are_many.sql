-- What the planner is to believe of a partition of events: that all of it may be one project's. An analysis of a day's first rows, of many
-- projects, has it believe until the next one that each has a few, and read all of a project where it should look up the ids it was asked for.
-- New partitions are made so (app/src/storage/partitions.rs); it takes effect with the next analysis of each.
-- Locks: SHARE UPDATE EXCLUSIVE on each partition for a moment, which keeps neither readers nor writers waiting.

DO $$
DECLARE
    part regclass;
BEGIN
    FOR part IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'events'::regclass LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN project_id SET (n_distinct = 1)', part);
    END LOOP;
END $$;
