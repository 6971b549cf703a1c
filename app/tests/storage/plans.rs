//! The plans of the statements that run for every chunk, and for every page somebody looks at: each walks the index it was written for.

use jiff::ToSpan as _;
use mesher::storage::writer::write_chunk;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::postgres::TestDatabase;
use crate::support::{Spool, event, id, now, project};

/// Scans that read everything are off, as in the writer's transaction: a statement that has no index for its question still shows one.
const SETTINGS: &str = "SET plan_cache_mode = force_custom_plan; SET enable_seqscan = off; SET enable_bitmapscan = off";

type Parameters<'a> = Vec<&'a (dyn ToSql + Sync)>;

/// The program's own statement of a module that contains a text.
fn statement(module: &str, contains: &str) -> &'static str {
    let all = mesher::storage::statements();
    let mut found = all
        .into_iter()
        .filter(|(of, sql)| *of == module && sql.contains(contains));
    let (_, sql) = found
        .next()
        .unwrap_or_else(|| panic!("{module}: {contains}"));
    assert!(
        found.next().is_none(),
        "{module}: two statements contain {contains:?}"
    );
    sql
}

#[tokio::test]
async fn hot_statements_walk_their_indexes() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let at = now(&client).await;
    let mut spool = Spool::open(&client).await;
    for round in 0..3 {
        let events = (0..200).map(|n| event(project.id, &format!("{}", n + 100 * round), at));
        let chunk = spool.chunk(events.collect());
        write_chunk(&mut client, &chunk).await.unwrap();
        spool.advance(&chunk);
    }
    client.batch_execute(SETTINGS).await.unwrap();
    let (project, uuid, one) = (project.id.into_uuid(), id(), 1_i64);
    let (uuids, earlier) = (vec![uuid, id()], at - 24.hours());
    let (status, no_text, no_time, no_id) = (
        Some("unresolved"),
        None::<&str>,
        None::<jiff::Timestamp>,
        None::<Uuid>,
    );
    let digest = vec![7_u8; 32];
    let cases: Vec<(&str, &str, Parameters<'_>, &str)> = vec![
        (
            "spools",
            "UPDATE spools SET released",
            vec![&uuid, &one, &one, &one],
            "spools_pkey",
        ),
        (
            "writer",
            "p.slug, p.retention_days",
            vec![&uuids],
            "projects_pkey",
        ),
        (
            "writer",
            "coalesce(c.last_issue_number, 0)",
            vec![&uuids],
            "project_counters_pkey",
        ),
        (
            "issues",
            "ORDER BY i.last_seen DESC",
            vec![&project, &status, &no_text, &no_time, &no_id, &one],
            "_last_seen on issues",
        ),
        (
            "issues",
            "ORDER BY i.last_seen DESC",
            vec![&project, &no_text, &no_text, &no_time, &no_id, &one],
            "_last_seen on issues",
        ),
        (
            "issues",
            "i.grouping, i.latest_event_id",
            vec![&uuid],
            "issues_pkey",
        ),
        (
            "events",
            "occurred_at, received_at, level",
            vec![&uuids, &no_time, &no_id, &one],
            "issue_id_received_at",
        ),
        (
            "events",
            "(received_at, id) < ($2, $3) ORDER",
            vec![&uuids, &at, &uuid],
            "issue_id_received_at",
        ),
        (
            "events",
            "(received_at, id) > ($2, $3) ORDER",
            vec![&uuids, &at, &uuid],
            "issue_id_received_at",
        ),
        (
            "events",
            "WHERE e.project_id = $1 AND e.id = $2",
            vec![&project, &uuid],
            "_pkey",
        ),
        (
            "payload_dictionaries",
            "SELECT content FROM",
            vec![&project, &uuid],
            "payload_dictionaries_pkey",
        ),
        (
            "payload_dictionaries",
            "project_id = $1 AND made_at > $2",
            vec![&project, &at],
            "payload_dictionaries_pkey",
        ),
        (
            "outcomes",
            "SELECT hour, outcome",
            vec![&project, &earlier, &at],
            "outcomes_pkey",
        ),
        (
            "sessions",
            "FROM sessions s",
            vec![&digest, &at],
            "sessions_pkey",
        ),
        (
            "user_reports",
            "LEFT JOIN LATERAL",
            vec![&project, &no_time, &no_id, &one],
            "user_reports_received",
        ),
        (
            "issues/record",
            "FROM issues WHERE id = ANY",
            vec![&uuids],
            "issues_pkey",
        ),
    ];
    let mut broken = Vec::new();
    for (module, contains, parameters, index) in cases {
        let sql = statement(module, contains);
        let rows = client.query(&format!("EXPLAIN {sql}"), &parameters).await;
        let rows = rows.unwrap_or_else(|error| panic!("{module}: {contains}: {error:?}"));
        let lines = rows.iter().map(|row| row.get::<_, String>(0) + "\n");
        let plan: String = lines.collect();
        if !plan.contains(index) || plan.contains("Seq Scan") {
            broken.push(format!("{module}: {contains}: not by {index}:\n{plan}"));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
