//! Events put aside are found again and leave no second outcome; limits are read back as they were set.

use jiff::SignedDuration;
use mesher::domain::{GroupedEvent, RawEvent};
use mesher::storage::projects::{self, ProjectLimits};
use mesher::storage::writer::{Quarantined, write_chunk};
use mesher::storage::{outcomes, quarantine};

use crate::postgres::TestDatabase;
use crate::support::{Spool, event, now, project};

fn put_aside(event: &GroupedEvent) -> Quarantined {
    Quarantined {
        raw: RawEvent {
            event_id: event.event_id,
            project_id: event.project_id,
            received_at: event.received_at,
            facts: Vec::new().into(),
            payload: event.payload.clone(),
        },
        reason: "processing panicked".to_owned(),
    }
}

#[tokio::test]
async fn what_is_put_aside_is_listed_found_and_taken_out_once() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let at = now(&client).await;
    let spool = Spool::open(&client).await;
    let events: Vec<GroupedEvent> = (0..3)
        .map(|n| event(project.id, &format!("Error {n}"), at))
        .collect();
    let mut chunk = spool.chunk(vec![]);
    chunk.quarantined = events.iter().map(put_aside).collect();
    write_chunk(&mut client, &chunk).await.unwrap();

    let first = quarantine::list(&client, project.id, None, 2)
        .await
        .unwrap();
    assert_eq!(first.data.len(), 2);
    assert_eq!(first.data[0].reason, "processing panicked");
    let before = first.next_cursor.unwrap().parse().unwrap();
    let second = quarantine::list(&client, project.id, Some(before), 2)
        .await
        .unwrap();
    assert_eq!((second.data.len(), second.next_cursor), (1, None));
    let oldest = &second.data[0];
    assert_eq!(oldest.event_id, events[0].event_id);

    let raw = quarantine::find(&client, project.id, oldest.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(raw, put_aside(&events[0]).raw);
    let stranger = uuid::Uuid::nil().into();
    assert_eq!(
        quarantine::find(&client, stranger, oldest.id)
            .await
            .unwrap(),
        None
    );

    let quarantined = async |client: &tokio_postgres::Client| {
        let (from, until) = (outcomes::hour(at), at + SignedDuration::from_hours(1));
        let hours = outcomes::hours(client, project.id, from, until)
            .await
            .unwrap();
        let sums = outcomes::sums(&hours);
        sums.iter().map(|sum| sum.quantity).sum::<i64>()
    };
    assert_eq!(quarantined(&client).await, 3);
    assert!(
        quarantine::remove(&mut client, project.id, oldest.id)
            .await
            .unwrap()
    );
    assert!(
        !quarantine::remove(&mut client, project.id, oldest.id)
            .await
            .unwrap()
    );
    assert_eq!(quarantined(&client).await, 2 + 1, "one as replayed");
    let hours = outcomes::hours(
        &client,
        project.id,
        outcomes::hour(at),
        at + SignedDuration::from_hours(1),
    )
    .await
    .unwrap();
    let sums: Vec<(String, i64)> = outcomes::sums(&hours)
        .into_iter()
        .map(|sum| (sum.outcome, sum.quantity))
        .collect();
    assert_eq!(
        sums,
        [("quarantined".to_owned(), 2), ("replayed".to_owned(), 1)]
    );
}

#[tokio::test]
async fn limits_are_the_keys_and_the_projects() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let limits =
        async |client: &tokio_postgres::Client| projects::limits(client, project.id).await.unwrap();
    let usual = ProjectLimits {
        rate_limit: None,
        key_rate_limit: None,
        sample_rate: 1.0,
    };
    assert_eq!(limits(&client).await, Some(usual));
    let changed = ProjectLimits {
        rate_limit: Some(9),
        key_rate_limit: Some(7),
        sample_rate: 0.25,
    };
    projects::set_limits(&mut client, project.id, &changed)
        .await
        .unwrap();
    assert_eq!(limits(&client).await, Some(changed));
    let key = &projects::keys(&client).await.unwrap()[0];
    assert_eq!((key.rate_limit, key.kept_per_million), (Some(7), 250_000));
    assert_eq!(key.project_rate_limit, Some(9));
    assert_eq!(
        projects::limits(&client, uuid::Uuid::nil().into())
            .await
            .unwrap(),
        None
    );
}
