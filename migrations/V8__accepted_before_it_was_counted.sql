-- What was accepted before that was counted: what became of its records, summed. From here on it is counted on its own, so that a record
-- without an outcome shows. A node of an older version that still stores after this adds outcomes that nothing was accepted for.
-- Locks: SHARE ROW EXCLUSIVE on outcomes, which keeps writers waiting while it is read once; it is as large as hours, projects and words.

LOCK TABLE outcomes IN SHARE ROW EXCLUSIVE MODE;

-- A version that counted already may have begun in the middle; its count is part of the sum.
DELETE FROM outcomes WHERE outcome = 'accepted';

INSERT INTO outcomes (hour, project_id, outcome, quantity)
SELECT hour, project_id, 'accepted', sum(quantity)
FROM outcomes
WHERE outcome IN ('stored', 'duplicate', 'discarded', 'filtered', 'expired', 'quarantined', 'lost', 'replayed')
GROUP BY hour, project_id;
