//! Chunks whose rows are copied before their turn, while the chunk before them is being settled.

use std::sync::Arc;
use std::time::Duration;

use jiff::ToSpan as _;
use mesh_runtime::postgres::Options;
use mesh_runtime::{Strategy, Supervisor, System};
use mesher::domain::{EventId, GroupedEvent, ProjectId};
use mesher::storage::issues::{self, IssueAction};
use mesher::storage::writer::{
    CHUNKS_UNDER_WAY_MAX, Chunk, Committed, EventKind, StorageWriterHandle, Turn, WriteError,
    children_with, write_chunk,
};
use mesher::storage::{partitions, pool};
use tokio_postgres::{Client, Config};

use crate::postgres::TestDatabase;
use crate::support::{Spool, check_equality, count, event, now, project};
use crate::writer::kinds;

/// The default project, with the partition of today: nobody guesses that there is one.
async fn prepared(client: &mut Client) -> ProjectId {
    let project = project(client).await;
    let days = [partitions::day(now(client).await)];
    let transaction = client.transaction().await.unwrap();
    partitions::ensure(&transaction, &days).await.unwrap();
    transaction.commit().await.unwrap();
    project.id
}

/// A connection by which rows were copied, and undone where the turn did not come in time.
const COPIED_OR_UNDONE: &str =
    "state <> 'active' AND (query LIKE 'COPY events%' OR query = 'ROLLBACK')";

/// As good as for ever: what waits for its turn for so long is waited for by a test that fails.
const LONG: Duration = Duration::from_secs(600);

/// The pool and the writers on a database; what is copied waits for its turn as long as it takes.
async fn writers(database: &TestDatabase) -> System {
    writers_with(database.config(), Options::default().size_max, LONG).await
}

/// With so many connections at most, and what is copied waits so long.
async fn writers_with(config: Config, size_max: u32, wait_max: Duration) -> System {
    let system = System::new();
    let options = Options {
        size_max,
        ..Options::default()
    };
    let pool = mesh_runtime::postgres::pool(pool::NAME, config, options);
    let tree = Supervisor::new(Strategy::OneForOne).child(pool);
    let tree = children_with(wait_max).fold(tree, Supervisor::child);
    system.supervise(tree).await.unwrap();
    system
}

async fn write(system: &System, chunk: &Arc<Chunk>, turn: Turn) -> Result<Committed, WriteError> {
    let writer = StorageWriterHandle::of_turn(system, &turn).unwrap();
    writer.write_in_turn(Arc::clone(chunk), turn).await
}

/// Waits until rows are copied by a transaction that waits for its turn.
async fn until_copied(system: &System, client: &Client) {
    until(
        system,
        client,
        "state = 'idle in transaction' AND query LIKE 'COPY events%'",
    )
    .await;
}

/// Waits until there is such a connection, or so long that it must be gone again.
async fn until(system: &System, client: &Client, there_is: &str) {
    let there_is = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND {there_is}"
    );
    for _ in 0..4000 {
        if count(client, &there_is).await > 0 {
            break;
        }
        system.sleep(Duration::from_millis(5)).await;
    }
}

