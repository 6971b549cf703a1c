//! The endpoints, probe by probe as the table of the protocol's document has them.

use std::io::Write as _;

use mesher::domain::Outcome;
use mesher::ingestion::admission::DoorLimits;
use mesher::ingestion::rate_limit::Rate;
use serde_json::json;
use warp::http::StatusCode;

use super::probe::{EVENT, ID, Probe, body, envelope, event_envelope, header};
use super::support::{KEY, OTHER_KEY, door, door_with, json_of};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    brotli::CompressorWriter::new(&mut out, 4096, 4, 20)
        .write_all(bytes)
        .unwrap();
    out
}

#[tokio::test]
async fn an_envelope_is_durable_when_it_is_answered_and_the_header_names_the_event() {
    let door = door().await;
    let response = Probe::envelope(event_envelope()).send(&door).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(body(&response), json!({ "id": ID }));
    let events = door.spooled().await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].event_id.to_simple(), ID);
    assert!(json_of(&events[0]).to_string().contains("boom"));
}

#[tokio::test]
async fn every_way_to_show_the_key_is_taken() {
    let door = door().await;
    let envelope = || Probe::envelope(event_envelope());
    let basic = format!("Basic {}", "YTk0YWUzMmJlMjU4NGUwYmJkN2E0Y2JiOTU5NzFmZWU6");
    for probe in [
        envelope(),
        envelope().auth("authorization", &format!("Sentry sentry_key={KEY}")),
        envelope().auth("authorization", &format!("Bearer {KEY}")),
        envelope().auth("authorization", &basic),
        envelope().no_auth().path(&format!(
            "/api/1/envelope/?sentry_key={KEY}&sentry_version=7"
        )),
        envelope().path("/api/1/envelope"),
    ] {
        let (path, headers) = (probe.path.clone(), probe.headers.clone());
        assert_eq!(probe.status(&door).await, 200, "{path} {headers:?}");
    }
    let dsn = json!({ "event_id": ID, "dsn": format!("http://{KEY}@localhost:8080/1") });
    let in_header = self::envelope(&dsn.to_string(), &[(r#"{"type":"event"}"#, EVENT)]);
    let probe = Probe::envelope(in_header).no_auth();
    assert_eq!(probe.status(&door).await, 200);
    assert_eq!(door.spooled().await.len(), 7);
}

#[tokio::test]
async fn a_missing_or_wrong_key_is_refused_and_counted() {
    let door = door().await;
    let envelope = || Probe::envelope(event_envelope());
    let unknown = "c94ae32be2584e0bbd7a4cbb95971fee";
    assert_eq!(envelope().no_auth().status(&door).await, 401);
    let malformed = envelope().auth("x-sentry-auth", "Sentry sentry_key=short");
    assert_eq!(malformed.status(&door).await, 401);
    for key in [unknown, OTHER_KEY] {
        let wrong = envelope().auth("x-sentry-auth", &format!("Sentry sentry_key={key}"));
        let response = wrong.send(&door).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert_eq!(body(&response)["error"]["code"], "forbidden");
        assert_eq!(header(&response, "access-control-allow-origin"), Some("*"));
    }
    let native = || Probe::native(&json!({ "message": "boom" }));
    assert_eq!(native().no_auth().status(&door).await, 401);
    let wrong = native().auth("authorization", &format!("Bearer {unknown}"));
    assert_eq!(wrong.status(&door).await, 403);
    assert_eq!(door.spooled().await.len(), 0);
    assert_eq!(door.counts.strangers(), 6);
    door.keys.replace([]);
    assert_eq!(envelope().status(&door).await, 403, "a revoked key");
}

#[tokio::test]
async fn every_coding_is_taken_and_a_broken_one_is_not() {
    let door = door().await;
    let plain = event_envelope();
    let zstd = zstd::encode_all(&plain[..], 1).unwrap();
    for (coding, bytes) in [
        ("gzip", gzip(&plain)),
        ("GZIP", gzip(&plain)),
        ("deflate", zlib(&plain)),
        ("br", brotli(&plain)),
        ("zstd", zstd),
        ("identity", plain.clone()),
    ] {
        let probe = Probe::envelope(bytes).header("content-encoding", coding);
        assert_eq!(probe.status(&door).await, 200, "{coding}");
    }
    for coding in ["gzip", "br", "zstd", "lzma"] {
        let probe = Probe::envelope(plain.clone()).header("content-encoding", coding);
        assert_eq!(probe.status(&door).await, 400, "{coding}");
    }
    assert_eq!(door.spooled().await.len(), 6);
}

#[tokio::test]
async fn envelopes_without_an_event_are_answered_and_stored_nowhere() {
    let door = door().await;
    for items in [
        vec![(r#"{"type":"session"}"#, r#"{"sid":"x","init":true}"#)],
        vec![(r#"{"type":"client_report"}"#, r#"{"discarded_events":[]}"#)],
        vec![(r#"{"type":"somewhat_new"}"#, "anything")],
        vec![],
    ] {
        let response = Probe::envelope(envelope("{}", &items)).send(&door).await;
        assert_eq!(response.status(), StatusCode::OK, "{items:?}");
        assert_eq!(body(&response), json!({}));
        assert_eq!(header(&response, "x-sentry-rate-limits"), None);
    }
    let transaction = envelope("{}", &[(r#"{"type":"transaction"}"#, "{}")]);
    let response = Probe::envelope(transaction).send(&door).await;
    let limits = header(&response, "x-sentry-rate-limits").unwrap();
    assert!(limits.contains("transaction") && !limits.contains("error"));
    assert_eq!(door.spooled().await.len(), 0);
}

#[tokio::test]
async fn an_unknown_item_beside_an_event_and_a_missing_id_do_no_harm() {
    let door = door().await;
    let beside = envelope(
        "{}",
        &[
            (r#"{"type":"somewhat_new","length":3}"#, "abc"),
            (r#"{"type":"event"}"#, EVENT),
        ],
    );
    let response = Probe::envelope(beside).send(&door).await;
    assert_eq!(response.status(), StatusCode::OK);
    let id = body(&response)["id"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 32);
    assert_eq!(door.spooled_ids().await[0].to_simple(), id);
}

#[tokio::test]
async fn malformed_bodies_are_refused() {
    let door = door().await;
    let not_json = envelope("{}", &[(r#"{"type":"event"}"#, "{nope")]);
    let too_long = envelope("{}", &[(r#"{"type":"event","length":999}"#, EVENT)]);
    let two = envelope("{}", &[(r#"{"type":"event"}"#, EVENT); 2]);
    for (what, bytes) in [
        ("empty", Vec::new()),
        ("no envelope", b"hello\n".to_vec()),
        ("invalid JSON", not_json),
        ("length", too_long),
        ("two events", two),
    ] {
        let response = Probe::envelope(bytes).send(&door).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{what}");
        let body = body(&response);
        assert_eq!(body["error"]["code"], "invalid", "{what}");
        assert!(body["detail"].is_string() && body["error"]["details"].is_null());
        assert!(header(&response, "x-sentry-error").is_some());
    }
    let invalid = Probe::native(&json!({})).header("content-type", "application/json");
    let invalid = Probe {
        body: b"{".to_vec(),
        ..invalid
    };
    assert_eq!(invalid.status(&door).await, 400);
    let invalid: u64 = door
        .counts
        .take()
        .get()
        .iter()
        .map(|count| {
            assert_eq!(count.outcome, Outcome::Invalid);
            count.quantity
        })
        .sum();
    assert_eq!(invalid, 6);
}

#[tokio::test]
async fn what_is_too_large_is_refused_whatever_hides_it() {
    let door = door().await;
    let message = "x".repeat(2 << 20);
    let event = json!({ "message": message }).to_string();
    let big = envelope("{}", &[(r#"{"type":"event"}"#, &event)]);
    let bomb = gzip(&vec![b' '; 40 << 20]);
    for probe in [
        Probe::envelope(big.clone()),
        Probe::envelope(gzip(&big)).header("content-encoding", "gzip"),
        Probe::envelope(bomb).header("content-encoding", "gzip"),
        Probe::envelope(vec![b'x'; 21_000_000]),
        Probe::native(&json!({ "message": message })),
    ] {
        let response = probe.send(&door).await;
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(body(&response)["error"]["code"], "too_large");
    }
    assert_eq!(door.spooled().await.len(), 0);
}

#[tokio::test]
async fn browsers_may_ask_first_and_other_methods_are_told_so() {
    let door = door().await;
    for path in ["/api/1/envelope/", "/api/1/store/", "/api/v1/events"] {
        let probe = || Probe::envelope(Vec::new()).no_auth().path(path);
        let response = probe().method("OPTIONS").send(&door).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!(header(&response, "access-control-max-age"), Some("3600"));
        let allowed = header(&response, "access-control-allow-headers").unwrap();
        assert!(allowed.contains("x-sentry-auth"));
        for method in ["GET", "PUT", "DELETE"] {
            let response = probe().method(method).send(&door).await;
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(header(&response, "allow"), Some("POST, OPTIONS"));
            assert_eq!(body(&response)["error"]["code"], "method_not_allowed");
        }
    }
    let elsewhere = Probe::envelope(Vec::new()).path("/api/v1/issues");
    assert_eq!(elsewhere.status(&door).await, 404);
}

#[tokio::test]
async fn the_store_endpoint_takes_json_base64_and_envelopes() {
    use base64::Engine as _;
    let door = door().await;
    let encoded = base64::engine::general_purpose::STANDARD.encode(zlib(EVENT.as_bytes()));
    for bytes in [EVENT.as_bytes().to_vec(), encoded.into_bytes()] {
        let response = Probe::envelope(bytes)
            .path("/api/1/store/")
            .send(&door)
            .await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(body(&response)["id"].as_str().unwrap().len(), 32);
    }
    let as_envelope = Probe::envelope(event_envelope())
        .path("/api/1/store/")
        .header("content-type", "application/x-sentry-envelope");
    assert_eq!(as_envelope.status(&door).await, 200);
    let no_auth = Probe::envelope(EVENT.into())
        .no_auth()
        .path("/api/1/store/");
    assert_eq!(no_auth.status(&door).await, 401);
    assert_eq!(door.spooled().await.len(), 3);
}

#[tokio::test]
async fn the_native_endpoint_answers_with_the_id() {
    let door = door().await;
    let event = json!({ "event_id": ID, "message": "say \"hi\"\n", "level": "warning" });
    let response = Probe::native(&event).send(&door).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let events = door.spooled().await;
    assert_eq!(body(&response)["id"], json!(events[0].event_id.to_string()));
    assert_eq!(events[0].event_id.to_simple(), ID);
    assert_eq!(json_of(&events[0])["level"], "warning");
}

#[tokio::test]
async fn a_key_that_sends_too_fast_is_told_when_to_come_back_and_recovers() {
    let rate = Rate {
        events_per_second: 0.001,
        burst_events: 2.0,
    };
    let door = door_with(
        DoorLimits {
            rate: Some(rate),
            ..DoorLimits::default()
        },
        |_| {},
    )
    .await;
    for _ in 0..2 {
        assert_eq!(Probe::envelope(event_envelope()).status(&door).await, 200);
    }
    let response = Probe::envelope(event_envelope()).send(&door).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait_s: u64 = header(&response, "retry-after").unwrap().parse().unwrap();
    assert!((1..=1000).contains(&wait_s));
    let limits = header(&response, "x-sentry-rate-limits").unwrap();
    assert_eq!(limits, format!("{wait_s}:error:key:rate_limited"));
    let exposed = header(&response, "access-control-expose-headers").unwrap();
    assert!(exposed.contains("x-sentry-rate-limits"));
    let other = Probe::envelope(event_envelope())
        .path("/api/2/envelope/")
        .auth("x-sentry-auth", &format!("Sentry sentry_key={OTHER_KEY}"));
    assert_eq!(
        other.status(&door).await,
        200,
        "another key is not concerned"
    );
}

#[tokio::test]
async fn pressure_and_a_full_spool_are_refused_late_and_politely() {
    let door = door_with(DoorLimits::default(), |spool| {
        spool.segment_bytes = 64 << 10;
        spool.record_bytes_max = 32 << 10;
        spool.segments_max = 2;
    })
    .await;
    door.pressure.set(100);
    assert_eq!(Probe::envelope(event_envelope()).status(&door).await, 429);
    door.pressure.set(99);
    let noise: String = (0..4000)
        .map(|n: u64| format!("{:x}", n * n * 2_654_435_761))
        .collect();
    let event = json!({ "message": "boom", "extra": { "noise": noise } }).to_string();
    let big = envelope("{}", &[(r#"{"type":"event"}"#, &event)]);
    let mut accepted = 0;
    let refused = loop {
        let response = Probe::envelope(big.clone()).send(&door).await;
        if response.status() != StatusCode::OK {
            break response;
        }
        accepted += 1;
    };
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(header(&refused, "retry-after").is_some());
    let limits = header(&refused, "x-sentry-rate-limits").unwrap();
    assert!(
        limits.ends_with(":error:organization:overloaded"),
        "{limits}"
    );
    assert_eq!(
        door.spooled().await.len(),
        accepted,
        "what was accepted is there"
    );
    door.spool.released(accepted as u64).await.unwrap();
    assert_eq!(Probe::envelope(big).status(&door).await, 200);
}

#[tokio::test]
async fn a_spool_that_is_killed_loses_nothing_and_no_request_fails() {
    let door = door().await;
    for round in 0..3 {
        let pid = door
            .system
            .whereis_pid(mesher::ingestion::spool::SPOOL)
            .unwrap();
        assert!(door.system.kill(pid));
        let event = json!({ "message": format!("round {round}") });
        let response = Probe::native(&event).send(&door).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
    }
    assert_eq!(door.spooled().await.len(), 3);
}
