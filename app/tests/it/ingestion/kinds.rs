//! What comes besides single events: bulks, browsers' reports, items that are no events; and how much of a project is let in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;
use mesher::domain::user_report::UserReport;
use mesher::domain::{Outcome, ProjectId};
use mesher::ingestion::door_counts::DoorCount;
use mesher::ingestion::{Grant, UserReports};
use parking_lot::Mutex;
use serde_json::{Value, json};
use warp::http::StatusCode;

use super::probe::{EVENT, ID, Probe, body, envelope, header};
use super::support::{Door, KEY, door, grant, json_of};

fn bulk(body: &str) -> Probe {
    let mut probe = Probe::native(&json!({})).path("/api/v1/events/bulk");
    probe.body = body.as_bytes().to_vec();
    probe
}

fn counted(door: &Door, outcome: Outcome) -> Vec<(String, u64)> {
    counted_in(&door.counts.take().answer_for(), outcome)
}

/// Reasons and quantities of an outcome, by reason.
pub(crate) fn counted_in(counts: &[DoorCount], outcome: Outcome) -> Vec<(String, u64)> {
    let counts = counts.iter().filter(|count| count.outcome == outcome);
    let mut counts: Vec<(String, u64)> = counts
        .map(
            |DoorCount {
                 reason, quantity, ..
             }| (reason.to_string(), *quantity),
        )
        .collect();
    counts.sort();
    counts
}

#[tokio::test]
async fn each_event_of_a_bulk_has_a_result_of_its_own() {
    let door = door().await;
    for (separator, ends) in [(",", ("[", "]")), ("\n", ("", ""))] {
        let items = [
            r#"{"message":"one"}"#,
            r#"{"message":"two","project_id":2}"#,
            "7",
            r#"{"message":"three"}"#,
        ];
        let response = bulk(&format!("{}{}{}", ends.0, items.join(separator), ends.1))
            .send(&door)
            .await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        let answer = body(&response);
        assert_eq!(
            (&answer["accepted"], &answer["refused"]),
            (&json!(2), &json!(2))
        );
        let results = answer["results"].as_array().unwrap();
        assert!(results[0]["id"].is_string() && results[3]["id"].is_string());
        assert_eq!(results[1]["error"]["code"], "forbidden");
        assert_eq!(results[2]["error"]["code"], "invalid");
        assert_eq!(counted(&door, Outcome::Invalid), [(String::new(), 1)]);
    }
    let messages: Vec<Value> = door.spooled().await.iter().map(json_of).collect();
    let said: Vec<&str> = messages
        .iter()
        .map(|event| event["logentry"]["formatted"].as_str().unwrap())
        .collect();
    assert_eq!(said, ["one", "three", "one", "three"]);
}

#[tokio::test]
async fn bulks_of_one_of_many_and_of_none() {
    let door = door().await;
    for (len, status) in [(1, 202), (100, 202), (101, 202), (1000, 202), (1001, 400)] {
        let body = format!("[{}]", vec![EVENT; len].join(","));
        assert_eq!(bulk(&body).status(&door).await, status, "{len}");
    }
    assert_eq!(door.spooled().await.len(), 1202);
    assert_eq!(bulk("[]").status(&door).await, 400);
    assert_eq!(bulk("7\n8").status(&door).await, 400, "none was taken");
    assert_eq!(bulk("{}").no_auth().status(&door).await, 401);
    let large = format!("[\"{}\"]", "x".repeat(5 << 20));
    assert_eq!(bulk(&large).status(&door).await, 413);
}

#[tokio::test]
async fn browsers_reports_become_events() {
    let door = door().await;
    let report = |path: &str, body: &Value| {
        let mut probe = Probe::native(body).no_auth();
        probe.path = format!("{path}?sentry_key={KEY}&sentry_environment=live%20one");
        probe.header("content-type", "application/csp-report")
    };
    let violation = json!({ "csp-report": { "document-uri": "https://shop.example/", "blocked-uri": "inline",
        "effective-directive": "script-src" } });
    for path in ["/api/1/security/", "/api/1/csp-report"] {
        let response = report(path, &violation).send(&door).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(body(&response)["id"].is_string());
    }
    let event = json_of(&door.spooled().await[1]);
    assert_eq!(
        event["logentry"]["formatted"],
        "Blocked 'script' from 'inline'"
    );
    assert_eq!(event["environment"], "live one");
    assert_eq!(event["logger"], "csp");
    assert_eq!(
        report("/api/1/security/", &json!({})).status(&door).await,
        400
    );
    assert_eq!(
        report("/api/2/security/", &violation).status(&door).await,
        403
    );
    let silent = Probe::native(&violation).no_auth().path("/api/1/security/");
    assert_eq!(silent.status(&door).await, 401);
}

