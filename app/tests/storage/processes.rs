//! The storage supervisor's children: a database that is away, comes, breaks, and is killed.

use std::sync::Arc;
use std::time::Duration;

use mesh_runtime::{Strategy, Supervisor, System};
use mesher::storage::database::{Database, DatabaseError};
use mesher::storage::embedded::Options;
use mesher::storage::schema_manager::{self, SchemaState};
use mesher::storage::writer::{self, EventKind, StorageWriterHandle, WriteError};
use mesher::storage::{partition_manager, partitions, pool};

use crate::postgres::TestDatabase;
use crate::support::{Spool, check_equality, count, event, now, project};

/// Starts the children of `database` under a supervisor, as the whole tree does.
async fn supervise(system: &System, database: &Database) {
    let mut tree = Supervisor::new(Strategy::RestForOne).intensity(10, Duration::from_secs(60));
    for child in database.children() {
        tree = tree.child(child);
    }
    system.supervise(tree).await.unwrap();
}

async fn external(system: &System, database: &TestDatabase) -> Database {
    let config = database.config();
    let tokio_postgres::config::Host::Unix(socket) = &config.get_hosts()[0] else {
        panic!("the test server has a socket");
    };
    let url = format!(
        "host={} user={} dbname={}",
        socket.display(),
        config.get_user().unwrap(),
        config.get_dbname().unwrap()
    );
    Database::open(system, Some(&url), None, Options::new("unused"))
        .await
        .unwrap()
}

