//! The writer's transaction against the world: replays, older lives, cut connections, other spools, the plan of its probe.

use jiff::ToSpan;
use mesher::domain::ProjectId;
use mesher::storage::writer::{Chunk, EventKind, SETTINGS, WriteError, write_chunk};
use mesher::storage::{partitions, spools};

use crate::postgres::TestDatabase;
use crate::support::{Spool, check_equality, count, event, id, now, project};
use crate::writer::kinds;

#[tokio::test]
async fn a_replayed_chunk_is_refused_and_stores_nothing() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let spool = Spool::open(&client).await;
    let chunk = spool.chunk(vec![event(project.id, "a", now(&client).await)]);
    write_chunk(&mut client, &chunk).await.unwrap();
    let again = write_chunk(&mut client, &chunk).await;
    assert!(
        matches!(again, Err(WriteError::AlreadyReleased { released: 1 })),
        "{again:?}"
    );
    check_equality(&client).await;
    assert_eq!(count(&client, "SELECT count(*) FROM events").await, 1);
}

#[tokio::test]
async fn an_older_life_of_the_spool_may_not_write() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let spool = Spool::open(&client).await;
    let chunk = spool.chunk(vec![event(project.id, "a", now(&client).await)]);
    let later = spools::open(&client, spool.id()).await.unwrap();
    let refused = write_chunk(&mut client, &chunk).await;
    assert!(matches!(refused, Err(WriteError::Superseded { epoch }) if epoch == later.epoch));
    let stranger = Chunk {
        spool_id: id(),
        ..chunk
    };
    let refused = write_chunk(&mut client, &stranger).await;
    assert!(matches!(refused, Err(WriteError::UnknownSpool)));
    assert_eq!(count(&client, "SELECT count(*) FROM events").await, 0);
}

#[tokio::test]
async fn a_connection_cut_before_the_commit_leaves_nothing_and_the_chunk_can_be_stored_again() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let observer = database.client().await;
    let project = project(&mut client).await;
    let spool = Spool::open(&client).await;
    let chunk = spool.chunk(vec![event(project.id, "a", now(&client).await)]);
    // Somebody holds the project's lock, so that the writer stands in the middle of its transaction.
    let mut holder = database.client().await;
    let held = holder.transaction().await.unwrap();
    held.execute(
        "SELECT pg_advisory_xact_lock(1835365224, $1)",
        &[&project.number.get()],
    )
    .await
    .unwrap();
    let cut = async {
        while observer
            .query("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted", &[])
            .await
            .unwrap()
            .is_empty()
        {
            tokio::task::yield_now().await;
        }
    };
    let (written, ()) = tokio::join!(write_chunk(&mut client, &chunk), cut);
    assert!(
        matches!(written, Err(WriteError::Database(_))),
        "{written:?}"
    );
    drop(held);
    drop(holder);
    assert_eq!(
        spools::read(&observer, spool.id())
            .await
            .unwrap()
            .unwrap()
            .released,
        0
    );
    let mut client = database.client().await;
    let committed = write_chunk(&mut client, &chunk).await.unwrap();
    assert_eq!(kinds(&committed), [EventKind::New]);
    check_equality(&client).await;
}

#[tokio::test]
async fn two_spools_that_write_the_same_issues_lose_nothing() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let at = now(&client).await;
    let writer = async |name: &'static str| {
        let mut client = database.client().await;
        let mut spool = Spool::open(&client).await;
        for round in 0..10 {
            let events = (0..20).map(|n| event(project.id, &format!("{}", (n + round) % 7), at));
            let chunk = spool.chunk(events.collect());
            write_chunk(&mut client, &chunk).await.expect(name);
            spool.advance(&chunk);
        }
    };
    tokio::join!(writer("one"), writer("two"), writer("three"));
    check_equality(&client).await;
    assert_eq!(count(&client, "SELECT count(*) FROM events").await, 600);
    assert_eq!(count(&client, "SELECT count(*) FROM issues").await, 7);
    assert_eq!(
        count(&client, "SELECT max(sequence) - count(*) FROM outbox").await,
        0
    );
}

