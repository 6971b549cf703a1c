//! Mutations: of bytes, and of JSON by its structure; from real events.

use std::fs;

use serde_json::{Map, Value, json};

use crate::chance::Chance;

/// No mutation makes an input larger than the door would let in.
const BYTES_MAX: usize = 1 << 20;

/// What has broken parsers before.
const TOKENS: &[&[u8]] = &[
    b"\0",
    b"\n",
    b"\r\n",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\\udc00\\ud800",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xf0\x9f\x92\xa9",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-0",
    b"-0.0e-0",
    b"18446744073709551616",
    b"9223372036854775807",
    b"-9223372036854775809",
    b"0.1e-99999999999",
    b"null",
    b"{}",
    b"[]",
    b"{\"\":",
    b"{{ default }}",
    b"{{auto}}",
    b"2026-02-30T25:61:61Z",
    b"9999-12-31T23:59:59.999999999Z",
    b"-9999-01-01T00:00:00Z",
    b"sentry_key=",
    b"://@:/",
    b"%zz%",
    b",,;;==",
];

/// Names that mean something somewhere.
const NAMES: &[&str] = &[
    "exception",
    "values",
    "stacktrace",
    "frames",
    "threads",
    "breadcrumbs",
    "logentry",
    "message",
    "formatted",
    "params",
    "tags",
    "user",
    "request",
    "headers",
    "query_string",
    "cookies",
    "data",
    "contexts",
    "extra",
    "sdk",
    "fingerprint",
    "timestamp",
    "level",
    "event_id",
    "type",
    "value",
    "module",
    "function",
    "filename",
    "abs_path",
    "lineno",
    "in_app",
    "vars",
    "pre_context",
    "context_line",
    "mechanism",
    "release",
    "environment",
    "dist",
    "platform",
    "transaction",
    "_meta",
    "length",
    "feedback",
    "discarded_events",
    "quantity",
    "csp-report",
    "debug_meta",
    "images",
    "modules",
    "spans",
    "comments",
    "name",
    "email",
    "password",
    "",
];

/// What the inputs are made from.
#[derive(Debug)]
pub(crate) struct Corpus {
    events: Vec<Value>,
}

impl Corpus {
    /// The samples beside the tests.
    pub(crate) fn load() -> Corpus {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples");
        let mut events = Vec::new();
        let mut paths: Vec<_> = fs::read_dir(folder)
            .expect("the samples are part of the repository")
            .map(|entry| entry.expect("a readable folder").path())
            .collect();
        paths.sort();
        for path in paths {
            let text = fs::read_to_string(&path).expect("a sample is text");
            match path.extension().and_then(|kind| kind.to_str()) {
                Some("json") => events.push(serde_json::from_str(&text).expect("a sample is JSON")),
                Some("jsonl") => {
                    let pairs = text
                        .lines()
                        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
                    events.extend(pairs.flat_map(|mut pair| [pair["a"].take(), pair["b"].take()]));
                }
                _ => {}
            }
        }
        assert!(events.len() > 20, "the samples are there");
        Corpus { events }
    }

    /// An event as it is, or changed by its structure.
    pub(crate) fn event(&self, chance: &mut Chance) -> Value {
        let mut event = self.events[chance.below(self.events.len())].clone();
        for _ in 0..chance.below(6) {
            self.restructure(&mut event, chance);
        }
        event
    }

    /// An event's bytes, changed by structure, then perhaps as bytes.
    pub(crate) fn event_bytes(&self, chance: &mut Chance) -> Vec<u8> {
        let bytes = self.event(chance).to_string().into_bytes();
        self.perhaps_scramble(bytes, chance)
    }

    /// Two in three as they are.
    pub(crate) fn perhaps_scramble(&self, mut bytes: Vec<u8>, chance: &mut Chance) -> Vec<u8> {
        if chance.one_in(3) {
            for _ in 0..1 + chance.below(8) {
                scramble(&mut bytes, chance);
            }
        }
        bytes.truncate(BYTES_MAX);
        bytes
    }