/// Stores `first`, and `second` behind it, whose rows are there before.
async fn store_both(
    system: &System,
    client: &mut Client,
    spool: &mut Spool,
    first: Vec<GroupedEvent>,
    second: Vec<GroupedEvent>,
) -> [Result<Committed, WriteError>; 2] {
    let first = spool.chunk(first);
    spool.advance(&first);
    let second = Arc::new(spool.chunk(second));
    spool.advance(&second);
    let (turn, giver) = Turn::now().next();
    let before = async {
        until_copied(system, client).await;
        let stored = write_chunk(client, &first).await;
        giver.give();
        stored
    };
    let (behind, before) = tokio::join!(write(system, &second, turn), before);
    [before, behind]
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_copied_before_their_turn_and_decided_on_behind_it() {
    let database = TestDatabase::create().await;
    let system = writers(&database).await;
    let mut client = database.client().await;
    let project = prepared(&mut client).await;
    let mut spool = Spool::open(&client).await;
    let at = now(&client).await;
    let make = |title: &str| event(project, title, at);
    let [first, second] = [make("b"), make("c")];
    let [before, after] = [first.event_id, second.event_id];
    let [first, second] = store_both(
        &system,
        &mut client,
        &mut spool,
        vec![make("a"), first],
        vec![make("a"), second],
    )
    .await;
    assert_eq!(kinds(&first.unwrap()), [EventKind::New, EventKind::New]);
    let second = second.unwrap();
    assert_eq!(kinds(&second), [EventKind::Counted, EventKind::New]);
    check_equality(&client).await;
    assert_eq!(count(&client, "SELECT count(*) FROM events").await, 4);
    // The transaction that wrote first is the second chunk's.
    let transaction = async |event: EventId| {
        let id = event.into_uuid();
        let xmin = format!("SELECT xmin::text::int8 FROM events WHERE id = '{id}'");
        count(&client, &xmin).await
    };
    assert!(transaction(after).await < transaction(before).await);
}

/// Whatever the chunk before it does to the guess: nothing that was copied stays that was not decided.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_guess_is_undone() {
    let database = TestDatabase::create().await;
    let system = writers(&database).await;
    let mut client = database.client().await;
    let project = prepared(&mut client).await;
    let mut spool = Spool::open(&client).await;
    let at = now(&client).await;
    let make = |title: &str| event(project, title, at);
    let discarded = make("discarded");
    let chunk = spool.chunk(vec![discarded.clone()]);
    write_chunk(&mut client, &chunk).await.unwrap();
    spool.advance(&chunk);
    let issue = discarded.candidates[0];
    issues::act(&mut client, issue, IssueAction::Discard, at)
        .await
        .unwrap()
        .unwrap();
    let first = make("a");
    let mut later = first.clone();
    later.received_at = at + 1.minute();
    let rounds = [
        (later, EventKind::Duplicate),
        (make("discarded"), EventKind::Discarded),
    ];
    for (second, expected) in rounds {
        // Writers that have not guessed wrong yet.
        let system = writers(&database).await;
        let [before, behind] = store_both(
            &system,
            &mut client,
            &mut spool,
            vec![first.clone()],
            vec![make("a"), second],
        )
        .await;
        before.unwrap();
        assert_eq!(kinds(&behind.unwrap()), [EventKind::Counted, expected]);
        check_equality(&client).await;
        system.shutdown(Duration::from_secs(10)).await.unwrap();
    }
    let rows = "SELECT count(*) FROM events";
    assert_eq!(count(&client, rows).await, 4);
    // The very same record twice, as after a spool that had to number anew: the database itself refuses the second.
    let twin = first.clone();
    let chunk = Arc::new(spool.chunk(vec![twin, make("b")]));
    let (turn, giver) = Turn::now().next();
    let given = async {
        until(&system, &client, "state = 'idle' AND query = 'ROLLBACK'").await;
        giver.give();
    };
    let (stored, ()) = tokio::join!(write(&system, &chunk, turn), given);
    let stored = stored.unwrap();
    assert_eq!(kinds(&stored), [EventKind::Duplicate, EventKind::New]);
    check_equality(&client).await;
    assert_eq!(count(&client, rows).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_whose_turn_never_comes_leaves_nothing() {
    let database = TestDatabase::create().await;
    let system = writers(&database).await;
    let mut client = database.client().await;
    let project = prepared(&mut client).await;
    let spool = Spool::open(&client).await;
    let at = now(&client).await;
    let chunk = Arc::new(spool.chunk(vec![event(project, "a", at)]));
    let (turn, giver) = Turn::now().next();
    let never = async {
        until_copied(&system, &client).await;
        drop(giver);
    };
    let (stored, ()) = tokio::join!(write(&system, &chunk, turn), never);
    assert!(
        matches!(stored, Err(WriteError::Unavailable(_))),
        "{stored:?}"
    );
    assert_eq!(count(&client, "SELECT count(*) FROM events").await, 0);
    let open = "SELECT count(*) FROM pg_stat_activity \
                WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    let undone = async {
        while count(&client, open).await > 0 {
            system.sleep(Duration::from_millis(5)).await;
        }
    };
    let undone = system.timeout(LONG / 10, undone).await;
    assert!(undone.is_ok(), "a transaction stays open");
    // Ahead of its turn or not: where the spool stands decides, and it does not stand there.
    let (turn, giver) = Turn::now().next();
    let early = Arc::new(Chunk {
        released: 7,
        next: 8,
        ..(*chunk).clone()
    });
    let given = async {
        until_copied(&system, &client).await;
        giver.give();
    };
    let (stored, ()) = tokio::join!(write(&system, &early, turn), given);
    assert!(
        matches!(stored, Err(WriteError::AlreadyReleased { released: 0 })),
        "{stored:?}"
    );
    assert_eq!(count(&client, "SELECT count(*) FROM events").await, 0);
}

/// Chunks full of copies, as many under way as may be, against the same chunks one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_ahead_is_what_is_stored_in_turn() {
    let databases = [TestDatabase::create().await, TestDatabase::create().await];
    let mut clients = [databases[0].client().await, databases[1].client().await];
    let at = now(&clients[0]).await;
    let system = writers(&databases[0]).await;
    let mut told = [Vec::new(), Vec::new()];
    let mut chunks: Vec<Vec<GroupedEvent>> = Vec::new();
    let project_id = prepared(&mut clients[0]).await;
    let mut known: Vec<GroupedEvent> = Vec::new();
    for round in 0..40_usize {
        let mut events: Vec<GroupedEvent> = (0..12)
            .map(|n| event(project_id, &format!("{}", (n + round) % 5), at))
            .collect();
        // Every fifth chunk, each time another lane's, repeats something of those before it, some of it within itself.
        if round % 5 == 4 {
            for n in 0..3 {
                // In every second such chunk none came at the very time of the first.
                let apart = (n % 2 + (round + 1) % 2) as i64;
                let mut copy = known[(round * 7 + n * 5) % known.len()].clone();
                copy.received_at += apart.seconds();
                events[n * 3] = copy;
            }
            events[11] = events[10].clone();
        }
        known.extend(events.iter().cloned());
        chunks.push(events);
    }
    // In turn, by one connection; the project's id is another there.
    let other_id = prepared(&mut clients[1]).await;
    let mut spool = Spool::open(&clients[1]).await;
    for events in &chunks {
        let moved = |event: &GroupedEvent| GroupedEvent {
            project_id: other_id,
            candidates: vec![event.fingerprint.issue_id(other_id)],
            ..event.clone()
        };
        let chunk = spool.chunk(events.iter().map(moved).collect());
        let committed = write_chunk(&mut clients[1], &chunk).await.unwrap();
        told[1].extend(kinds(&committed));
        spool.advance(&chunk);
    }
    let mut spool = Spool::open(&clients[0]).await;
    let mut turn = Turn::now();
    let mut under_way = futures_util::stream::FuturesOrdered::new();
    let mut all = Vec::new();
    for events in chunks {
        let chunk = Arc::new(spool.chunk(events));
        spool.advance(&chunk);
        let (next, giver) = turn.next();
        all.push((chunk, std::mem::replace(&mut turn, next), giver));
    }
    for (chunk, turn, giver) in all {
        let system = &system;
        under_way.push_back(async move {
            let stored = write(system, &chunk, turn).await.unwrap();
            giver.give();
            stored
        });
        if under_way.len() == CHUNKS_UNDER_WAY_MAX {
            let stored = futures_util::StreamExt::next(&mut under_way).await.unwrap();
            told[0].extend(kinds(&stored));
        }
    }
    while let Some(stored) = futures_util::StreamExt::next(&mut under_way).await {
        told[0].extend(kinds(&stored));
    }
    assert_eq!(told[0], told[1]);
    assert!(told[0].contains(&EventKind::Duplicate));
    for client in &clients {
        check_equality(client).await;
    }
    let rows = "SELECT string_agg(concat_ws(' ', id, received_at, fingerprint), ',' ORDER BY id, received_at) FROM events";
    let counters = "SELECT string_agg(concat_ws(' ', number, title, event_count, latest_event_id), ',' ORDER BY number) FROM issues";
    let outcomes = "SELECT string_agg(concat_ws(' ', outcome, reason, quantity), ',' ORDER BY outcome, reason) FROM outcomes";
    for question in [rows, counters, outcomes] {
        let mut answers: Vec<String> = Vec::new();
        for client in &clients {
            answers.push(client.query_one(question, &[]).await.unwrap().get(0));
        }
        assert_eq!(answers[0], answers[1], "{question}");
    }
    system.shutdown(Duration::from_secs(10)).await.unwrap();
}