#[tokio::test]
async fn what_is_no_event_is_taken_and_counted_as_what_it_is() {
    let door = door().await;
    let report = json!({ "timestamp": 1, "discarded_events": [
        { "reason": "before_send", "category": "error", "quantity": 812 },
        { "reason": "sample_rate", "category": "transaction", "quantity": 3 },
    ] });
    let items = envelope(
        "{}",
        &[
            (r#"{"type":"client_report"}"#, &report.to_string()),
            (r#"{"type":"session"}"#, "{}"),
            (r#"{"type":"sessions"}"#, "{}"),
            (r#"{"type":"check_in"}"#, "{}"),
            (r#"{"type":"from_next_year"}"#, "{}"),
        ],
    );
    assert_eq!(Probe::envelope(items.clone()).status(&door).await, 200);
    assert_eq!(
        counted(&door, Outcome::ClientDropped),
        [
            ("error:before_send".to_owned(), 812),
            ("transaction:sample_rate".to_owned(), 3)
        ]
    );
    assert_eq!(Probe::envelope(items).status(&door).await, 200);
    assert_eq!(
        counted(&door, Outcome::Unsupported),
        [
            ("default".to_owned(), 1),
            ("monitor".to_owned(), 1),
            ("session".to_owned(), 2)
        ]
    );
    assert!(door.spooled().await.is_empty());
}

#[tokio::test]
async fn users_words_are_kept_and_a_refusal_names_their_category() {
    type Kept = Arc<Mutex<Vec<(ProjectId, UserReport)>>>;
    let (door, kept) = (door().await, Kept::default());
    let is_away = Arc::new(AtomicBool::new(false));
    let (keeps, away) = (kept.clone(), is_away.clone());
    let _ = door
        .admission
        .clone()
        .keeping(UserReports::new(move |project, _, report| {
            let (keeps, away) = (keeps.clone(), away.clone());
            async move {
                if away.load(Ordering::Relaxed) {
                    return Err("away".to_owned());
                }
                keeps.lock().push((project, report));
                Ok(())
            }
            .boxed()
        }));
    let report = json!({ "event_id": ID, "name": "Ada", "comments": "it broke" }).to_string();
    let feedback = json!({ "contexts": { "feedback": { "message": "too slow" } } }).to_string();
    let items = [
        (r#"{"type":"event"}"#, EVENT),
        (r#"{"type":"user_report"}"#, report.as_str()),
        (r#"{"type":"feedback"}"#, feedback.as_str()),
        (r#"{"type":"user_report"}"#, "{}"),
    ];
    let send = async || {
        Probe::envelope(envelope(&json!({ "event_id": ID }).to_string(), &items))
            .send(&door)
            .await
    };
    let answer = send().await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(body(&answer)["id"], ID);
    let said: Vec<String> = kept
        .lock()
        .iter()
        .map(|(_, report)| report.message.clone())
        .collect();
    assert_eq!(said, ["it broke", "too slow"]);
    assert_eq!(
        counted(&door, Outcome::Unsupported),
        [("feedback".to_owned(), 1)]
    );
    // The database is away: the event is taken all the same, and the answer silences nothing but feedback.
    is_away.store(true, Ordering::Relaxed);
    let answer = send().await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        header(&answer, "x-sentry-rate-limits").unwrap(),
        "10:feedback:organization:overloaded"
    );
    assert_eq!(door.spooled().await.len(), 2);
    assert_eq!(
        counted(&door, Outcome::RateLimited),
        [("feedback".to_owned(), 2)]
    );
}

#[tokio::test]
async fn sampling_and_limits_are_the_keys_and_change_while_it_runs() {
    let door = door().await;
    let set = |rate_limit, kept_per_million| {
        door.keys.replace([Grant {
            rate_limit,
            kept_per_million,
            ..grant(KEY, 1)
        }]);
    };
    let send = async || Probe::native(&json!({ "message": "m" })).send(&door).await;
    set(None, 0);
    for _ in 0..3 {
        assert_eq!(send().await.status(), StatusCode::ACCEPTED);
    }
    assert!(door.spooled().await.is_empty());
    assert_eq!(counted(&door, Outcome::Sampled), [(String::new(), 3)]);
    // One a second, and ten at once.
    set(Some(1), 1_000_000);
    let mut refused = None;
    for _ in 0..1000 {
        let response = send().await;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            refused = Some(response);
            break;
        }
    }
    let refused = refused.expect("a limit of one a second holds");
    assert!(
        header(&refused, "x-sentry-rate-limits")
            .unwrap()
            .ends_with(":error:key:rate_limited")
    );
    set(Some(0), 1_000_000);
    assert_eq!(send().await.status(), StatusCode::ACCEPTED);
    // The project's own limit holds beside the key's, and says whose it is.
    door.keys.replace([Grant {
        rate_limit: Some(0),
        project_rate_limit: Some(1),
        ..grant(KEY, 1)
    }]);
    let mut refused = None;
    for _ in 0..1000 {
        let response = send().await;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            refused = Some(response);
            break;
        }
    }
    let refused = refused.expect("the project's limit holds");
    assert_eq!(
        header(&refused, "x-sentry-rate-limits").unwrap(),
        "1:error:project:rate_limited"
    );
    assert_eq!(header(&refused, "retry-after").unwrap(), "1");
}
