//! What users write: scrubbed, kept beside whatever becomes of the event, and never at the cost of it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use mesher::domain::Outcome;
use mesher::domain::user_report::UserReport;
use mesher::ingestion::http::routes;
use mesher::ingestion::{DoorLimits, UserReports};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::kinds::counted_in;
use super::probe::{EVENT, ID, Probe, envelope, event_envelope, header};
use super::support::{Door, KEY, door, door_with};

/// The reports that were kept, in order.
type Kept = Arc<Mutex<Vec<UserReport>>>;

/// Keeps everything that comes.
fn keeping(door: &Door) -> Kept {
    let kept = Kept::default();
    let keeps = kept.clone();
    let _ = door
        .admission
        .clone()
        .keeping(UserReports::new(move |_, _, report| {
            keeps.lock().push(report);
            futures_util::future::ready(Ok(())).boxed()
        }));
    kept
}

fn user_report(comments: &str) -> String {
    json!({ "event_id": ID, "name": "Ada", "email": "ada@shop.example", "comments": comments })
        .to_string()
}

fn feedback(fields: &Value) -> String {
    json!({ "contexts": { "feedback": fields } }).to_string()
}

/// An envelope with this id and these items.
fn sent(items: &[(&str, &str)]) -> Probe {
    let headers: Vec<String> = items
        .iter()
        .map(|(kind, _)| json!({ "type": kind }).to_string())
        .collect();
    let items: Vec<(&str, &str)> = headers
        .iter()
        .zip(items)
        .map(|(header, (_, payload))| (header.as_str(), *payload))
        .collect();
    Probe::envelope(envelope(&json!({ "event_id": ID }).to_string(), &items))
}

#[tokio::test]
async fn secrets_are_taken_out_and_contacts_stay() {
    let door = door().await;
    let kept = keeping(&door);
    let report = user_report("I paid with 4242 4242 4242 4242, password=hunter2 and it broke");
    let feedback = feedback(&json!({
        "message": format!("{} password=hunter2", "x".repeat(4080)),
        "contact_email": "ada@shop.example",
        "url": "https://shop.example/?access_token=abcdef&page=2",
    }));
    let probe = sent(&[("user_report", &report), ("feedback", &feedback)]);
    assert_eq!(probe.status(&door).await, 200);
    let kept = kept.lock();
    assert_eq!(
        kept[0].message,
        "I paid with [Filtered], password=[Filtered] and it broke"
    );
    assert_eq!(
        (kept[0].name.as_str(), kept[0].email.as_str()),
        ("Ada", "ada@shop.example")
    );
    // The cut goes through what stands for the secret, never through the secret.
    assert!(
        kept[1].message.ends_with(" password=[Filte"),
        "{}",
        &kept[1].message[4070..]
    );
    assert_eq!(kept[1].email, "ada@shop.example");
    assert_eq!(
        kept[1].url,
        "https://shop.example/?access_token=[Filtered]&page=2"
    );
}

#[tokio::test]
async fn what_comes_beside_a_refused_event_is_kept_and_counted() {
    let door = door().await;
    let kept = keeping(&door);
    let report = user_report("it broke");
    let dropped = json!({ "discarded_events": [{ "reason": "before_send", "category": "error", "quantity": 812 }] })
        .to_string();
    let large = json!({ "message": "x".repeat(2 << 20) }).to_string();
    let others = [
        ("client_report", dropped.as_str()),
        ("user_report", report.as_str()),
        ("session", "{}"),
    ];
    for (events, status) in [(vec!["7"], 400), (vec![&large], 413), (vec![EVENT; 2], 400)] {
        let events = events.into_iter().map(|event| ("event", event));
        let items: Vec<_> = events.chain(others).collect();
        assert_eq!(sent(&items).status(&door).await, status);
        let counts = door.counts.take().answer_for();
        let counted = |outcome| counted_in(&counts, outcome);
        assert_eq!(
            counted(Outcome::ClientDropped),
            [("error:before_send".to_owned(), 812)]
        );
        assert_eq!(counted(Outcome::Unsupported), [("session".to_owned(), 1)]);
        let refused = if status == 413 {
            Outcome::TooLarge
        } else {
            Outcome::Invalid
        };
        assert_eq!(counted(refused), [(String::new(), 1)]);
        assert_eq!(kept.lock().drain(..).count(), 1);
    }
    assert!(door.spooled().await.is_empty());
}