async fn until_ready(system: &System) {
    for _ in 0..600 {
        if let Ok(SchemaState::Ready(_)) = schema_manager::state(system).await {
            return;
        }
        system.sleep(Duration::from_millis(50)).await;
    }
    panic!(
        "the schema is never ready: {:?}",
        schema_manager::state(system).await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_children_migrate_make_partitions_and_store() {
    let system = System::new();
    let database = TestDatabase::empty().await;
    supervise(&system, &external(&system, &database).await).await;
    until_ready(&system).await;
    let mut client = database.client().await;
    let mut list = partitions::list(&client).await.unwrap();
    for _ in 0..600 {
        if list.len() == 9 {
            break;
        }
        system.sleep(Duration::from_millis(50)).await;
        list = partitions::list(&client).await.unwrap();
    }
    assert_eq!(list.len(), 9);
    let project = project(&mut client).await;
    let spool = Spool::open(&client).await;
    let writer = StorageWriterHandle::named(&system).unwrap();
    let chunk = Arc::new(spool.chunk(vec![event(project.id, "a", now(&client).await)]));
    let committed = writer.write(Arc::clone(&chunk)).await.unwrap();
    assert_eq!(committed.events[0].kind, EventKind::New);
    let again = writer.write(chunk).await;
    assert!(matches!(
        again,
        Err(WriteError::AlreadyReleased { released: 1 })
    ));
    check_equality(&client).await;
    system.shutdown(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_a_state_and_not_a_crash() {
    let system = System::new();
    let dir = tempfile::tempdir().unwrap();
    let url = format!("host={} user=mesher dbname=mesher", dir.path().display());
    let database = Database::open(&system, Some(&url), None, Options::new("unused"))
        .await
        .unwrap();
    supervise(&system, &database).await;
    let state = schema_manager::state(&system).await.unwrap();
    assert!(matches!(state, SchemaState::Waiting(_)), "{state:?}");
    let pids = || {
        [
            pool::NAME,
            schema_manager::NAME,
            partition_manager::NAME,
            writer::NAME,
        ]
        .map(|name| system.whereis_pid(name).unwrap())
    };
    let before = pids();
    let some = TestDatabase::create().await;
    let mut client = some.client().await;
    let project = project(&mut client).await;
    let spool = Spool::open(&client).await;
    let chunk = Arc::new(spool.chunk(vec![event(project.id, "a", now(&client).await)]));
    let refused = StorageWriterHandle::named(&system)
        .unwrap()
        .write(chunk)
        .await;
    assert!(
        matches!(&refused, Err(WriteError::Unavailable(_))),
        "{refused:?}"
    );
    assert!(refused.unwrap_err().is_transient());
    assert_eq!(pids(), before, "nobody was restarted");
    system.shutdown(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_cut_and_processes_killed_under_load_lose_and_double_nothing() {
    let system = System::new();
    let database = TestDatabase::create().await;
    supervise(&system, &external(&system, &database).await).await;
    until_ready(&system).await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let at = now(&client).await;
    let writer = StorageWriterHandle::named(&system).unwrap();
    let mut spool = Spool::open(&client).await;
    for round in 0..40_u32 {
        let events = (0..10).map(|n| event(project.id, &format!("{}", n % 4), at));
        let chunk = Arc::new(spool.chunk(events.collect()));
        if round % 4 == 1 {
            let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                       WHERE datname = current_database() AND pid <> pg_backend_pid()";
            client.query(cut, &[]).await.unwrap();
        }
        if round % 10 == 3 {
            system.kill(system.whereis_pid(writer::NAME).unwrap());
        }
        loop {
            match writer.write(Arc::clone(&chunk)).await {
                Ok(_) => break,
                Err(WriteError::AlreadyReleased { released }) if released == chunk.next => break,
                Err(error) if error.is_transient() => system.sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{error}"),
            }
        }
        spool.advance(&chunk);
    }
    check_equality(&client).await;
    assert_eq!(count(&client, "SELECT count(*) FROM events").await, 400);
    assert_eq!(
        count(&client, "SELECT count(DISTINCT id) FROM events").await,
        400
    );
    system.shutdown(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_not_answered_is_settled_by_the_spools_position() {
    let system = System::new();
    let database = TestDatabase::create().await;
    supervise(&system, &external(&system, &database).await).await;
    until_ready(&system).await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let spool = Spool::open(&client).await;
    // The commit itself waits for a lock that we hold, so that it can be cut in the middle.
    client
        .batch_execute(
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS \
               $$BEGIN PERFORM pg_advisory_xact_lock(77); RETURN NULL; END$$; \
             CREATE CONSTRAINT TRIGGER wait AFTER UPDATE ON spools DEFERRABLE INITIALLY DEFERRED \
               FOR EACH ROW EXECUTE FUNCTION wait(); \
             SELECT pg_advisory_lock(77)",
        )
        .await
        .unwrap();
    let writer = StorageWriterHandle::named(&system).unwrap();
    let chunk = Arc::new(spool.chunk(vec![event(project.id, "a", now(&client).await)]));
    let cut = async {
        let waiting = "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
                       WHERE l.locktype = 'advisory' AND NOT l.granted AND a.query = 'COMMIT' \
                       AND a.datname = current_database()";
        while client.query(waiting, &[]).await.unwrap().is_empty() {
            system.sleep(Duration::from_millis(5)).await;
        }
        client
            .query("SELECT pg_advisory_unlock(77)", &[])
            .await
            .unwrap();
    };
    let (written, ()) = tokio::join!(writer.write(Arc::clone(&chunk)), cut);
    assert_eq!(written.unwrap().events[0].kind, EventKind::New);
    check_equality(&client).await;
    assert_eq!(count(&client, "SELECT count(*) FROM events").await, 1);
    system.shutdown(Duration::from_secs(10)).await.unwrap();
}

/// What becomes of them behind a pooler that lends its connections by turns.
async fn forget_statements(system: &System) {
    let pool = pool::named(system);
    let mut clients = Vec::new();
    for _ in 0..pool.state().await.unwrap().size {
        let client = pool.get().await.unwrap();
        client.batch_execute("DISCARD ALL").await.unwrap();
        clients.push(client);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_the_server_forgot_cost_no_chunk() {
    let system = System::new();
    let database = TestDatabase::create().await;
    supervise(&system, &external(&system, &database).await).await;
    until_ready(&system).await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let writer = StorageWriterHandle::named(&system).unwrap();
    let mut spool = Spool::open(&client).await;
    for round in 0..4 {
        let at = now(&client).await;
        let chunk = Arc::new(spool.chunk(vec![event(project.id, "a", at)]));
        // One attempt: whatever it meets, it must get over by itself.
        let committed = writer.write(Arc::clone(&chunk)).await;
        assert!(committed.is_ok(), "round {round}: {committed:?}");
        spool.advance(&chunk);
        forget_statements(&system).await;
    }
    check_equality(&client).await;
    assert_eq!(count(&client, "SELECT count(*) FROM events").await, 4);
    system.shutdown(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_changed_costs_no_chunk() {
    let system = System::new();
    let database = TestDatabase::create().await;
    supervise(&system, &external(&system, &database).await).await;
    until_ready(&system).await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let writer = StorageWriterHandle::named(&system).unwrap();
    let mut spool = Spool::open(&client).await;
    for change in [
        "ALTER TABLE projects ALTER COLUMN slug TYPE varchar(64)",
        "ALTER TABLE projects ALTER COLUMN slug TYPE text",
        "SELECT",
    ] {
        let at = now(&client).await;
        let chunk = Arc::new(spool.chunk(vec![event(project.id, "a", at)]));
        let committed = writer.write(Arc::clone(&chunk)).await;
        assert!(committed.is_ok(), "before {change}: {committed:?}");
        spool.advance(&chunk);
        client.batch_execute(change).await.unwrap();
    }
    check_equality(&client).await;
    system.shutdown(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keeper_brings_a_killed_private_server_back() {
    let system = System::new();
    let dir = crate::cluster::data_dir();
    let database = Database::open(&system, None, None, Options::new(dir.path()))
        .await
        .unwrap();
    supervise(&system, &database).await;
    until_ready(&system).await;
    let pid = crate::cluster::server_pid(dir.path()).unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let mut back = None;
    for _ in 0..600 {
        // A backend of the dead server may answer once more before it notices; wait for the new server's file.
        if crate::cluster::server_pid(dir.path()) != Some(pid)
            && let Ok(client) = pool::named(&system).get().await
            && let Ok(row) = client.query_one("SELECT count(*) FROM projects", &[]).await
        {
            back = Some(row.get::<_, i64>(0));
            break;
        }
        system.sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(back, Some(0));
    assert_ne!(crate::cluster::server_pid(dir.path()), Some(pid));
    system.shutdown(Duration::from_secs(10)).await.unwrap();
    database.close(&system).await.unwrap();
    assert!(!crate::cluster::is_running(dir.path()));
}

#[tokio::test]
async fn a_url_that_is_none_is_refused_in_one_line_without_its_password() {
    let system = System::new();
    for url in [
        "nonsense",
        "mysql://a:hunter2@b/c",
        "postgres:///x",
        "postgres://u:hunter2@h:port/d",
    ] {
        let error = Database::open(&system, Some(url), None, Options::new("unused"))
            .await
            .unwrap_err();
        assert!(matches!(error, DatabaseError::Url(_)));
        let text = error.to_string();
        assert!(
            text.contains("MESHER_DATABASE_URL") && !text.contains('\n'),
            "{text}"
        );
        assert!(!text.contains("hunter2"), "{text}");
    }
}
