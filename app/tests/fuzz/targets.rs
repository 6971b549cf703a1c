//! The parsers, each with how its inputs are made and how much it may allocate for one.

use std::io::Write as _;

use bytes::Bytes;
use jiff::Timestamp;
use mesher::domain::payload::{self, Dictionary};
use mesher::processing::grouping;
use mesher::processing::normalize::{self, EventContext};
use mesher::processing::scrub;
use mesher::protocol::envelope::Envelope;
use mesher::protocol::{
    auth_header, client_report, compression, dsn, event_item, security_report, timestamps,
    user_report,
};
use serde_json::json;
use uuid::Uuid;

use crate::chance::Chance;
use crate::mutate::{Corpus, scramble};

/// What decoding may make of a body: as the tests' door would say.
const CEILING: usize = 1 << 20;

/// One parser.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) make: fn(&Corpus, &mut Chance) -> Vec<u8>,
    /// Reads an input; an error is a rule that it broke.
    pub(crate) run: fn(&[u8]) -> Result<(), String>,
    /// The most bytes that reading an input of that many may hold at once.
    pub(crate) bound: fn(usize) -> usize,
}

/// An event is a tree in memory before it is trimmed: at most so many bytes for each of its own, and a fixed part for the result.
const EVENT: fn(usize) -> usize = |len| 64 * len + (4 << 20);

/// What reads a small thing, or a slice of what is there already.
const SMALL: fn(usize) -> usize = |len| 64 * len + (64 << 10);

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "sentry event",
        make: |corpus, chance| corpus.event_bytes(chance),
        run: |input| normalize::sentry_event(input, &context()).map_or(Ok(()), |raw| group(&raw)),
        bound: EVENT,
    },
    Target {
        name: "native event",
        make: native_event,
        run: |input| {
            normalize::native_event(input, &context()).map_or(Ok(()), |(_, raw)| group(&raw))
        },
        bound: EVENT,
    },
    Target {
        name: "envelope",
        make: envelope,
        run: read_envelope,
        bound: SMALL,
    },
    Target {
        name: "compression",
        make: compressed,
        run: decompress,
        // The decoders' own windows (brotli's is 16 MiB at most) and twice the ceiling while the result grows.
        bound: |len| 40 * (1 << 20) + 2 * CEILING + len,
    },
    Target {
        name: "store body",
        make: store_body,
        run: |input| {
            let body = event_item::store_body(Bytes::copy_from_slice(input), CEILING);
            within(
                body.as_ref().map_or(0, Bytes::len),
                CEILING.max(input.len()),
            )
        },
        bound: |len| 3 * len + 3 * CEILING,
    },
    Target {
        name: "security",
        make: security,
        run: |input| {
            let events = security_report::events(input, Some("live"), None).unwrap_or_default();
            for event in events {
                let raw = normalize::sentry_event(event.to_string().as_bytes(), &context());
                raw.map_or(Ok(()), |raw| group(&raw))?;
            }
            Ok(())
        },
        bound: EVENT,
    },
    Target {
        name: "payload",
        make: packed,
        run: unpack,
        // A frame may say that it holds the most there may be, and what it says is what is asked for.
        bound: |len| payload::JSON_BYTES_MAX + 4 * len + (64 << 10),
    },
    Target {
        name: "headers",
        make: headers,
        run: |input| {
            let text = String::from_utf8_lossy(input);
            let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
            let _ = auth_header::find(|_| Some(first), Some(rest), Some(rest));
            let _ = auth_header::query_value(rest, "sentry_key");
            let _ = text.parse::<dsn::Dsn>();
            let _ = timestamps::parse_text(&text);
            Ok(())
        },
        bound: SMALL,
    },
];

