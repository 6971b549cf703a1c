//! Tables, partitions, and every statement against them.

use jiff::ToSpan;
use jiff::civil::{Date, date};
use mesher::domain::Outcome;
use mesher::storage::writer::write_chunk;
use mesher::storage::{migrate, partitions, projects, retention, statements};
use tokio_postgres::Client;

use crate::postgres::TestDatabase;
use crate::support::{Spool, count, event, id, now, project};

#[tokio::test]
async fn every_statement_prepares_against_a_migrated_database() {
    let database = TestDatabase::create().await;
    let client = database.client().await;
    assert!(statements().len() > 40);
    for (module, sql) in statements() {
        if let Err(error) = client.prepare(sql).await {
            panic!("{module}: {error:?}: {sql}");
        }
    }
}

/// A statement that is written where it is used would escape the test above.
#[test]
fn no_statement_hides_outside_the_lists() {
    let mut files = vec![std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut seen = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        seen += 1;
        let text: String = std::fs::read_to_string(&path)
            .unwrap()
            .split_whitespace()
            .collect();
        for verb in [
            "query",
            "query_one",
            "query_opt",
            "execute",
            "query_raw",
            "prepare",
            "copy_in",
        ] {
            assert!(
                !text.contains(&format!(".{verb}(\""))
                    && !text.contains(&format!(".{verb}(&format!(")),
                "{} holds a statement in a call of {verb}",
                path.display()
            );
        }
    }
    assert!(seen > 20);
}

#[tokio::test]
async fn migrations_run_once_however_many_nodes_start() {
    let database = TestDatabase::empty().await;
    let (mut one, mut two, mut three) = (
        database.client().await,
        database.client().await,
        database.client().await,
    );
    let (one, two, three) = tokio::join!(
        migrate::run(&mut one),
        migrate::run(&mut two),
        migrate::run(&mut three)
    );
    let mut applied: Vec<usize> = [one, two, three]
        .into_iter()
        .map(|applied| applied.unwrap().names.len())
        .collect();
    applied.sort_unstable();
    assert_eq!(applied[..2], [0, 0]);
    assert!(applied[2] >= 5);
}

/// One that was made before it was counted how much was accepted, and one that began to count in the middle of an hour.
#[tokio::test]
async fn the_books_of_an_older_database_balance() {
    let database = TestDatabase::empty().await;
    let client = database.client().await;
    let files = migration_files();
    let (older, rest) = files.split_at(7);
    for sql in older {
        client.batch_execute(sql).await.unwrap();
    }
    for project in [id(), id()] {
        for (hour, outcome) in (0..2).flat_map(|hour| Outcome::ALL.map(|outcome| (hour, outcome))) {
            if outcome == Outcome::Accepted && hour == 0 {
                continue;
            }
            let fill = format!(
                "INSERT INTO outcomes (project_id, hour, outcome, reason, quantity) VALUES \
                 ('{project}', '2026-11-20T0{hour}:00Z', '{outcome}', '', 3), \
                 ('{project}', '2026-11-20T0{hour}:00Z', '{outcome}', 'why', {hour})"
            );
            client.batch_execute(&fill).await.unwrap();
        }
    }
    client.batch_execute(&rest[0]).await.unwrap();
    let of_records: Vec<String> = Outcome::ALL
        .into_iter()
        .filter(|outcome| outcome.is_of_record())
        .map(|outcome| format!("'{outcome}'"))
        .collect();
    let of_records = of_records.join(", ");
    let books = format!(
        "SELECT project_id, hour, (sum(quantity) FILTER (WHERE outcome = 'accepted'))::int8, \
         (sum(quantity) FILTER (WHERE outcome IN ({of_records})))::int8 FROM outcomes GROUP BY 1, 2 ORDER BY 1, 2"
    );
    let rows = client.query(&books, &[]).await.unwrap();
    let sums: Vec<(Option<i64>, i64)> = rows.iter().map(|row| (row.get(2), row.get(3))).collect();
    assert_eq!(
        sums,
        [(24, 24), (32, 32), (24, 24), (32, 32)].map(|(a, b)| (Some(a), b))
    );
    let refused = "SELECT sum(quantity)::int8 FROM outcomes WHERE outcome = 'rate_limited'";
    assert_eq!(count(&client, refused).await, 14);
}

