//! One transaction a chunk: exactly once, counted right, whatever happens in between.

use jiff::{SignedDuration, ToSpan};
use mesher::domain::{
    GroupedEvent, IssueId, Outcome, ProjectId, PublicKey, RawEvent, TransitionKind,
};
use mesher::storage::issues::{self, IssueAction};
use mesher::storage::outcomes::OutcomeCount;
use mesher::storage::projects;
use mesher::storage::writer::{Chunk, EventKind, Quarantined, write_chunk};
use tokio_postgres::Client;

use crate::postgres::TestDatabase;
use crate::support::{Spool, check_equality, count, event, id, now, project};

pub(crate) fn kinds(committed: &mesher::storage::writer::Committed) -> Vec<EventKind> {
    committed.events.iter().map(|event| event.kind).collect()
}

async fn store(client: &mut Client, spool: &mut Spool, chunk: &Chunk) -> Vec<EventKind> {
    let committed = write_chunk(client, chunk).await.unwrap();
    spool.advance(chunk);
    check_equality(client).await;
    kinds(&committed)
}

#[tokio::test]
async fn a_chunk_becomes_events_and_issues() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let at = now(&client).await;
    let mut spool = Spool::open(&client).await;
    let chunk = spool.chunk(vec![
        event(project.id, "a", at),
        event(project.id, "b", at),
        event(project.id, "a", at),
    ]);
    let committed = write_chunk(&mut client, &chunk).await.unwrap();
    spool.advance(&chunk);
    assert_eq!(
        kinds(&committed),
        [EventKind::New, EventKind::New, EventKind::Counted]
    );
    let mut issues: Vec<_> = committed
        .issues
        .iter()
        .map(|change| {
            (
                change.kind,
                change.issue.title.as_str(),
                change.issue.event_count,
            )
        })
        .collect();
    issues.sort_by_key(|issue| issue.1);
    assert_eq!(
        issues,
        [(TransitionKind::New, "a", 2), (TransitionKind::New, "b", 1)]
    );
    assert_eq!(
        committed
            .issues
            .iter()
            .map(|change| &change.issue.short_id)
            .max()
            .unwrap(),
        "DEFAULT-2"
    );
    check_equality(&client).await;
    let next = spool.chunk(vec![event(project.id, "a", at)]);
    let committed = write_chunk(&mut client, &next).await.unwrap();
    assert_eq!(committed.issues[0].kind, TransitionKind::Counted);
    assert_eq!(committed.issues[0].issue.event_count, 3);
    check_equality(&client).await;
}

#[tokio::test]
async fn the_same_event_counts_once_within_a_day() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let at = now(&client).await;
    let mut spool = Spool::open(&client).await;
    let first = event(project.id, "a", at);
    let mut retry = first.clone();
    retry.received_at = at - 23.hours();
    let mut other = first.clone();
    other.received_at = at - 25.hours();
    let chunk = spool.chunk(vec![first.clone(), first.clone()]);
    assert_eq!(
        store(&mut client, &mut spool, &chunk).await,
        [EventKind::New, EventKind::Duplicate]
    );
    let chunk = spool.chunk(vec![retry, other, first.clone()]);
    assert_eq!(
        store(&mut client, &mut spool, &chunk).await,
        [
            EventKind::Duplicate,
            EventKind::Counted,
            EventKind::Duplicate
        ]
    );
    let duplicates = "SELECT sum(quantity)::int8 FROM outcomes WHERE outcome = 'duplicate'";
    assert_eq!(count(&client, duplicates).await, 3);
    // The same within one chunk.
    let fresh = event(project.id, "a", at);
    let copies = [0, -25, -1, -24, -26].map(|hours| {
        let mut copy = fresh.clone();
        copy.received_at = fresh.received_at + hours.hours();
        copy
    });
    let chunk = spool.chunk(copies.to_vec());
    assert_eq!(
        store(&mut client, &mut spool, &chunk).await,
        [
            EventKind::Counted,
            EventKind::Counted,
            EventKind::Duplicate,
            EventKind::Duplicate,
            EventKind::Duplicate
        ]
    );
}