/// What the holder of a project's lock has stored, whoever waits for the lock sees, whether its rows are there before or not.
#[tokio::test(flavor = "multi_thread")]
async fn copies_are_counted_behind_the_lock() {
    let database = TestDatabase::create().await;
    let system = writers(&database).await;
    let mut client = database.client().await;
    let project = prepared(&mut client).await;
    let mut spool = Spool::open(&client).await;
    let at = now(&client).await;
    let days = [at, at + 1.second()].map(partitions::day);
    let transaction = client.transaction().await.unwrap();
    partitions::ensure(&transaction, &days).await.unwrap();
    transaction.commit().await.unwrap();
    let chunk = spool.chunk(vec![event(project, "a", at)]);
    write_chunk(&mut client, &chunk).await.unwrap();
    spool.advance(&chunk);
    let holder = database.client().await;
    for is_ahead in [true, false] {
        let late = event(project, "a", at);
        let copy = format!(
            "CREATE TABLE more AS SELECT * FROM events LIMIT 1; \
             UPDATE more SET id = '{}', received_at = '{at}'::timestamptz + interval '1 s'; \
             BEGIN; SELECT pg_advisory_xact_lock({}, number) FROM projects; INSERT INTO events SELECT * FROM more; DROP TABLE more",
            late.event_id.into_uuid(),
            0x6d65_7368
        );
        holder.batch_execute(&copy).await.unwrap();
        let chunk = Arc::new(spool.chunk(vec![late]));
        spool.advance(&chunk);
        let (turn, giver) = Turn::now().next();
        let before = async {
            if is_ahead {
                until_copied(&system, &client).await;
            }
            giver.give();
            until(&system, &client, "wait_event = 'advisory'").await;
            holder.batch_execute("COMMIT").await.unwrap();
        };
        let turn = if is_ahead { turn } else { Turn::now() };
        let (stored, ()) = tokio::join!(write(&system, &chunk, turn), before);
        assert_eq!(kinds(&stored.unwrap()), [EventKind::Duplicate]);
    }
}