    fn restructure(&self, event: &mut Value, chance: &mut Chance) {
        let graft = chance.one_in(5).then(|| {
            let mut other = self.events[chance.below(self.events.len())].clone();
            node(&mut other, chance).take()
        });
        let place = node(event, chance);
        *place = match (graft, chance.below(4)) {
            (Some(graft), _) => graft,
            (None, 0) => json!({ (name(chance)): place.take() }),
            (None, 1) => json!([place.take()]),
            (None, _) => value(chance),
        };
    }
}

fn name(chance: &mut Chance) -> String {
    NAMES[chance.below(NAMES.len())].to_owned()
}

/// A node somewhere below.
fn node<'v>(mut at: &'v mut Value, chance: &mut Chance) -> &'v mut Value {
    loop {
        let is_leaf = match &*at {
            Value::Object(map) => map.is_empty(),
            Value::Array(list) => list.is_empty(),
            _ => true,
        };
        if is_leaf || chance.one_in(5) {
            return at;
        }
        at = match at {
            Value::Object(map) => {
                let turn = chance.below(map.len());
                map.values_mut().nth(turn).expect("one of its values")
            }
            Value::Array(list) => {
                let turn = chance.below(list.len());
                &mut list[turn]
            }
            _ => unreachable!("a leaf was returned above"),
        };
    }
}

/// A value of any kind, some of them extreme.
fn value(chance: &mut Chance) -> Value {
    match chance.below(14) {
        0 => Value::Null,
        1 => true.into(),
        2 => u64::MAX.into(),
        3 => i64::MIN.into(),
        4 => f64::MIN_POSITIVE.into(),
        5 => f64::MAX.into(),
        6 => text(chance).into(),
        7 => String::from_utf8_lossy(chance.of(TOKENS))
            .into_owned()
            .into(),
        // Deep.
        8 => {
            let depth = chance.below(300);
            (0..depth).fold(Value::Null, |inner, n| {
                if n % 2 == 0 {
                    json!([inner])
                } else {
                    json!({ "a": inner })
                }
            })
        }
        // Wide: many small things are what costs most for each byte.
        9 => vec![json!(0); chance.size(60_000)].into(),
        10 => vec![json!([]); chance.size(30_000)].into(),
        11 => vec![json!({}); chance.size(30_000)].into(),
        12 => {
            let many = chance.size(20_000);
            Value::Object(
                (0..many)
                    .map(|n| (n.to_string(), Value::Null))
                    .collect::<Map<_, _>>(),
            )
        }
        _ => {
            json!({ "values": vec![json!({ "type": text(chance), "stacktrace": { "frames": vec![json!({ "function": name(chance) }); chance.size(5_000)] } }); chance.below(4)] })
        }
    }
}

fn text(chance: &mut Chance) -> String {
    let len = chance.size(100_000);
    let piece = [
        "x",
        "a ",
        "\u{1f4a9}",
        "0",
        "/",
        "192.168.0.1 ",
        "{",
        "é",
        "\u{0}",
        "7f7aaadf-a006-4217-9ed5-5fbf8585c6c0 ",
    ][chance.below(10)];
    piece.repeat(len / piece.len())
}

/// One change of bytes.
pub(crate) fn scramble(bytes: &mut Vec<u8>, chance: &mut Chance) {
    let at = chance.below(bytes.len() + 1);
    match chance.below(7) {
        0 if !bytes.is_empty() => {
            let at = at.min(bytes.len() - 1);
            bytes[at] ^= 1 << chance.below(8);
        }
        1 => bytes.truncate(at),
        2 => {
            let end = (at + chance.size(2_000)).min(bytes.len());
            bytes.drain(at..end);
        }
        3 => {
            let end = (at + chance.size(2_000)).min(bytes.len());
            let piece = bytes[at..end].repeat(1 + chance.below(20));
            bytes.splice(at..at, piece);
        }
        4 => {
            let random: Vec<u8> = (0..chance.size(200))
                .map(|_| chance.next().to_le_bytes()[0])
                .collect();
            bytes.splice(at..at, random);
        }
        5 => {
            let many = chance.of(TOKENS).repeat(1 + chance.size(2_000));
            bytes.splice(at..at, many);
        }
        _ => {
            bytes.splice(at..at, chance.of(TOKENS).iter().copied());
        }
    }
    bytes.truncate(BYTES_MAX);
}