/// Of an id that two projects use, each has its own event.
#[tokio::test]
async fn copies_are_looked_for_in_their_own_project() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let first = project(&mut client).await;
    let second = projects::NewProject {
        id: id().into(),
        slug: "two".into(),
        name: "Two".into(),
        platform: None,
        key: PublicKey::from_bytes(*id().as_bytes()),
    };
    projects::create(&mut client, first.organization_id, &second)
        .await
        .unwrap();
    let (one, two) = (first.id, second.id);
    let at = now(&client).await;
    let mut spool = Spool::open(&client).await;
    let of = |event: &GroupedEvent, project: ProjectId| GroupedEvent {
        project_id: project,
        candidates: vec![event.fingerprint.issue_id(project)],
        ..event.clone()
    };
    let make = || event(one, "a", at);
    let [a, b, c, d] = [make(), make(), make(), make()];
    let chunk = spool.chunk(vec![a.clone(), of(&b, two), of(&d, two)]);
    assert_eq!(
        store(&mut client, &mut spool, &chunk).await,
        [EventKind::New, EventKind::New, EventKind::Counted]
    );
    // What one project has, the other has not.
    let chunk = spool.chunk(vec![of(&a, two), b.clone(), c.clone(), of(&c, two)]);
    assert_eq!(
        store(&mut client, &mut spool, &chunk).await,
        [EventKind::Counted; 4]
    );
    // Each project's own are found, at the beginning of its ids and at their end.
    for project in [one, two] {
        for copy in [&a, &b, &c] {
            let chunk = spool.chunk(vec![make(), of(copy, project), of(&make(), two)]);
            assert_eq!(
                store(&mut client, &mut spool, &chunk).await,
                [EventKind::Counted, EventKind::Duplicate, EventKind::Counted]
            );
        }
    }
}

/// Days on which nothing is stored are not searched; those before and after today's, on which something is, are.
#[tokio::test]
async fn a_copy_is_found_on_the_day_before_and_on_the_day_after() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let at = now(&client).await;
    let mut spool = Spool::open(&client).await;
    for hours in [0, -23, 23] {
        let first = event(project.id, &format!("{hours}"), at + hours.hours());
        let mut copy = first.clone();
        copy.received_at = at;
        let mut far = first.clone();
        far.received_at = at - 48.hours();
        for (event, expected) in [
            (first, EventKind::New),
            (copy, EventKind::Duplicate),
            (far, EventKind::Counted),
        ] {
            let chunk = spool.chunk(vec![event]);
            let kinds = store(&mut client, &mut spool, &chunk).await;
            assert_eq!(kinds, [expected], "{hours} hours from now");
        }
    }
}

/// Its time is not believed but the database's; a retry finds it there.
#[tokio::test]
async fn an_event_of_a_clock_far_ahead_counts_once() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let mut spool = Spool::open(&client).await;
    let early = event(project.id, "a", now(&client).await + 60.hours());
    for expected in [EventKind::New, EventKind::Duplicate] {
        let chunk = spool.chunk(vec![early.clone()]);
        assert_eq!(store(&mut client, &mut spool, &chunk).await, [expected]);
    }
}

#[tokio::test]
async fn one_refused_event_goes_to_quarantine_and_the_rest_is_stored() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let at = now(&client).await;
    let mut spool = Spool::open(&client).await;
    let mut events: Vec<_> = (0..9)
        .map(|n| event(project.id, &format!("e{}", n % 3), at))
        .collect();
    events[4].message = "a NUL: \0".into();
    events[7].platform = "\0".into();
    let chunk = spool.chunk(events.clone());
    let fates = store(&mut client, &mut spool, &chunk).await;
    for (place, kind) in fates.iter().enumerate() {
        assert_eq!(
            !kind.is_stored(),
            [4, 7].contains(&place),
            "{place}: {kind:?}"
        );
    }
    let rows = client
        .query(
            "SELECT event_id, reason, payload FROM quarantine ORDER BY id",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        rows[0].get::<_, uuid::Uuid>(0),
        events[4].event_id.into_uuid()
    );
    assert!(
        rows[0].get::<_, &str>(1).contains("SQLSTATE 22021"),
        "{:?}",
        rows[0]
    );
    assert_eq!(rows[0].get::<_, &[u8]>(2), &events[4].payload[..]);
    let quarantined = "SELECT sum(quantity)::int8 FROM outcomes WHERE outcome = 'quarantined'";
    assert_eq!(count(&client, quarantined).await, 2);
}

