//! The doors for events: the table of probes that Sentry's SDKs and clients without manners were seen to need.
//!
//! Source: the probes of peers in the design's page on Sentry's protocol.

use std::io::Write;

use dogfood_tests::Fault;
use dogfood_tests::api_probe::{Probe, Who};
use dogfood_tests::server::Mesher;
use dogfood_tests::wait::{self, PATIENCE};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{Ground, data};

/// What an event says is its owner's business; no log may hold it.
pub(crate) const PRIVATE_TEXT: &str = "the-text-of-a-private-event";
const WRONG_KEY: &str = "0123456789abcdef0123456789abcdef";

/// An envelope of one event; `length` writes the item's length.
fn envelope(header: &Value, length: bool, event: &Value) -> Vec<u8> {
    let event = event.to_string();
    let item = if length {
        json!({"type": "event", "length": event.len()})
    } else {
        json!({"type": "event"})
    };
    format!("{header}\n{item}\n{event}\n").into_bytes()
}

fn sentry_event() -> Value {
    json!({"message": PRIVATE_TEXT, "level": "error", "platform": "other"})
}

fn fresh() -> String {
    Uuid::new_v4().simple().to_string()
}

pub(crate) fn run(mesher: &Mesher, probe: &mut Probe<'_>, ground: &Ground) -> Result<(), Fault> {
    keys(probe, ground)?;
    encodings(mesher, probe, ground)?;
    bad_bytes(probe, ground)?;
    shapes(probe, ground)?;
    sizes(probe, ground)?;
    native(probe, ground)?;
    users_words(probe, ground)?;
    let preflight = probe.expect(
        204,
        &Who::Nobody,
        "OPTIONS",
        &format!("/api/{}/envelope/", ground.dsn.project),
        b"",
    )?;
    probe.check(preflight.header("access-control-max-age").is_some(), || {
        "the preflight is asked for again and again".to_owned()
    });
    Ok(())
}

/// What a user wrote about an event stands beside its issue, whichever of the two is stored first.
fn users_words(probe: &mut Probe<'_>, ground: &Ground) -> Result<(), Fault> {
    let id = fresh();
    let mut body = envelope(&json!({"event_id": id}), true, &sentry_event());
    let words = json!({"event_id": id, "name": "Grace", "email": "g@errors.example", "comments": "it broke"});
    body.extend_from_slice(format!("{}\n{words}\n", json!({"type": "user_report"})).as_bytes());
    let path = with_key(ground, "envelope");
    probe.expect(200, &Who::Nobody, "POST", &path, &body)?;
    let token = ground.token();
    let listed = |path: &str| -> Result<Vec<Value>, String> {
        let answer = probe.ask(&token, "GET", path, b"");
        Ok(data(&answer.map_err(|fault| fault.to_string())?))
    };
    let issue = wait::until("the report to have an issue", PATIENCE, || {
        let reports = listed("/api/v1/projects/default/user-reports")?;
        let ours = reports
            .iter()
            .find(|report| report["message"] == "it broke");
        match ours.and_then(|report| report["issue_id"].as_str()) {
            Some(issue) => Ok(issue.to_owned()),
            None => Err(format!("{reports:?}")),
        }
    })?;
    let reports = listed(&format!("/api/v1/issues/{issue}/user-reports"))?;
    let is_shown = reports.len() == 1 && reports[0]["name"] == "Grace";
    probe.check(is_shown, || format!("the issue's reports: {reports:?}"));
    Ok(())
}

/// A Sentry endpoint with the key in the query.
fn with_key(ground: &Ground, endpoint: &str) -> String {
    format!(
        "/api/{}/{endpoint}/?sentry_key={}&sentry_version=7",
        ground.dsn.project, ground.dsn.key
    )
}

