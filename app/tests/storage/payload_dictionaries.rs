//! Payloads packed with a dictionary are read as long as their events are kept, wherever they lie.

use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use mesher::domain::payload::{self, Dictionary};
use mesher::domain::{GroupedEvent, ProjectId, RawEvent};
use mesher::processing::grouping;
use mesher::processing::normalize::{EventContext, sentry_event};
use mesher::storage::writer::{Quarantined, write_chunk};
use mesher::storage::{events, partitions, payload_dictionaries, projects, quarantine, retention};
use tokio_postgres::Client;

use crate::postgres::TestDatabase;
use crate::support::{Spool, count, event, id, now, project};

const JSON: &str = r#"{"message":"what the events of this project have in common"}"#;

/// A dictionary made at that time; each made is another one.
fn dictionary(made_at: Timestamp) -> Dictionary {
    Dictionary::new(format!("{JSON}{made_at}"), made_at)
}

/// An event whose payload is packed with a dictionary.
fn packed(project: ProjectId, dictionary: &Dictionary, received_at: Timestamp) -> GroupedEvent {
    let mut payload = Vec::new();
    payload::pack(JSON.as_bytes(), Some(dictionary), &mut payload).unwrap();
    GroupedEvent {
        payload: payload.into(),
        ..event(project, "a", received_at)
    }
}

async fn shown(client: &Client, event: &GroupedEvent) -> Option<String> {
    let found = events::get(client, event.project_id, event.event_id).await;
    let shown = found.unwrap().expect("the event is there").event?;
    Some(shown.get().to_owned())
}

#[tokio::test]
async fn an_event_is_shown_with_its_dictionary_and_not_without() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let at = now(&client).await;
    let with = dictionary(at);
    payload_dictionaries::add(&mut client, project.id, &with)
        .await
        .unwrap();
    let stored = packed(project.id, &with, at);
    let spool = Spool::open(&client).await;
    write_chunk(&mut client, &spool.chunk(vec![stored.clone()]))
        .await
        .unwrap();
    assert_eq!(shown(&client, &stored).await.as_deref(), Some(JSON));

    // Another's dictionary of the same id is not this project's.
    let found = payload_dictionaries::find(&client, id().into(), with.id()).await;
    assert_eq!(found.unwrap(), None);
    let damage = "UPDATE payload_dictionaries SET content = content || 'x'";
    client.batch_execute(damage).await.unwrap();
    assert_eq!(shown(&client, &stored).await, None, "another content");
    client
        .batch_execute("DELETE FROM payload_dictionaries")
        .await
        .unwrap();
    assert_eq!(shown(&client, &stored).await, None, "no content");
}

#[tokio::test]
async fn a_dictionary_is_on_the_disk_whatever_the_servers_default() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    client
        .batch_execute(
            "CREATE TABLE seen (setting text); \
             CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$; \
             CREATE TRIGGER see BEFORE INSERT ON payload_dictionaries FOR EACH ROW EXECUTE FUNCTION see(); \
             SET synchronous_commit = off",
        )
        .await
        .unwrap();
    let with = dictionary(now(&client).await);
    payload_dictionaries::add(&mut client, project.id, &with)
        .await
        .unwrap();
    let seen = "SELECT count(*) FROM seen WHERE setting = 'on'";
    assert_eq!(count(&client, seen).await, 1);
    let after =
        "SELECT count(*) FROM pg_settings WHERE name = 'synchronous_commit' AND setting = 'off'";
    assert_eq!(
        count(&client, after).await,
        1,
        "and nobody else's is changed"
    );
}