#[tokio::test]
async fn a_chunk_that_is_refused_only_as_a_whole_does_not_stop_the_spool() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let at = now(&client).await;
    let mut spool = Spool::open(&client).await;
    // A rule that any one of them keeps, and two of them break.
    client
        .batch_execute("ALTER TABLE project_counters ADD CHECK (event_count < 2)")
        .await
        .unwrap();
    let chunk = spool.chunk(vec![event(project.id, "a", at), event(project.id, "b", at)]);
    let fates = store(&mut client, &mut spool, &chunk).await;
    assert_eq!(fates, [EventKind::Quarantined, EventKind::Quarantined]);
    assert_eq!(count(&client, "SELECT count(*) FROM quarantine").await, 2);
}

#[tokio::test]
async fn quarantined_and_filtered_events_of_the_chunk_are_counted_once() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let at = now(&client).await;
    let mut spool = Spool::open(&client).await;
    let lost = event(project.id, "x", at);
    let mut chunk = spool.chunk(vec![]);
    chunk.quarantined.push(Quarantined {
        raw: RawEvent {
            event_id: lost.event_id,
            project_id: project.id,
            received_at: lost.received_at,
            facts: Vec::new().into(),
            payload: lost.payload,
        },
        reason: "the processor died of it \0".into(),
    });
    chunk.outcomes.push(OutcomeCount {
        project_id: project.id,
        at,
        outcome: Outcome::Filtered,
        reason: "localhost".into(),
        quantity: 3,
    });
    assert_eq!(store(&mut client, &mut spool, &chunk).await, []);
    let row = client
        .query_one(
            "SELECT string_agg(outcome || reason || quantity, ',' ORDER BY outcome) FROM outcomes",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(
        row.get::<_, &str>(0),
        "filteredlocalhost3,quarantinedprocessing1"
    );
}

#[tokio::test]
async fn what_the_disk_lost_belongs_to_a_project_that_there_is_or_to_none() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let at = now(&client).await;
    let mut spool = Spool::open(&client).await;
    let lost = |project_id, quantity| OutcomeCount {
        project_id,
        at,
        outcome: Outcome::Lost,
        reason: "damage".into(),
        quantity,
    };
    let nobody = id().into();
    let mut chunk = spool.chunk(vec![]);
    chunk.outcomes = vec![lost(project.id, 2), lost(nobody, 3), lost(nil(), 4)];
    store(&mut client, &mut spool, &chunk).await;
    let rows = client
        .query(
            "SELECT project_id, outcome, quantity FROM outcomes ORDER BY quantity, outcome",
            &[],
        )
        .await
        .unwrap();
    let rows: Vec<(ProjectId, String, i64)> = rows
        .iter()
        .map(|row| (ProjectId::from_uuid(row.get(0)), row.get(1), row.get(2)))
        .collect();
    let expected = [(project.id, 2), (nil(), 7)]
        .map(|(id, n)| [(id, "accepted".to_owned(), n), (id, "lost".to_owned(), n)]);
    assert_eq!(rows, expected.concat());
}

fn nil() -> ProjectId {
    ProjectId::from_uuid(uuid::Uuid::nil())
}