#[tokio::test]
async fn the_search_for_duplicates_stays_on_the_primary_key() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let at = now(&client).await;
    let mut spool = Spool::open(&client).await;
    for _ in 0..3 {
        let chunk = spool.chunk(
            (0..300)
                .map(|n| event(project.id, &format!("{n}"), at))
                .collect(),
        );
        write_chunk(&mut client, &chunk).await.unwrap();
        spool.advance(&chunk);
    }
    let searches: Vec<&str> = mesher::storage::statements()
        .into_iter()
        .map(|(_, sql)| sql)
        .filter(|sql| sql.contains("CROSS JOIN LATERAL (SELECT 1 FROM events"))
        .collect();
    // That before the rows are copied, and that behind.
    assert_eq!(searches.len(), 2);
    let tries = searches.iter().map(|sql| (*sql, false));
    for (sql, is_analyzed) in tries.chain(searches.iter().map(|sql| (*sql, true))) {
        if is_analyzed {
            client.batch_execute("ANALYZE events").await.unwrap();
        }
        let transaction = client.transaction().await.unwrap();
        transaction.batch_execute(SETTINGS).await.unwrap();
        let since = at - 24.hours();
        let until = at + 24.hours();
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 8] = [
            &vec![0_i32],
            &vec![project.id.into_uuid()],
            &vec![id()],
            &vec![since],
            &vec![until],
            &since,
            &until,
            &vec![at],
        ];
        let count = if sql.contains("$8") { 8 } else { 7 };
        let plan = transaction
            .query(&format!("EXPLAIN {sql}"), &parameters[..count])
            .await
            .unwrap();
        let plan: String = plan
            .iter()
            .map(|row| row.get::<_, String>(0) + "\n")
            .collect();
        assert!(plan.contains("_pkey"), "{plan}");
        assert!(
            !plan.contains("Seq Scan") && !plan.contains("issue_id"),
            "{plan}"
        );
    }
}

/// On a day without statistics reading a whole project looks cheap, and takes longer with each event that comes.
#[tokio::test]
async fn copies_are_counted_by_their_ids() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let chunk = of_one_project(&mut client, project.id).await;
    add_rows(&client, 12_000, 1).await;
    assert_counted_by_ids(&mut client, &chunk).await;
    client.batch_execute("ANALYZE events").await.unwrap();
    assert_counted_by_ids(&mut client, &chunk).await;
}

/// What was found in the first rows of a day, of many projects, is believed until the next analysis, whatever comes then.
#[tokio::test]
async fn copies_are_counted_by_their_ids_after_a_morning_of_many_projects() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let chunk = of_one_project(&mut client, project.id).await;
    client
        .batch_execute("CREATE TABLE kept AS SELECT * FROM events; TRUNCATE events")
        .await
        .unwrap();
    client
        .batch_execute("INSERT INTO events SELECT * FROM kept LIMIT 1")
        .await
        .unwrap();
    add_rows(&client, 60, 20).await;
    client.batch_execute("ANALYZE events").await.unwrap();
    client
        .batch_execute("TRUNCATE events; INSERT INTO events SELECT * FROM kept")
        .await
        .unwrap();
    add_rows(&client, 12_000, 1).await;
    assert_counted_by_ids(&mut client, &chunk).await;
}

/// 200 events, stored.
async fn of_one_project(client: &mut tokio_postgres::Client, project: ProjectId) -> Chunk {
    let at = now(client).await;
    let spool = Spool::open(client).await;
    let chunk = spool.chunk((0..200).map(|_| event(project, "a", at)).collect());
    write_chunk(client, &chunk).await.unwrap();
    chunk
}

/// Rows as the one that is there, each with an id of its own, of so many projects.
async fn add_rows(client: &tokio_postgres::Client, rows: u32, projects: u32) {
    let project = match projects {
        1 => "project_id".to_owned(),
        _ => format!("lpad(to_hex(n % {projects}), 32, '0')::uuid"),
    };
    let sql = format!(
        "CREATE TABLE more AS SELECT * FROM (SELECT * FROM events LIMIT 1) e, generate_series(1, {rows}) n; \
         UPDATE more SET id = gen_random_uuid(), project_id = {project}; ALTER TABLE more DROP COLUMN n; \
         INSERT INTO events SELECT * FROM more; DROP TABLE more"
    );
    client.batch_execute(&sql).await.unwrap();
}

async fn assert_counted_by_ids(client: &mut tokio_postgres::Client, chunk: &Chunk) {
    let statements = mesher::storage::statements();
    let mut found = statements
        .iter()
        .filter(|(_, sql)| sql.contains("(SELECT count(*) AS copies FROM events"));
    let (Some((_, sql)), None) = (found.next(), found.next()) else {
        panic!("one statement counts copies");
    };
    let ids: Vec<uuid::Uuid> = chunk
        .events
        .iter()
        .map(|event| event.event_id.into_uuid())
        .collect();
    let (project, at) = (chunk.events[0].project_id, chunk.events[0].received_at);
    let transaction = client.transaction().await.unwrap();
    transaction.batch_execute(SETTINGS).await.unwrap();
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 6] = [
        &vec![project.into_uuid()],
        &vec![1_i32],
        &vec![200_i32],
        &ids,
        &(at - 24.hours()),
        &(at + 24.hours()),
    ];
    let explain = format!("EXPLAIN {sql}");
    let plan = transaction.query(&explain, &parameters).await.unwrap();
    let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    let today = partitions::name(partitions::day(at));
    let scan = plan
        .iter()
        .position(|line| line.contains(&format!("using {today}_pkey")));
    let scan = scan.unwrap_or_else(|| panic!("{plan:#?}"));
    let condition = &plan[scan + 1];
    assert!(
        condition.contains("Index Cond") && condition.contains("id = ANY"),
        "{plan:#?}"
    );
    let copies = transaction.query_one(*sql, &parameters).await.unwrap();
    assert_eq!(copies.get::<_, i64>(0), 200);
}