/// With one connection to be had, the chunk behind must let go of it.
#[tokio::test(flavor = "multi_thread")]
async fn one_connection_is_enough_for_two_chunks() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let wait_max = Duration::from_millis(300);
    let system = writers_with(database.config(), 1, wait_max).await;
    let project = prepared(&mut client).await;
    let mut spool = Spool::open(&client).await;
    let at = now(&client).await;
    let first = Arc::new(spool.chunk(vec![event(project, "a", at)]));
    spool.advance(&first);
    let second = Arc::new(spool.chunk(vec![event(project, "b", at)]));
    let (turn, giver) = Turn::now().next();
    let before = async {
        until(&system, &client, COPIED_OR_UNDONE).await;
        let stored = until_stored(&system, &first).await;
        giver.give();
        stored
    };
    let both = async { tokio::join!(before, write(&system, &second, turn)) };
    let (first, second) = system.timeout(LONG / 10, both).await.expect("both end");
    assert_eq!(kinds(&first), [EventKind::New]);
    assert_eq!(kinds(&second.unwrap()), [EventKind::New]);
    check_equality(&client).await;
}

/// Tries as the router does.
async fn until_stored(system: &System, chunk: &Arc<Chunk>) -> Committed {
    loop {
        match write(system, chunk, Turn::now()).await {
            Ok(committed) => break committed,
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
        system.sleep(Duration::from_millis(5)).await;
    }
}

/// A strong lock that queues between the two makes each wait for the other by way of a third, which the database cannot see.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_queued_between_two_chunks_ends() {
    const LOCK: &str = "BEGIN; LOCK TABLE events; COMMIT";
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let wait_max = Duration::from_millis(300);
    let size_max = Options::default().size_max;
    let system = writers_with(database.config(), size_max, wait_max).await;
    let project = prepared(&mut client).await;
    let mut spool = Spool::open(&client).await;
    let at = now(&client).await;
    let first = Arc::new(spool.chunk(vec![event(project, "a", at)]));
    spool.advance(&first);
    let second = Arc::new(spool.chunk(vec![event(project, "b", at)]));
    let (turn, giver) = Turn::now().next();
    let locker = database.client().await;
    let before = async {
        until(&system, &client, COPIED_OR_UNDONE).await;
        let locked = locker.batch_execute(LOCK);
        let waits = async {
            let queued =
                format!("query = '{LOCK}' AND (wait_event_type = 'Lock' OR state = 'idle')");
            until(&system, &client, &queued).await;
            let stored = until_stored(&system, &first).await;
            giver.give();
            stored
        };
        let (locked, stored) = tokio::join!(locked, waits);
        locked.unwrap();
        stored
    };
    let both = async { tokio::join!(before, write(&system, &second, turn)) };
    let (first, second) = system.timeout(LONG / 10, both).await.expect("both end");
    assert_eq!(kinds(&first), [EventKind::New]);
    assert_eq!(kinds(&second.unwrap()), [EventKind::New]);
    check_equality(&client).await;
}