#[tokio::test]
async fn the_newest_of_each_project_is_found_and_a_projects_end_is_theirs() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let one = project(&mut client).await;
    let two = projects::NewProject {
        id: id().into(),
        slug: "two".into(),
        name: "Two".into(),
        platform: None,
        key: mesher::domain::PublicKey::from_bytes(*id().as_bytes()),
    };
    projects::create(&mut client, one.organization_id, &two)
        .await
        .unwrap();
    let at = now(&client).await;
    let made: Vec<Dictionary> = (0..4_i64).map(|n| dictionary(at - n.hours())).collect();
    for (project, dictionary) in [(one.id, 3), (one.id, 1), (two.id, 2), (two.id, 1)] {
        payload_dictionaries::add(&mut client, project, &made[dictionary])
            .await
            .unwrap();
    }
    let newest = async |after, limit| {
        let found = payload_dictionaries::newest(&client, after, limit).await;
        let found = found.unwrap().into_iter();
        found
            .map(|(project, it)| (project, it.id()))
            .collect::<Vec<_>>()
    };
    let mut found = newest(at - 2.hours(), 32).await;
    found.sort_by_key(|(project, _)| *project == two.id);
    assert_eq!(found, [(one.id, made[1].id()), (two.id, made[1].id())]);
    assert_eq!(newest(at - 4.hours(), 1).await.len(), 1);
    assert_eq!(newest(at - 30.minutes(), 32).await, []);
    let of = |project, after| payload_dictionaries::newest_of(&client, project, after);
    let found = of(two.id, at - 2.hours()).await.unwrap().unwrap();
    assert_eq!((found.id(), found.made_at()), (made[1].id(), at - 1.hour()));
    assert_eq!(found.content(), made[1].content());
    assert!(of(two.id, at).await.unwrap().is_none());

    let end = format!("DELETE FROM projects WHERE id = '{}'", two.id);
    client.batch_execute(&end).await.unwrap();
    let left = "SELECT count(*) FROM payload_dictionaries";
    assert_eq!(count(&client, left).await, 2, "those of the other project");
    let nowhere = payload_dictionaries::add(&mut client, two.id, &made[0]).await;
    assert_eq!(
        nowhere.unwrap_err().code().unwrap().code(),
        "23503",
        "there is no such project any more"
    );
    // Made once more, it lives from then on, and an older making takes nothing away.
    for made_at in [at, at - 9.hours()] {
        let again = Dictionary::new(made[1].content().clone(), made_at);
        payload_dictionaries::add(&mut client, one.id, &again)
            .await
            .unwrap();
        let found = payload_dictionaries::newest_of(&client, one.id, at - 1.minute()).await;
        assert_eq!(found.unwrap().unwrap().made_at(), at);
    }
}

#[tokio::test]
async fn a_damaged_one_is_not_used_and_making_it_again_mends_it() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let at = now(&client).await;
    let with = dictionary(at);
    payload_dictionaries::add(&mut client, project.id, &with)
        .await
        .unwrap();
    let damage = "UPDATE payload_dictionaries SET content = content || 'x'";
    client.batch_execute(damage).await.unwrap();
    let before = at - 1.hour();
    let found = payload_dictionaries::newest(&client, before, 32).await;
    assert!(found.unwrap().is_empty());
    let found = payload_dictionaries::newest_of(&client, project.id, before).await;
    assert!(found.unwrap().is_none());

    payload_dictionaries::add(&mut client, project.id, &with)
        .await
        .unwrap();
    let found = payload_dictionaries::newest_of(&client, project.id, before).await;
    assert_eq!(found.unwrap().unwrap().content(), with.content());
    // What is there and undamaged is not written again.
    let row = "SELECT xmin::text::int8 FROM payload_dictionaries";
    let version = count(&client, row).await;
    payload_dictionaries::add(&mut client, project.id, &with)
        .await
        .unwrap();
    assert_eq!(count(&client, row).await, version);
}

#[tokio::test]
async fn a_dictionary_stays_until_the_last_event_it_may_have_packed_is_gone() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    client
        .batch_execute("UPDATE projects SET retention_days = 3")
        .await
        .unwrap();
    let mut spool = Spool::open(&client).await;
    let yesterday = partitions::day(now(&client).await).yesterday().unwrap();
    let yesterday = yesterday.to_zoned(TimeZone::UTC).unwrap().timestamp();
    // On whatever time of day it was made.
    for minutes in [0_i64, 1, 719, 1439] {
        let made_at = yesterday + minutes.minutes() - Dictionary::LIFE;
        let with = dictionary(made_at);
        payload_dictionaries::add(&mut client, project.id, &with)
            .await
            .unwrap();
        let last = made_at + Dictionary::LIFE;
        assert!(with.is_live(last));
        let stored = packed(project.id, &with, last);
        let chunk = spool.chunk(vec![stored.clone()]);
        write_chunk(&mut client, &chunk).await.unwrap();
        spool.advance(&chunk);
        assert_eq!(count(&client, "SELECT count(*) FROM events").await, 1);
        let mut gone_at = None;
        for hours in 9 * 24..13 * 24 {
            let at = made_at + SignedDuration::from_hours(hours);
            retention::drop_partitions(&client, at).await.unwrap();
            payload_dictionaries::prune(&client, at).await.unwrap();
            let is_kept = payload_dictionaries::find(&client, project.id, with.id());
            let is_kept = is_kept.await.unwrap().is_some();
            let events = count(&client, "SELECT count(*) FROM events").await;
            assert!(is_kept || events == 0, "{minutes}: {hours} hours after");
            if !is_kept {
                gone_at = gone_at.or(Some(hours));
            }
        }
        // Seven days of use, three of keeping, one of slack, and the rest of a day.
        let gone_at = gone_at.expect("it goes");
        assert!((11 * 24..=12 * 24).contains(&gone_at), "{gone_at}");
    }
}

