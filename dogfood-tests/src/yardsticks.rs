//! What this machine does with a few plain tasks, so that figures of different machines can be read beside each other.

use std::hint::black_box;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::Fault;

/// How long each task is repeated.
const SPAN: Duration = Duration::from_millis(200);

/// How many times in a row a task is done between two looks at the clock.
const TURNS: u32 = 100;

/// A task, and how long it takes here and on the machine that the bars were drawn from.
#[derive(Clone, Copy, Debug)]
pub struct Yardstick {
    name: &'static str,
    micros: f64,
    reference_micros: f64,
}

impl Yardstick {
    /// In one line.
    #[must_use]
    pub fn line(&self) -> String {
        let Yardstick {
            name,
            micros,
            reference_micros,
        } = self;
        format!(
            "{name:<24} {micros:.2} µs; where the bars come from {reference_micros:.1} µs, {:.2} of this",
            reference_micros / micros
        )
    }
}

/// Measures them all.
///
/// # Errors
/// If zstd refuses.
pub fn measure() -> Result<[Yardstick; 2], Fault> {
    let text = event_of_1_kb();
    let mut compressor = zstd::bulk::Compressor::new(1)?;
    let mut compressed = vec![0; zstd::zstd_safe::compress_bound(text.len())];
    compressor.compress_to_buffer(text.as_bytes(), &mut compressed)?;
    Ok([
        Yardstick {
            name: "zstd level 1 of 1 KB",
            micros: micros(|| {
                // It did so a moment ago.
                let _ = black_box(
                    compressor.compress_to_buffer(black_box(text.as_bytes()), &mut compressed),
                );
            }),
            reference_micros: 4.6,
        },
        Yardstick {
            name: "SHA-256 of 90 bytes",
            micros: micros(|| {
                black_box(Sha256::digest(black_box([7; 90])));
            }),
            reference_micros: 0.3,
        },
    ])
}

/// The shortest of the times that a task took, in microseconds: what else ran meanwhile only adds.
fn micros(mut task: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut best = f64::INFINITY;
    while start.elapsed() < SPAN {
        let begin = Instant::now();
        for _ in 0..TURNS {
            task();
        }
        best = best.min(begin.elapsed().as_secs_f64() * 1e6 / f64::from(TURNS));
    }
    best
}

/// An event as people send them, about as long as a native one.
fn event_of_1_kb() -> String {
    let frames: Vec<_> = (0..5)
        .map(|depth| {
            serde_json::json!({ "function": format!("step_{depth}"), "module": "shop.checkout", "filename": "shop/checkout.py",
                "lineno": 40 + depth, "in_app": true, "context_line": "    return step(order, total)" })
        })
        .collect();
    serde_json::json!({
        "level": "error", "environment": "production", "release": "shop@1.2.3", "message": "order 5f3c could not be paid",
        "exception": { "type": "PaymentDeclined", "value": "card declined", "stacktrace": { "frames": frames } },
        "tags": { "region": "eu-1", "browser": "Firefox 131" },
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::{Yardstick, event_of_1_kb, measure};

    #[test]
    fn tasks_take_some_time_and_tell_it() {
        assert!((900..1200).contains(&event_of_1_kb().len()));
        for yardstick in measure().unwrap() {
            assert!(
                yardstick.micros > 0.0 && yardstick.micros.is_finite(),
                "{yardstick:?}"
            );
        }
        let line = Yardstick {
            name: "task",
            micros: 2.0,
            reference_micros: 1.0,
        }
        .line();
        assert!(
            line.starts_with("task ")
                && line.ends_with("2.00 µs; where the bars come from 1.0 µs, 0.50 of this"),
            "{line}"
        );
    }
}
