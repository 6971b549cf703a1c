//! How many machine instructions an accepted event takes at the door, from its JSON to the record of the spool, HTTP not counted.
//!
//! `cargo test --profile instructions -p mesher --test door -- --ignored --nocapture counts` counts them under valgrind's callgrind. An event
//! is taken N times and 2N times; the difference is N events, without start and end. Of the events of one sample each has another
//! value in a variable of each of its frames, as no two real ones are alike. Each sample is taken without a dictionary, and with one that
//! knows another of its events.

use std::hint::black_box;
use std::process::Command;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use mesher::domain::payload::{self, Dictionary};
use mesher::processing::normalize::{self, EventContext};
use uuid::Uuid;

/// The allocator of the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Real events, by name.
const SAMPLES: [(&str, &str); 4] = [
    (
        "python-flask-20-frames",
        include_str!("samples/python-flask-20-frames.json"),
    ),
    (
        "python-chained",
        include_str!("samples/python-chained.json"),
    ),
    (
        "node-capture-message",
        include_str!("samples/node-capture-message.json"),
    ),
    (
        "node-capture-string",
        include_str!("samples/node-capture-string.json"),
    ),
];

/// Events of the smaller of the two runs.
const EVENTS: u64 = 100;

/// How many different events are made of a sample.
const VARIANTS: usize = 16;

/// What an option of the commands below says.
#[expect(
    clippy::disallowed_methods,
    reason = "a test's own options; the program's enter by config/env.rs"
)]
fn option<T: FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

/// A sample with a value of its own in a variable of each frame that has any.
fn variant(sample: &str, nth: usize) -> String {
    const VARIABLES: &str = "\"vars\":";
    let mut pieces = sample.split(VARIABLES);
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for (depth, piece) in (0..).zip(pieces) {
        let inside = piece.trim_start().strip_prefix('{').expect("an object");
        let mark = if inside.trim_start().starts_with('}') {
            ""
        } else {
            ", "
        };
        let value = Uuid::new_v5(&Uuid::from_u128(depth), &nth.to_le_bytes()).simple();
        text.push_str(&format!(
            "{VARIABLES} {{\"request\": \"{value}\"{mark}{inside}"
        ));
    }
    text
}

fn context(dictionary: Option<Arc<Dictionary>>) -> EventContext {
    EventContext {
        project_id: Uuid::from_u128(1).into(),
        project_number: None,
        received_at: Timestamp::from_second(1_795_000_000).expect("a time"),
        sent_at: None,
        event_id: Some(Uuid::from_u128(2).into()),
        fresh_event_id: Uuid::from_u128(3).into(),
        remote_address: None,
        dictionary,
    }
}

/// A dictionary of one event of a sample, which is none of those that are taken.
fn dictionary(sample: &str) -> Arc<Dictionary> {
    let raw = normalize::sentry_event(variant(sample, VARIANTS).as_bytes(), &context(None));
    let json = payload::unpack(&raw.expect("a real event").payload, None).expect("a payload");
    let from = json.len().saturating_sub(Dictionary::TEXT_BYTES_MAX);
    let made_at = context(None).received_at;
    Arc::new(Dictionary::of_text(&json[from..], made_at))
}

/// Takes events of a sample so many times; returns the bytes of their records and, of these, of their payloads.
fn take(sample: &str, with_dictionary: bool, times: u64) -> (usize, usize) {
    let variants: Vec<String> = (0..VARIANTS).map(|nth| variant(sample, nth)).collect();
    let context = context(with_dictionary.then(|| dictionary(sample)));
    let mut bytes = (0, 0);
    for event in variants.iter().cycle().take(times as usize) {
        let raw = normalize::sentry_event(black_box(event.as_bytes()), &context);
        let raw = raw.expect("a real event");
        bytes.0 += raw.to_bytes().len();
        bytes.1 += raw.payload.len();
    }
    bytes
}

#[test]
fn every_sample_is_taken() {
    for (name, sample) in SAMPLES {
        let (without, with) = (take(sample, false, 3), take(sample, true, 3));
        assert!(with.1 > 0 && with.1 < without.1, "{name}");
    }
}

/// What callgrind is given to run.
#[test]
#[ignore = "run by the command of this file"]
fn takes() {
    let nth: usize = option("DOOR_SAMPLE").unwrap_or_default();
    let with_dictionary = option("DOOR_DICTIONARY").unwrap_or_default();
    let events = option("DOOR_EVENTS").unwrap_or(EVENTS);
    println!("{:?}", take(SAMPLES[nth].1, with_dictionary, events));
}

#[test]
#[ignore = "needs valgrind and an optimised build"]
fn counts() {
    for (nth, (name, sample)) in SAMPLES.into_iter().enumerate() {
        for (with_dictionary, how) in [(false, "alone"), (true, "with a dictionary")] {
            let counted = |events| collected(nth, with_dictionary, events);
            let (once, twice) = (counted(EVENTS), counted(2 * EVENTS));
            let (record, payload) = take(sample, with_dictionary, EVENTS);
            println!(
                "{name:<24} {how:<18} {:>6} bytes, {:>5} of the record, {:>5} of the payload, {:>8} instructions",
                sample.len(),
                record as u64 / EVENTS,
                payload as u64 / EVENTS,
                (twice - once) / EVENTS
            );
        }
    }
}

/// Instructions of one whole run of this program under callgrind.
fn collected(nth: usize, with_dictionary: bool, events: u64) -> u64 {
    let own = std::env::current_exe().expect("a program has a path");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(own)
        .args(["--ignored", "--exact", "takes"])
        .env("DOOR_SAMPLE", nth.to_string())
        .env("DOOR_DICTIONARY", with_dictionary.to_string())
        .env("DOOR_EVENTS", events.to_string())
        .output()
        .expect("valgrind runs");
    let told = String::from_utf8_lossy(&output.stderr);
    let line = told.lines().find(|line| line.contains("Collected :"));
    let count = line.and_then(|line| line.rsplit(':').next()?.trim().parse().ok());
    count.expect("callgrind tells a count")
}