#[tokio::test]
async fn each_project_keeps_its_own_as_long_as_its_own_events() {
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
    let keep = async |project: ProjectId, days: i32| {
        let set = "UPDATE projects SET retention_days = $2 WHERE id = $1";
        let changed = client
            .execute(set, &[&project.into_uuid(), &days])
            .await
            .unwrap();
        assert_eq!(changed, 1);
    };
    keep(long.id, 30).await;
    keep(short.id, 2).await;
    let today = partitions::day(now(&client).await);
    let today = today.to_zoned(TimeZone::UTC).unwrap().timestamp();
    let made_at = today - Dictionary::LIFE;
    let with = dictionary(made_at);
    let mut spool = Spool::open(&client).await;
    for project in [long.id, short.id] {
        payload_dictionaries::add(&mut client, project, &with)
            .await
            .unwrap();
        let chunk = spool.chunk(vec![packed(project, &with, today)]);
        write_chunk(&mut client, &chunk).await.unwrap();
        spool.advance(&chunk);
    }
    let mut gone = Vec::new();
    for day in 0..20_i64 {
        let at = today + (24 * day).hours();
        if day == 10 {
            // From thirty days to five, which are past.
            let set = "UPDATE projects SET retention_days = 5 WHERE retention_days = 30";
            client.batch_execute(set).await.unwrap();
        }
        retention::drop_partitions(&client, at).await.unwrap();
        retention::expire_events(&client, at).await.unwrap();
        payload_dictionaries::prune(&client, at).await.unwrap();
        for project in [long.id, short.id] {
            let kept = payload_dictionaries::find(&client, project, with.id()).await;
            let events = client
                .query_one(
                    "SELECT count(*) FROM events WHERE project_id = $1",
                    &[&project.into_uuid()],
                )
                .await
                .unwrap();
            let is_kept = kept.unwrap().is_some();
            assert!(is_kept || events.get::<_, i64>(0) == 0, "day {day}");
            if !is_kept && !gone.iter().any(|(of, _)| *of == project) {
                gone.push((project, day));
            }
        }
    }
    assert_eq!(gone, [(short.id, 4), (long.id, 10)]);
}

#[tokio::test]
async fn what_is_put_aside_needs_no_dictionary() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let at = now(&client).await;
    let with = dictionary(at);
    payload_dictionaries::add(&mut client, project.id, &with)
        .await
        .unwrap();
    let context = EventContext {
        project_id: project.id,
        project_number: None,
        received_at: at,
        sent_at: None,
        event_id: None,
        fresh_event_id: id().into(),
        remote_address: None,
        dictionary: Some(Arc::new(Dictionary::new(with.content().clone(), at))),
    };
    let raw = sentry_event(JSON.as_bytes(), &context).unwrap();
    assert_eq!(payload::dictionary_of(&raw.payload), Some(with.id()));
    // One that processing refused, and one that the database would not take.
    let mut culprit = packed(project.id, &with, at);
    culprit.title.push('\0');
    let spool = Spool::open(&client).await;
    let mut chunk = spool.chunk(vec![culprit.clone()]);
    chunk.quarantined.push(Quarantined {
        raw: raw.clone(),
        reason: "processing panicked".to_owned(),
    });
    write_chunk(&mut client, &chunk).await.unwrap();
    client
        .batch_execute("DELETE FROM payload_dictionaries")
        .await
        .unwrap();
    let listed = quarantine::list(&client, project.id, None, 10).await;
    let listed = listed.unwrap().data;
    assert_eq!(listed.len(), 2);
    for row in listed {
        let found = quarantine::find(&client, project.id, row.id).await;
        let found: RawEvent = found.unwrap().unwrap();
        let json = payload::unpack(&found.payload, None).unwrap();
        if found.event_id == raw.event_id {
            let grouped = grouping::group(&found).unwrap();
            assert_eq!(
                grouped.fingerprint,
                grouping::group(&raw).unwrap().fingerprint
            );
        } else {
            assert_eq!(json, JSON.as_bytes());
        }
    }
}