/// Events of a megabyte of small things, where a parser expects large ones.
pub(crate) fn dear_events() -> Vec<Vec<u8>> {
    let repeated = |before: &str, part: &str, after: &str| {
        let many = (CEILING - before.len() - after.len()) / (part.len() + 1);
        format!("{before}{}{after}", vec![part; many].join(",")).into_bytes()
    };
    let frames = vec![r#"{"":0}"#; 200].join(",");
    vec![
        repeated(r#"{"stacktrace":["#, r#"{"":0}"#, "]}"),
        repeated(r#"{"exception":["#, r#"{"":0}"#, "]}"),
        repeated(
            r#"{"exception":["#,
            &format!(r#"{{"stacktrace":[{frames}]}}"#),
            "]}",
        ),
        repeated(r#"{"threads":["#, r#"{"stacktrace":[{"":0}]}"#, "]}"),
    ]
}

fn within(found: usize, most: usize) -> Result<(), String> {
    if found <= most {
        Ok(())
    } else {
        Err(format!("came to {found} bytes, more than {most}"))
    }
}

fn context() -> EventContext {
    EventContext {
        project_id: Uuid::from_u128(1).into(),
        project_number: None,
        received_at: Timestamp::from_second(1_795_000_000).expect("a time"),
        sent_at: Timestamp::from_second(1_794_000_000).ok(),
        event_id: None,
        fresh_event_id: Uuid::from_u128(2).into(),
        remote_address: "192.0.2.1".parse().ok(),
        dictionary: None,
    }
}

/// Whatever was normalised can be grouped, for the door has acknowledged it.
fn group(raw: &mesher::domain::RawEvent) -> Result<(), String> {
    grouping::group(raw)
        .map(drop)
        .map_err(|error| format!("was normalised and cannot be grouped ({error})"))
}

fn native_event(corpus: &Corpus, chance: &mut Chance) -> Vec<u8> {
    let mut event = corpus.event(chance);
    if let Some(event) = event.as_object_mut() {
        event.insert("message".to_owned(), json!("native"));
        let stack = "Traceback:\n  File \"a.py\", line 1, in f\n".repeat(chance.size(2_000));
        event.insert("stacktrace".to_owned(), json!(stack));
        if chance.one_in(2) {
            event.insert("exception".to_owned(), json!({ "type": "E", "value": "v" }));
        }
    }
    corpus.perhaps_scramble(event.to_string().into_bytes(), chance)
}

fn envelope(corpus: &Corpus, chance: &mut Chance) -> Vec<u8> {
    let kinds = [
        "event",
        "user_report",
        "feedback",
        "client_report",
        "session",
        "attachment",
        "transaction",
        "from_the_future",
    ];
    let mut bytes = b"{\"event_id\":\"7f7aaadfa00642179ed55fbf8585c6c0\",\"sent_at\":\"2026-11-21T22:00:00Z\"}\n".to_vec();
    let items = if chance.one_in(20) {
        chance.size(1_100)
    } else {
        chance.below(5)
    };
    for _ in 0..items {
        let kind = chance.of(&kinds);
        let payload = match chance.below(5) {
            0 => json!({ "discarded_events": [{ "reason": "before_send", "category": "error", "quantity": chance.next() }] }).to_string(),
            1 => json!({ "event_id": "7f7aaadfa00642179ed55fbf8585c6c0", "comments": "it broke", "name": 7 }).to_string(),
            2 => json!({ "contexts": { "feedback": { "message": "slow" } } }).to_string(),
            3 if items < 5 => corpus.event(chance).to_string(),
            _ => "{}".to_owned(),
        };
        let header = match chance.below(3) {
            0 => json!({ "type": kind }),
            1 => json!({ "type": kind, "length": payload.len() }),
            _ => json!({ "type": kind, "length": chance.size(5_000) }),
        };
        bytes.extend_from_slice(format!("{header}\n{payload}\n").as_bytes());
    }
    corpus.perhaps_scramble(bytes, chance)
}

fn read_envelope(input: &[u8]) -> Result<(), String> {
    let Ok(envelope) = Envelope::parse(&Bytes::copy_from_slice(input)) else {
        return Ok(());
    };
    let sum: usize = envelope.items.iter().map(|item| item.payload.len()).sum();
    within(sum, input.len())?;
    for (nth, item) in envelope.items.iter().enumerate() {
        let _ = client_report::read(&item.payload);
        let _ = user_report::read_user_report(&item.payload, scrub::scrub_text);
        let id = envelope.header.event_id;
        let _ = user_report::read_feedback(&item.payload, id, nth, scrub::scrub_text);
    }
    Ok(())
}

/// The first byte chooses the codings.
fn codings(choice: u8) -> &'static str {
    [
        "gzip",
        "deflate",
        "br",
        "zstd",
        "zstd, gzip",
        "gzip, br",
        "identity",
        "deflate, zstd, br, gzip",
    ][usize::from(choice % 8)]
}

fn compressed(corpus: &Corpus, chance: &mut Chance) -> Vec<u8> {
    let choice = chance.next().to_le_bytes()[0];
    let mut bytes = if chance.one_in(4) {
        // A bomb: far more than the ceiling, of next to nothing.
        vec![b' '; 2 * CEILING + chance.size(4 * CEILING)]
    } else {
        corpus.event(chance).to_string().into_bytes()
    };
    for coding in codings(choice).split(", ") {
        bytes = encode(coding, &bytes);
    }
    if chance.one_in(2) {
        for _ in 0..1 + chance.below(3) {
            scramble(&mut bytes, chance);
        }
    }
    bytes.insert(0, choice);
    bytes
}

fn encode(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::fast();
    let made = match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).and_then(|()| encoder.finish())
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).and_then(|()| encoder.finish())
        }
        "br" => {
            let mut out = Vec::new();
            let mut encoder = brotli::CompressorWriter::new(&mut out, 4096, 1, 22);
            let written = encoder.write_all(bytes).and_then(|()| encoder.flush());
            drop(encoder);
            written.map(|()| out)
        }
        "zstd" => zstd::bulk::compress(bytes, 1),
        _ => Ok(bytes.to_vec()),
    };
    made.expect("encoding into memory")
}

