//! The pairs of samples, the real event, titles, and what is explained.

use std::sync::Arc;

use bytes::Bytes;
use jiff::SignedDuration;
use proptest::prelude::{any, proptest};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{ProcessingError, group};
use crate::domain::payload::{Dictionary, dictionary_of, unpack};
use crate::domain::{GroupedEvent, NormalEvent, RawEvent, Severity};
use crate::processing::fingerprint::fingerprints;
use crate::processing::normalize::{EventContext, native_event, sentry_event};

pub(super) fn context() -> EventContext {
    EventContext {
        project_id: Uuid::from_u128(1).into(),
        project_number: None,
        received_at: "2026-05-01T10:00:00Z".parse().unwrap(),
        sent_at: None,
        event_id: None,
        fresh_event_id: Uuid::from_u128(99).into(),
        remote_address: None,
        dictionary: None,
    }
}

/// What the issue page gets.
fn explained(event: &Value) -> Value {
    serde_json::to_value(grouped(event).grouping).unwrap()
}

fn grouped(event: &Value) -> GroupedEvent {
    grouped_either_way(&sentry_event(event.to_string().as_bytes(), &context()).unwrap())
}

fn grouped_native(event: &Value) -> GroupedEvent {
    let (_, raw) = native_event(event.to_string().as_bytes(), &context()).unwrap();
    grouped_either_way(&raw)
}

/// From the facts, as behind the spool, and from the payload, as after a stay in the quarantine: there is no difference.
fn grouped_either_way(raw: &RawEvent) -> GroupedEvent {
    let without = RawEvent {
        facts: Bytes::new(),
        ..raw.clone()
    };
    assert!(!raw.facts.is_empty());
    assert_eq!(normal_event(raw), normal_event(&without));
    let grouped = group(raw).unwrap();
    assert_eq!(Ok(&grouped), group(&without).as_ref());
    let [whole] = &fingerprints(&normal_event(raw))[..] else {
        panic!("there is one algorithm");
    };
    assert_eq!(
        (&grouped.fingerprint, &grouped.grouping),
        (&whole.fingerprint, &whole.explanation)
    );
    grouped
}

/// All that grouping looks at, read as a whole.
fn normal_event(raw: &RawEvent) -> NormalEvent {
    let payload = unpack(&raw.payload, None).unwrap();
    let json = if raw.facts.is_empty() {
        &payload
    } else {
        &raw.facts[..]
    };
    serde_json::from_slice(json).unwrap()
}

/// Groups both events of every pair and lists the pairs whose verdict is not met.
fn failures(pairs: &str, grouped: fn(&Value) -> GroupedEvent) -> (usize, Vec<String>) {
    let pairs: Vec<Value> = pairs
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let failed = pairs.iter().filter_map(|pair| {
        let (a, b) = (grouped(&pair["a"]), grouped(&pair["b"]));
        let verdict = if a.candidates == b.candidates {
            "same"
        } else {
            "different"
        };
        (pair["expect"] != verdict).then(|| {
            format!(
                "{} {}: {verdict}\n{:#?}\n{:#?}",
                pair["id"], pair["why"], a.grouping, b.grouping
            )
        })
    });
    (pairs.len(), failed.collect())
}