/// The folder's files by their numbers.
fn migration_files() -> Vec<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    let mut files: Vec<(u32, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let (number, _) = name[1..].split_once("__").unwrap();
            (
                number.parse().unwrap(),
                std::fs::read_to_string(&path).unwrap(),
            )
        })
        .collect();
    files.sort_unstable();
    files.into_iter().map(|(_, sql)| sql).collect()
}

async fn ensure(client: &mut Client, days: &[Date]) -> usize {
    let transaction = client.transaction().await.unwrap();
    let made = partitions::ensure(&transaction, days).await.unwrap();
    transaction.commit().await.unwrap();
    made
}

#[tokio::test]
async fn partitions_are_made_once_and_side_by_side() {
    let database = TestDatabase::create().await;
    let days = [date(2026, 2, 28), date(2026, 3, 1), date(2026, 2, 28)];
    let (mut one, mut two) = (database.client().await, database.client().await);
    let (first, second) = tokio::join!(ensure(&mut one, &days), ensure(&mut two, &days));
    assert_eq!(first + second, 2);
    let list = partitions::list(&one).await.unwrap();
    assert_eq!(
        list,
        [(date(2026, 2, 28), false), (date(2026, 3, 1), false)]
    );
}

#[tokio::test]
async fn retention_drops_whole_days_and_the_events_of_projects_that_keep_less() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let long = project(&mut client).await;
    let short = projects::NewProject {
        id: id().into(),
        slug: "short".into(),
        name: "Short".into(),
        platform: None,
        key: mesher::domain::PublicKey::from_bytes(*id().as_bytes()),
    };
    projects::create(&mut client, long.organization_id, &short)
        .await
        .unwrap();
    let at = now(&client).await;
    let spool = Spool::open(&client).await;
    let mut events = Vec::new();
    for days in [0, 3, 40, 80] {
        events.push(event(long.id, "a", at - (24 * days).hours()));
        events.push(event(short.id, "a", at - (24 * days).hours()));
    }
    write_chunk(&mut client, &spool.chunk(events))
        .await
        .unwrap();
    client
        .batch_execute(
            "UPDATE projects SET retention_days = CASE slug WHEN 'short' THEN 2 ELSE 60 END",
        )
        .await
        .unwrap();
    assert_eq!(retention::drop_partitions(&client, at).await.unwrap(), 1);
    assert_eq!(retention::expire_events(&client, at).await.unwrap(), 2);
    assert_eq!(partitions::list(&client).await.unwrap().len(), 3);
    let kept =
        "SELECT count(*) FROM events e JOIN projects p ON p.id = e.project_id WHERE p.slug = ";
    assert_eq!(count(&client, &format!("{kept}'default'")).await, 3);
    assert_eq!(count(&client, &format!("{kept}'short'")).await, 1);
    assert_eq!(
        count(&client, "SELECT sum(event_count)::int8 FROM issues").await,
        8
    );
    assert_eq!(retention::drop_partitions(&client, at).await.unwrap(), 0);
    assert!(count(&client, "SELECT count(*) FROM outbox").await > 0);
    retention::prune_outbox(&client, at + (24 * 8).hours())
        .await
        .unwrap();
    assert_eq!(count(&client, "SELECT count(*) FROM outbox").await, 0);
}

/// What a version before made is told what new partitions are made with.
#[tokio::test]
async fn partitions_that_are_there_learn_that_a_project_has_many_events() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let day = partitions::day(now(&client).await);
    let transaction = client.transaction().await.unwrap();
    partitions::ensure(&transaction, &[day]).await.unwrap();
    transaction.commit().await.unwrap();
    let name = partitions::name(day);
    let told = format!(
        "SELECT count(*) FROM pg_attribute WHERE attrelid = '{name}'::regclass AND attoptions = '{{n_distinct=1}}'"
    );
    assert_eq!(count(&client, &told).await, 1);
    let forget = format!("ALTER TABLE {name} ALTER COLUMN project_id RESET (n_distinct)");
    client.batch_execute(&forget).await.unwrap();
    assert_eq!(count(&client, &told).await, 0);
    let migration = include_str!("../../../migrations/V10__events_of_a_project_are_many.sql");
    client.batch_execute(migration).await.unwrap();
    assert_eq!(count(&client, &told).await, 1);
}