/// Whatever the role's default is: under it no chunk that was copied ahead could move the spool.
#[tokio::test(flavor = "multi_thread")]
async fn chunks_are_copied_ahead_whatever_isolation_is_the_default() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let mut config = database.config();
    config.options("-c default_transaction_isolation=repeatable\\ read");
    let system = writers_with(config, Options::default().size_max, LONG).await;
    let project = prepared(&mut client).await;
    let mut spool = Spool::open(&client).await;
    let at = now(&client).await;
    let mut turn = Turn::now();
    let mut under_way = futures_util::stream::FuturesOrdered::new();
    let mut failed = 0;
    for round in 0..20 {
        let chunk = Arc::new(spool.chunk(vec![event(project, &format!("{round}"), at)]));
        spool.advance(&chunk);
        let (next, giver) = turn.next();
        let turn = std::mem::replace(&mut turn, next);
        let system = &system;
        under_way.push_back(async move {
            let mut failed = 0;
            while let Err(error) = write(system, &chunk, turn.clone()).await {
                assert!(error.is_transient(), "{error}");
                assert!(turn.comes().await);
                failed += 1;
            }
            giver.give();
            failed
        });
        if under_way.len() == 2 {
            failed += futures_util::StreamExt::next(&mut under_way).await.unwrap();
        }
    }
    while let Some(more) = futures_util::StreamExt::next(&mut under_way).await {
        failed += more;
    }
    assert!(failed <= 3, "{failed} of 20 chunks failed");
    check_equality(&client).await;
    assert_eq!(count(&client, "SELECT count(*) FROM events").await, 20);
}