#[track_caller]
fn all_meet(pairs: &str, count: usize, grouped: fn(&Value) -> GroupedEvent) {
    let (total, failed) = failures(pairs, grouped);
    assert_eq!(total, count);
    assert!(
        failed.is_empty(),
        "{} of {total} failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

#[test]
fn every_given_pair_meets_its_verdict() {
    all_meet(
        include_str!("../../../tests/samples/grouping-pairs.jsonl"),
        12,
        grouped,
    );
}

#[test]
fn every_own_pair_meets_its_verdict() {
    all_meet(
        include_str!("../../../tests/samples/grouping-pairs-own.jsonl"),
        45,
        grouped,
    );
}

#[test]
fn every_native_pair_meets_its_verdict() {
    all_meet(
        include_str!("../../../tests/samples/grouping-pairs-native.jsonl"),
        5,
        grouped_native,
    );
}

#[test]
fn the_real_flask_event_groups() {
    let bytes = include_bytes!("../../../tests/samples/python-flask-20-frames.json");
    let raw = sentry_event(bytes, &context()).unwrap();
    let event = group(&raw).unwrap();
    assert!(
        event
            .title
            .starts_with("PaymentDeclined: Card declined for order "),
        "{}",
        event.title
    );
    assert_eq!(
        (event.culprit.as_str(), event.platform.as_str()),
        ("checkout", "python")
    );
    assert_eq!(event.user.as_deref(), Some("id:4821"));
    assert_eq!(event.fingerprint.version, 1);
    assert_eq!(event.fingerprint.hash.len(), 32);
    assert_eq!(
        event.candidates,
        [event.fingerprint.issue_id(event.project_id)]
    );
    assert_eq!(event.grouping.method, "stack");
    assert!(event.payload.len() < bytes.len() / 2);
}

#[test]
fn what_the_sdks_really_send_is_named_and_grouped() {
    let read = |json: &str| grouped(&serde_json::from_str(json).unwrap());
    let counted = |event: &GroupedEvent| -> Vec<String> {
        let parts = event.grouping.contributions.to_vec().into_iter();
        parts
            .filter(|part| part.contributes)
            .map(|part| part.value)
            .collect()
    };
    let python = read(include_str!("../../../tests/samples/python-chained.json"));
    assert_eq!(
        (python.title.as_str(), python.culprit.as_str()),
        ("RuntimeError: order 17 failed", "__main__ in outer")
    );
    assert_eq!(
        counted(&python),
        [
            "KeyError",
            "a.py outer",
            "a.py inner",
            "RuntimeError",
            "a.py <module>",
            "a.py outer"
        ]
    );
    let message = read(include_str!(
        "../../../tests/samples/node-capture-message.json"
    ));
    assert_eq!(
        (message.title.as_str(), message.culprit.as_str()),
        ("hello from node", "a in report")
    );
    assert_eq!(
        (message.level, counted(&message)),
        (
            Severity::Info,
            vec!["hello from node".to_owned(), "a report".to_owned()]
        )
    );
    let string = read(include_str!(
        "../../../tests/samples/node-capture-string.json"
    ));
    assert_eq!(
        (string.title.as_str(), string.culprit.as_str()),
        ("Error: a string", "a")
    );
    assert_eq!(
        counted(&string),
        ["a string", "a S.captureException('a string');"]
    );
}

/// Version 1 is frozen: whoever changes it splits every issue there is.
#[test]
fn hashes_of_version_one_never_change() {
    let frames = json!([{ "function": "main", "filename": "/srv/x/app.py", "in_app": true }]);
    let hashes = [
        json!({ "message": "User 17 not found" }),
        json!({ "exception": { "type": "E", "value": "x 5" } }),
        json!({ "exception": { "type": "E", "value": "x", "stacktrace": { "frames": frames } } }),
        json!({ "message": "x", "fingerprint": ["a", "{{ default }}"] }),
        json!({}),
    ]
    .map(|event| grouped(&event).fingerprint.hash);
    assert_eq!(
        hashes,
        [
            "10739ac9b56fae69f996d8c0844c421b",
            "697ae8a43c09a05ee0d8ae0bc7475230",
            "84b086e87f6450f71e0289f1ec6a54d4",
            "ed808bee947135e36ce39159292d1dc5",
            "bec88c56df54c5467be23ae419c96f87"
        ]
    );
}

#[test]
fn titles_name_the_problem() {
    let frames = json!([{ "function": "report", "in_app": true }]);
    for (event, title) in [
        (
            json!({ "exception": { "type": "E", "value": "first\nsecond" } }),
            "E: first",
        ),
        (json!({ "exception": { "type": "E" } }), "E"),
        (
            json!({ "exception": [{ "value": "job is late", "stacktrace": { "frames": frames } }], "message": "other" }),
            "job is late",
        ),
        (
            json!({ "exception": [{ "stacktrace": { "frames": frames } }] }),
            "report",
        ),
        (
            json!({ "exception": [{ "type": "Cause", "value": "x" }, { "type": "Shown", "value": "y" }] }),
            "Shown: y",
        ),
        (json!({ "message": "\n hello \nworld" }), "hello"),
        (
            json!({ "logentry": { "message": "User %s", "params": ["x"] } }),
            "User x",
        ),
        (json!({}), "<unlabeled event>"),
    ] {
        assert_eq!(grouped(&event).title, title, "{event}");
    }
    assert_eq!(
        grouped(&json!({ "message": "é".repeat(500) }))
            .title
            .chars()
            .count(),
        200
    );
}

#[test]
fn culprits_say_where() {
    let frames = json!([{ "function": "total", "module": "shop.cart" }, { "function": "read", "module": "socket", "in_app": false }]);
    let with_stack = json!({ "exception": { "type": "E", "stacktrace": { "frames": frames } } });
    assert_eq!(grouped(&with_stack).culprit, "shop.cart in total");
    assert_eq!(
        grouped(&json!({ "message": "x", "transaction": "/checkout" })).culprit,
        "/checkout"
    );
    assert_eq!(grouped(&json!({ "message": "x" })).culprit, "");
}

#[test]
fn columns_are_filled() {
    let event = grouped(&json!({
        "level": "warn", "release": "1.2", "environment": "staging", "tags": { "a": "b" }, "user": { "email": "a@b.c" },
        "sdk": { "name": "sentry.python", "version": "2.75.0" }, "logger": "root", "server_name": "web-1", "dist": "7",
        "exception": { "type": "E", "value": "v" },
    }));
    assert_eq!(event.level, Severity::Warning);
    assert_eq!(
        (
            event.release.as_deref(),
            event.environment.as_str(),
            event.dist.as_deref()
        ),
        (Some("1.2"), "staging", Some("7"))
    );
    assert_eq!(event.tags, [("a".to_owned(), "b".to_owned())]);
    assert_eq!(
        (event.user.as_deref(), event.message.as_str()),
        (Some("email:a@b.c"), "v")
    );
    assert_eq!(
        (
            event.exception_type.as_deref(),
            event.exception_value.as_deref()
        ),
        (Some("E"), Some("v"))
    );
    assert_eq!(event.sdk_name.as_deref(), Some("sentry.python"));
}

#[test]
fn the_explanation_tells_what_counted_and_why_the_rest_did_not() {
    let frames = json!([
        { "function": "dispatch", "module": "flask.app", "in_app": false },
        { "function": "walk", "module": "shop", "in_app": true },
        { "function": "walk", "module": "shop", "in_app": true },
        { "function": "<listcomp>", "module": "shop", "in_app": true },
    ]);
    let event =
        json!({ "exception": { "type": "E", "value": "v 5", "stacktrace": { "frames": frames } } });
    let grouping = explained(&event);
    let told: Vec<(bool, &str)> = grouping["contributions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| {
            (
                part["contributes"].as_bool().unwrap(),
                part["reason"].as_str().unwrap_or(""),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (true, ""),
            (false, "the stack says more"),
            (false, "not the program's own code"),
            (true, ""),
            (false, "recursion counts once"),
            (false, "made by a compiler"),
        ]
    );
    let mut by_client = event;
    by_client["fingerprint"] = json!(["mine"]);
    let grouping = explained(&by_client);
    assert_eq!(
        (&grouping["method"], &grouping["fingerprint"]),
        (&json!("client"), &json!(["mine"]))
    );
    assert!(
        grouping["contributions"]
            .as_array()
            .unwrap()
            .iter()
            .all(|part| part["contributes"] == false)
    );
}

#[test]
fn projects_do_not_share_issues() {
    let raw = sentry_event(b"{\"message\":\"x\"}", &context()).unwrap();
    let other = RawEvent {
        project_id: Uuid::from_u128(2).into(),
        ..raw.clone()
    };
    assert_ne!(
        group(&raw).unwrap().candidates,
        group(&other).unwrap().candidates
    );
}

/// An event of many large, alike frames is small on its way, and small in the spool.
#[test]
fn too_many_facts_are_left_to_the_payload() {
    let frame =
        json!({ "function": "f\u{1}".repeat(90), "filename": "/a\u{1}".repeat(300), "lineno": 7 });
    let event = json!({ "exception": [{ "type": "E", "value": "v", "stacktrace": { "frames": vec![frame; 250] } }] });
    let raw = sentry_event(event.to_string().as_bytes(), &context()).unwrap();
    assert!(raw.facts.is_empty());
    let len = raw.to_bytes().len();
    assert!(len < 16 * 1024, "its record has {len} bytes");
    let few = |frames: usize| {
        let mut event = event.clone();
        let list = event["exception"][0]["stacktrace"]["frames"].as_array_mut();
        list.unwrap().truncate(frames);
        event
    };
    // One that keeps its facts is grouped with one that does not: their frames are one recursion.
    let (kept, left) = (grouped(&few(3)), group(&raw).unwrap());
    assert_eq!(kept.title, left.title);
    assert_eq!(kept.candidates, left.candidates);
    // Whoever groups has no dictionary: without facts there is none to ask for, and beyond its life it packs nothing.
    let made_at = context().received_at;
    let at = |received_at| EventContext {
        received_at,
        dictionary: Some(Arc::new(Dictionary::new(&b"{\"lineno\":7}"[..], made_at))),
        ..context()
    };
    let packed = |event: &Value, received_at| {
        let raw = sentry_event(event.to_string().as_bytes(), &at(received_at)).unwrap();
        assert_eq!(group(&raw).unwrap().title, kept.title);
        dictionary_of(&raw.payload).is_some()
    };
    let (until, moment) = (made_at + Dictionary::LIFE, SignedDuration::from_micros(1));
    assert!(packed(&few(3), made_at) && packed(&few(3), until));
    assert!(!packed(&few(3), until + moment), "its life is over");
    assert!(!packed(&event, made_at), "there are no facts");
}

#[test]
fn payloads_that_are_none_are_errors() {
    let raw = sentry_event(b"{}", &context()).unwrap();
    let noise = RawEvent {
        facts: Bytes::new(),
        payload: vec![1, 2, 3].into(),
        ..raw.clone()
    };
    assert!(matches!(
        group(&noise),
        Err(ProcessingError::Compression(_))
    ));
    let empty = RawEvent {
        facts: Bytes::new(),
        payload: zstd::encode_all(&b"{}"[..], 1).unwrap().into(),
        ..raw
    };
    assert!(matches!(group(&empty), Err(ProcessingError::Json(_))));
}

proptest! {
    #[test]
    fn any_payload_is_grouped_without_panic(payload in any::<Vec<u8>>(), function in ".{0,20}", value in ".{0,20}") {
        let raw = RawEvent { facts: Bytes::new(), payload: payload.into(), ..sentry_event(b"{}", &context()).unwrap() };
        let _ = group(&raw);
        let event = json!({ "exception": [{ "type": value, "value": function, "stacktrace": [{ "function": function, "filename": value }] }], "fingerprint": [function] });
        let _ = grouped(&event);
    }
}

/// What was read from the spool is large, and a slice of it keeps all of it in memory.
#[test]
fn a_grouped_event_keeps_nothing_of_what_was_read_from_the_spool() {
    let event = json!({ "exception": { "values": [{ "type": "E", "value": "x" }] } });
    let raw = sentry_event(event.to_string().as_bytes(), &context()).unwrap();
    let read = raw.to_bytes();
    let grouped = group(&RawEvent::from_bytes(&read).unwrap()).unwrap();
    assert_eq!(grouped.payload, raw.payload);
    assert!(read.is_unique(), "the payload is a slice of what was read");
}