#[tokio::test]
async fn a_database_that_does_not_answer_costs_one_wait_and_no_room() {
    let body = {
        let report = user_report("it broke");
        let mut items = vec![("event", EVENT)];
        items.extend([("user_report", report.as_str()); 5]);
        sent(&items).body
    };
    let limits = DoorLimits {
        // Room for one body at a time, and a wait that ends by itself long after the next has been taken.
        bodies_bytes_max: body.len() + 1,
        user_reports_timeout: Duration::from_millis(1500),
        ..DoorLimits::default()
    };
    let door = door_with(limits, |_| {}).await;
    let (asked, mut asks) = tokio::sync::mpsc::channel(8);
    let _ = door
        .admission
        .clone()
        .keeping(UserReports::new(move |_, _, _| {
            asked.try_send(()).unwrap();
            futures_util::future::pending().boxed()
        }));
    let routes = routes(door.admission.clone());
    let post = || {
        warp::test::request()
            .method("POST")
            .path(&format!("/api/1/envelope/?sentry_key={KEY}"))
    };
    let first = post().body(body).reply(&routes);
    let meanwhile = async {
        asks.recv().await.unwrap();
        while door.spooled().await.is_empty() {
            tokio::task::yield_now().await;
        }
        let second = post().body(event_envelope()).reply(&routes).await;
        assert_eq!(second.status(), 200, "the first body holds its share");
    };
    let (first, ()) = futures_util::future::join(first, meanwhile).await;
    assert_eq!(first.status(), 429);
    assert_eq!(
        header(&first, "x-sentry-rate-limits").unwrap(),
        "10:feedback:organization:overloaded"
    );
    assert!(asks.try_recv().is_err(), "the rest was not tried");
    assert_eq!(door.spooled().await.len(), 2);
    assert_eq!(
        counted_in(&door.counts.take().answer_for(), Outcome::RateLimited),
        [("feedback".to_owned(), 5)]
    );
}

#[tokio::test]
async fn after_one_that_cannot_be_kept_no_other_is_tried() {
    let door = door().await;
    let tried = Arc::new(Mutex::new(Vec::new()));
    let tries = tried.clone();
    let _ = door
        .admission
        .clone()
        .keeping(UserReports::new(move |_, _, report| {
            tries.lock().push(report.message);
            let is_away = tries.lock().len() == 2;
            let kept = if is_away {
                Err("away".to_owned())
            } else {
                Ok(())
            };
            futures_util::future::ready(kept).boxed()
        }));
    let reports: Vec<String> = ["one", "two", "three", "four"].map(user_report).into();
    let items: Vec<_> = reports
        .iter()
        .map(|report| ("user_report", report.as_str()))
        .collect();
    assert_eq!(sent(&items).status(&door).await, 429);
    assert_eq!(*tried.lock(), ["one", "two"]);
    assert_eq!(
        counted_in(&door.counts.take().answer_for(), Outcome::RateLimited),
        [("feedback".to_owned(), 3)]
    );
}

#[tokio::test]
async fn no_report_of_an_envelope_has_the_id_of_another() {
    let door = door().await;
    let kept = keeping(&door);
    let report = user_report("it broke");
    let words = feedback(&json!({ "message": "too slow" }));
    let items = [
        ("event", EVENT),
        ("user_report", &report),
        ("feedback", &words),
        ("feedback", &words),
    ];
    for _ in 0..2 {
        assert_eq!(sent(&items).status(&door).await, 200);
    }
    let ids: Vec<_> = kept.lock().iter().map(|report| report.id).collect();
    let distinct: HashSet<_> = ids.iter().collect();
    assert_eq!((ids.len(), distinct.len()), (6, 3));
    assert_eq!(ids[..3], ids[3..], "a retry brings the same ids");
    assert_eq!(kept.lock()[0].event_id, Some(ID.parse().unwrap()));
}