fn decompress(input: &[u8]) -> Result<(), String> {
    let Some((choice, body)) = input.split_first() else {
        return Ok(());
    };
    let body = Bytes::copy_from_slice(body);
    let decoded = compression::decode(Some(codings(*choice)), body, CEILING);
    within(decoded.as_ref().map_or(0, Bytes::len), CEILING)
}

/// What the payloads' dictionary says.
const COMMON: &[u8] = br#"{"platform":"python","level":"error","exception":{"values":[{"stacktrace":{"frames":[{"in_app":true,"lineno":1"#;

fn packed(corpus: &Corpus, chance: &mut Chance) -> Vec<u8> {
    let json = if chance.one_in(4) {
        // A bomb: more than a payload may come to, of next to nothing.
        vec![b' '; payload::JSON_BYTES_MAX + chance.size(4 * CEILING)]
    } else {
        corpus.event(chance).to_string().into_bytes()
    };
    let dictionary = Dictionary::new(COMMON, Timestamp::UNIX_EPOCH);
    let mut packed = Vec::new();
    payload::pack(&json, chance.one_in(2).then_some(&dictionary), &mut packed)
        .expect("packing into memory");
    corpus.perhaps_scramble(packed, chance)
}

fn unpack(input: &[u8]) -> Result<(), String> {
    let said = payload::json_len(input);
    let Ok(json) = payload::unpack(input, Some(COMMON)) else {
        return Ok(());
    };
    if payload::dictionary_of(input).is_some() && payload::unpack(input, None).is_ok() {
        return Err("was unpacked without its dictionary".to_owned());
    }
    within(json.len(), said.unwrap_or(payload::JSON_BYTES_MAX))
}

fn store_body(corpus: &Corpus, chance: &mut Chance) -> Vec<u8> {
    use base64::Engine as _;
    let event = corpus.event(chance).to_string().into_bytes();
    let bytes = match chance.below(3) {
        0 => event,
        1 => base64::engine::general_purpose::STANDARD
            .encode(event)
            .into_bytes(),
        _ => base64::engine::general_purpose::STANDARD
            .encode(encode("deflate", &event))
            .into_bytes(),
    };
    corpus.perhaps_scramble(bytes, chance)
}

fn security(corpus: &Corpus, chance: &mut Chance) -> Vec<u8> {
    let url = "https://shop.example/".repeat(1 + chance.size(100));
    let report = match chance.below(3) {
        0 => {
            json!({ "csp-report": { "document-uri": url, "blocked-uri": "inline", "effective-directive": "script-src" } })
        }
        1 => {
            json!([{ "type": "csp-violation", "url": url, "body": { "documentURL": url, "effectiveDirective": "img-src" } }])
        }
        _ => {
            json!({ "expect-ct-report": { "hostname": url, "port": 443, "date-time": "2026-11-21T22:00:00Z" } })
        }
    };
    corpus.perhaps_scramble(report.to_string().into_bytes(), chance)
}

fn headers(corpus: &Corpus, chance: &mut Chance) -> Vec<u8> {
    let key = "a94ae32be2584e0bbd7a4cbb95971fee";
    let text = match chance.below(5) {
        0 => format!(
            "Sentry sentry_key={key}, sentry_version=7, sentry_client=x\nsentry_key={key}&a=b"
        ),
        1 => format!("Basic {key}\n%73entry_key={key}"),
        2 => format!("Bearer {key}\n&&=;"),
        3 => format!("http://{key}@[::1]:8080/path/7"),
        _ => "2026-11-21 22:00:00.123456+02:00".to_owned(),
    };
    let mut bytes = text.into_bytes();
    for _ in 0..chance.below(6) {
        scramble(&mut bytes, chance);
    }
    corpus.perhaps_scramble(bytes, chance)
}