fn keys(probe: &mut Probe<'_>, ground: &Ground) -> Result<(), Fault> {
    let (key, project) = (&ground.dsn.key, &ground.dsn.project);
    let body = || envelope(&json!({"event_id": fresh()}), true, &sentry_event());
    let slash = format!("/api/{project}/envelope/");
    let bare = format!("/api/{project}/envelope");
    let auth = format!("Sentry sentry_version=7, sentry_key={key}, sentry_client=suite/1");
    let wrong = format!("Sentry sentry_key={WRONG_KEY}");
    for (status, path, header) in [
        (200, slash.clone(), Some(("x-sentry-auth", auth.as_str()))),
        (200, bare.clone(), Some(("x-sentry-auth", &auth))),
        (200, slash.clone(), Some(("authorization", &auth))),
        (200, format!("{slash}?sentry_key={key}"), None),
        (
            200,
            format!("{bare}?sentry_key={key}&sentry_version=7"),
            None,
        ),
        (401, slash.clone(), None),
        (
            401,
            slash.clone(),
            Some(("x-sentry-auth", "Sentry sentry_version=7")),
        ),
        (401, format!("{slash}?sentry_key=short"), None),
        (403, slash.clone(), Some(("x-sentry-auth", &wrong))),
        (403, format!("/api/4242/envelope/?sentry_key={key}"), None),
        (404, format!("/api/none/envelope/?sentry_key={key}"), None),
    ] {
        let headers: Vec<(&str, &str)> = header.into_iter().collect();
        let answer = probe.ask_with(&Who::Nobody, "POST", &path, &headers, &body())?;
        probe.judge(status, &format!("POST {path} with {headers:?}"), &answer);
    }
    for (status, dsn) in [
        (200, ground.dsn.text.clone()),
        (403, ground.dsn.text.replace(key, WRONG_KEY)),
    ] {
        let body = envelope(
            &json!({"event_id": fresh(), "dsn": dsn}),
            true,
            &sentry_event(),
        );
        probe.expect(status, &Who::Nobody, "POST", &slash, &body)?;
    }
    Ok(())
}

fn encodings(mesher: &Mesher, probe: &mut Probe<'_>, ground: &Ground) -> Result<(), Fault> {
    let path = with_key(ground, "envelope");
    let level = flate2::Compression::default();
    let mut ids = Vec::new();
    for encoding in ["gzip", "deflate", "br", "zstd", "identity"] {
        let id = fresh();
        let plain = envelope(&json!({"event_id": id}), true, &sentry_event());
        let encoded = match encoding {
            "gzip" => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(&plain)?;
                encoder.finish()?
            }
            "deflate" => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(&plain)?;
                encoder.finish()?
            }
            "br" => {
                let mut encoded = Vec::new();
                brotli::BrotliCompress(
                    &mut plain.as_slice(),
                    &mut encoded,
                    &brotli::enc::BrotliEncoderParams::default(),
                )?;
                encoded
            }
            "zstd" => zstd::encode_all(plain.as_slice(), 3)?,
            _ => plain,
        };
        let headers = [("content-encoding", encoding)];
        let answer = probe.ask_with(&Who::Nobody, "POST", &path, &headers, &encoded)?;
        probe.judge(200, encoding, &answer);
        probe.check(answer.json()?["id"] == *id, || {
            format!("{encoding}: the answer names another event")
        });
        let cut = probe.ask_with(
            &Who::Nobody,
            "POST",
            &path,
            &headers,
            &encoded[..encoded.len() / 2],
        )?;
        probe.judge(400, &format!("half of {encoding}"), &cut);
        ids.push(Uuid::parse_str(&id)?.to_string());
    }
    let unknown = probe.ask_with(
        &Who::Nobody,
        "POST",
        &path,
        &[("content-encoding", "rot13")],
        b"{}\n",
    )?;
    probe.judge(400, "an unknown encoding", &unknown);
    let stored = wait::until("events of every encoding", PATIENCE, || {
        let rows = mesher
            .query("SELECT id FROM events")
            .map_err(|fault| fault.to_string())?;
        let missing: Vec<&String> = ids
            .iter()
            .filter(|id| !rows.iter().any(|row| row[0] == **id))
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(format!("{missing:?}"))
        }
    });
    Ok(stored?)
}

fn bad_bytes(probe: &mut Probe<'_>, ground: &Ground) -> Result<(), Fault> {
    let path = with_key(ground, "envelope");
    for body in [
        &b""[..],
        b"not json\n",
        b"{\n",
        b"[]\n",
        b"\xff\xfe\n",
        b"{}\n{\"type\":\"event\"}\n{broken\n",
        b"{}\n{\"type\":\"event\"}\n[]\n",
        b"{}\n{\"type\":\"event\"}\nnull\n",
        b"{}\n{\"type\":\"event\",\"length\":9999}\n{}\n",
        b"{}\n{broken\n{}\n",
        b"{}\n{\"type\":\"event\"}\n{}\n{\"type\":\"event\"}\n{}\n",
    ] {
        let answer = probe.ask(&Who::Nobody, "POST", &path, body)?;
        probe.judge(
            400,
            &format!("the envelope {:?}", String::from_utf8_lossy(body)),
            &answer,
        );
    }
    for body in [&b""[..], b"{", b"[]", b"null", b"\xff"] {
        let answer = probe.ask(&Who::Nobody, "POST", &with_key(ground, "store"), body)?;
        probe.judge(
            400,
            &format!("the stored event {:?}", String::from_utf8_lossy(body)),
            &answer,
        );
        let answer = probe.ask(&ground.key(), "POST", "/api/v1/events", body)?;
        probe.judge(
            400,
            &format!("the native event {:?}", String::from_utf8_lossy(body)),
            &answer,
        );
    }
    Ok(())
}

