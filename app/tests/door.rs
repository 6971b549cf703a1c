//! How many machine instructions an accepted event takes at the door, from its JSON to the record of the spool, HTTP not counted.
//!
//! `cargo test --profile instructions -p mesher --test door -- --ignored --nocapture counts` counts them under valgrind's callgrind. An event
//! is taken N times and 2N times; the difference is N events, without start and end. Of the events of one sample each has another
//! value in a variable of its innermost frame, as no two real ones are alike.

use std::hint::black_box;
use std::process::Command;
use std::str::FromStr;

use jiff::Timestamp;
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

/// A sample with a value of its own in the last variable, if it has any.
fn variant(sample: &str, nth: usize) -> String {
    const VARIABLES: &str = "\"vars\":";
    let Some(at) = sample.rfind(VARIABLES).map(|at| at + VARIABLES.len()) else {
        return sample.to_owned();
    };
    let (before, after) = sample.split_at(at);
    let inside = after.trim_start().strip_prefix('{').expect("an object");
    format!("{before} {{\"request\": \"{nth:032x}\", {inside}")
}

/// Takes events of a sample so many times; returns the bytes of their records.
fn take(sample: &str, times: u64) -> usize {
    let variants: Vec<String> = (0..VARIANTS).map(|nth| variant(sample, nth)).collect();
    let context = EventContext {
        project_id: Uuid::from_u128(1).into(),
        project_number: None,
        received_at: Timestamp::from_second(1_795_000_000).expect("a time"),
        sent_at: None,
        event_id: Some(Uuid::from_u128(2).into()),
        fresh_event_id: Uuid::from_u128(3).into(),
        remote_address: None,
    };
    let mut bytes = 0;
    for event in variants.iter().cycle().take(times as usize) {
        let raw = normalize::sentry_event(black_box(event.as_bytes()), &context);
        bytes += raw.expect("a real event").to_bytes().len();
    }
    bytes
}

#[test]
fn every_sample_is_taken() {
    for (name, sample) in SAMPLES {
        assert!(take(sample, 3) > 0, "{name}");
    }
}

/// What callgrind is given to run.
#[test]
#[ignore = "run by the command of this file"]
fn takes() {
    let nth: usize = option("DOOR_SAMPLE").unwrap_or_default();
    println!(
        "{}",
        take(SAMPLES[nth].1, option("DOOR_EVENTS").unwrap_or(EVENTS))
    );
}

#[test]
#[ignore = "needs valgrind and an optimised build"]
fn counts() {
    for (nth, (name, sample)) in SAMPLES.into_iter().enumerate() {
        let (once, twice) = (collected(nth, EVENTS), collected(nth, 2 * EVENTS));
        println!(
            "{name:<24} {:>6} bytes, {:>5} of the record, {:>8} instructions",
            sample.len(),
            take(sample, EVENTS) as u64 / EVENTS,
            (twice - once) / EVENTS
        );
    }
}

/// Instructions of one whole run of this program under callgrind.
fn collected(nth: usize, events: u64) -> u64 {
    let own = std::env::current_exe().expect("a program has a path");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(own)
        .args(["--ignored", "--exact", "takes"])
        .env("DOOR_SAMPLE", nth.to_string())
        .env("DOOR_EVENTS", events.to_string())
        .output()
        .expect("valgrind runs");
    let told = String::from_utf8_lossy(&output.stderr);
    let line = told.lines().find(|line| line.contains("Collected :"));
    let count = line.and_then(|line| line.rsplit(':').next()?.trim().parse().ok());
    count.expect("callgrind tells a count")
}
