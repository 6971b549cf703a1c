//! Tables, partitions, and every statement against them.

use jiff::ToSpan;
use jiff::civil::{Date, date};
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