#[tokio::test]
async fn a_resolved_issue_regresses_once_and_a_discarded_one_takes_no_more() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let mut spool = Spool::open(&client).await;
    let first = event(project.id, "a", now(&client).await);
    let issue = first.candidates[0];
    let chunk = spool.chunk(vec![first]);
    store(&mut client, &mut spool, &chunk).await;
    let at = now(&client).await;
    let resolved = issues::act(&mut client, issue, IssueAction::Resolve, at)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(resolved.row.status, "resolved");
    let at = now(&client).await;
    let chunk = spool.chunk(vec![event(project.id, "a", at), event(project.id, "a", at)]);
    assert_eq!(
        store(&mut client, &mut spool, &chunk).await,
        [EventKind::Regressed, EventKind::Counted]
    );
    let back = issues::get(&client, issue).await.unwrap().unwrap();
    assert_eq!(
        (back.row.status.as_str(), back.row.regressed),
        ("unresolved", true)
    );
    issues::act(&mut client, issue, IssueAction::Discard, at)
        .await
        .unwrap()
        .unwrap();
    let chunk = spool.chunk(vec![event(project.id, "a", at)]);
    assert_eq!(
        store(&mut client, &mut spool, &chunk).await,
        [EventKind::Discarded]
    );
    let changed = "SELECT count(*) FROM outbox WHERE kind = 'changed'";
    assert_eq!(count(&client, changed).await, 2);
    let gaps = "SELECT max(sequence) - count(*) FROM outbox";
    assert_eq!(count(&client, gaps).await, 0);
}

#[tokio::test]
async fn events_of_many_days_find_their_partitions_and_old_ones_expire() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let at = now(&client).await;
    let mut spool = Spool::open(&client).await;
    let ages = [0, 1, 8, 89, 91, 400];
    let mut events: Vec<_> = ages
        .iter()
        .map(|days| event(project.id, "a", at - SignedDuration::from_hours(24 * days)))
        .collect();
    // A clock that is two days ahead is not believed.
    events.push(event(project.id, "a", at + 48.hours()));
    let chunk = spool.chunk(events);
    let fates = store(&mut client, &mut spool, &chunk).await;
    assert_eq!(fates[4..6], [EventKind::Expired, EventKind::Expired]);
    assert!(
        fates[..4]
            .iter()
            .chain(&fates[6..])
            .all(|kind| kind.is_stored())
    );
    let days = "SELECT count(DISTINCT tableoid) FROM events";
    assert_eq!(count(&client, days).await, 4);
    assert_eq!(
        count(
            &client,
            "SELECT count(*) FROM events WHERE received_at > now() + interval '1 day'"
        )
        .await,
        0
    );
}

#[tokio::test]
async fn the_first_candidate_that_exists_is_taken_and_merged_issues_count_for_their_canonical_one()
{
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let at = now(&client).await;
    let mut spool = Spool::open(&client).await;
    let (old, other) = (event(project.id, "old", at), event(project.id, "other", at));
    let (old_issue, other_issue) = (old.candidates[0], other.candidates[0]);
    let chunk = spool.chunk(vec![old, other]);
    store(&mut client, &mut spool, &chunk).await;
    // A newer algorithm names a new issue first, the old one second.
    let mut newer = event(project.id, "new", at);
    newer.candidates.push(old_issue);
    let chunk = spool.chunk(vec![newer]);
    assert_eq!(
        store(&mut client, &mut spool, &chunk).await,
        [EventKind::Counted]
    );
    client
        .execute(
            "UPDATE issues SET merged_into = $2 WHERE id = $1",
            &[&old_issue.into_uuid(), &other_issue.into_uuid()],
        )
        .await
        .unwrap();
    let chunk = spool.chunk(vec![event(project.id, "old", at)]);
    let committed = write_chunk(&mut client, &chunk).await.unwrap();
    assert_eq!(
        (committed.events[0].issue_id, committed.events[0].canonical),
        (old_issue, other_issue)
    );
    assert_eq!(committed.issues[0].issue.id, other_issue);
    assert_eq!(committed.issues[0].issue.event_count, 2);
    check_equality(&client).await;
}

#[tokio::test]
async fn events_of_a_project_that_is_gone_end_as_expired() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let mut spool = Spool::open(&client).await;
    let chunk = spool.chunk(vec![event(id().into(), "a", now(&client).await)]);
    assert_eq!(
        store(&mut client, &mut spool, &chunk).await,
        [EventKind::Expired]
    );
    assert!(
        issues::get(&client, IssueId::from_uuid(id()))
            .await
            .unwrap()
            .is_none()
    );
}