fn shapes(probe: &mut Probe<'_>, ground: &Ground) -> Result<(), Fault> {
    let path = with_key(ground, "envelope");
    let header = || json!({"event_id": fresh()});
    probe.expect(
        200,
        &Who::Nobody,
        "POST",
        &path,
        &envelope(&header(), false, &sentry_event()),
    )?;
    let generated = probe.expect(
        200,
        &Who::Nobody,
        "POST",
        &path,
        &envelope(&json!({}), true, &sentry_event()),
    )?;
    let id = generated.json()?["id"].as_str().map(str::len);
    probe.check(id == Some(32), || {
        "an event without an id gets none".to_owned()
    });
    // Who has no id gets one; whose id is none is treated so, rather than losing the event.
    let strange = envelope(&json!({"event_id": "not-an-id"}), true, &sentry_event());
    probe.expect(200, &Who::Nobody, "POST", &path, &strange)?;
    for items in [
        "{\"type\":\"session\"}\n{}\n",
        "{\"type\":\"client_report\"}\n{}\n",
        "{\"type\":\"transaction\"}\n{}\n",
        "{\"type\":\"of_tomorrow\"}\n{}\n{\"type\":\"event\"}\n{\"message\":\"beside\"}\n",
        "",
    ] {
        let body = format!("{{}}\n{items}");
        probe.expect(200, &Who::Nobody, "POST", &path, body.as_bytes())?;
    }
    for event in [
        json!({"tags": [["a", "b"]], "exception": [{"type": "E", "value": "v"}], "timestamp": "2026-01-01T00:00:00Z"}),
        json!({"tags": {"a": "b"}, "exception": {"values": [{"type": "E"}]}, "timestamp": 1_767_225_600.5}),
        json!({"message": "nul\0 and \u{d7ff}", "level": "nonsense", "timestamp": "yesterday"}),
        json!({"event_id": 42, "message": 42, "tags": 42, "exception": 42, "breadcrumbs": 42, "user": 42, "request": []}),
        json!({}),
    ] {
        for endpoint in ["envelope", "store"] {
            let body = if endpoint == "store" {
                event.to_string().into_bytes()
            } else {
                envelope(&header(), true, &event)
            };
            let answer = probe.ask(&Who::Nobody, "POST", &with_key(ground, endpoint), &body)?;
            probe.judge(200, &format!("{endpoint} {event}"), &answer);
        }
    }
    Ok(())
}

fn sizes(probe: &mut Probe<'_>, ground: &Ground) -> Result<(), Fault> {
    let large = json!({"message": "x", "extra": {"much": "y".repeat(2 << 20)}});
    let body = large.to_string();
    probe.expect(
        413,
        &Who::Nobody,
        "POST",
        &with_key(ground, "store"),
        body.as_bytes(),
    )?;
    probe.expect(
        413,
        &Who::Nobody,
        "POST",
        &with_key(ground, "envelope"),
        &envelope(&json!({}), true, &large),
    )?;
    probe.expect(
        413,
        &ground.key(),
        "POST",
        "/api/v1/events",
        body.as_bytes(),
    )?;
    // Much in little: 200 MB of zeros.
    let bomb = zstd::encode_all(std::io::Read::take(std::io::repeat(b' '), 200_000_000), 1)?;
    let headers = [("content-encoding", "zstd")];
    let answer = probe.ask_with(
        &Who::Nobody,
        "POST",
        &with_key(ground, "envelope"),
        &headers,
        &bomb,
    )?;
    probe.judge(413, "a bomb", &answer);
    Ok(())
}

fn native(probe: &mut Probe<'_>, ground: &Ground) -> Result<(), Fault> {
    let body = br#"{"message":"native"}"#;
    let answer = probe.expect(202, &ground.key(), "POST", "/api/v1/events", body)?;
    probe.check(
        answer.json()?["id"]
            .as_str()
            .is_some_and(|id| Uuid::parse_str(id).is_ok()),
        || "no id".to_owned(),
    );
    probe.expect(401, &Who::Nobody, "POST", "/api/v1/events", body)?;
    probe.expect(
        401,
        &Who::Bearer("short".to_owned()),
        "POST",
        "/api/v1/events",
        body,
    )?;
    probe.expect(
        403,
        &Who::Bearer(WRONG_KEY.to_owned()),
        "POST",
        "/api/v1/events",
        body,
    )?;
    Ok(())
}
