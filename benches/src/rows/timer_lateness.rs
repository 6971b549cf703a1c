//! Row 6d: how late are 100,000 timers that are due within five seconds? In milliseconds.

use std::time::Duration;

use crate::contender::Timers;
use crate::contenders::kameo::Kameo;
use crate::contenders::mesh::Mesh;
use crate::contenders::ractor::Ractor;
use crate::contenders::tokio_raw::Tokio;
use crate::contenders::tokio_raw::delay_queue::Queue;
use crate::measure::{Chance, percentile};
use crate::row::{Bar, Better, Contender, Row, Scale};

pub(crate) const ROW: Row = Row {
    id: "6d",
    name: "timer-lateness",
    question: "lateness of 100,000 timers due at random moments within 5 s, as their process sees it; an early one fails the run",
    figures: &["p50", "p99", "max"],
    unit: "ms",
    better: Better::Lower,
    bars: &[Bar::to("DelayQueue", "p99", 1.0)],
    seconds: 5.4,
    contenders: &[
        Contender::run("mesh", run::<Mesh>),
        Contender::run("DelayQueue", run::<Queue>),
        Contender::run("tokio task + sleep", run::<Tokio>),
        Contender::run("ractor", run::<Ractor>),
        Contender::run("kameo", run::<Kameo>),
        Contender::lacks(
            "actix",
            "looks at all its timers at each wake, in quadratic time",
        ),
        Contender::lacks("xtra", "no timers"),
        Contender::lacks("bastion", "no timers"),
        Contender::erlang("timer-lateness", [100_000, 200]),
    ],
};

fn run<L: Timers>(scale: Scale) -> Vec<f64> {
    let (count, within) = (scale.of(100_000, 200), scale.of(5_000_000, 50_000));
    let mut chance = Chance(60);
    let delays: Vec<Duration> = (0..count)
        .map(|_| Duration::from_micros(chance.below(within)))
        .collect();
    let seen = L::enter(move |library| async move { library.lateness(delays).await });
    assert_eq!(seen.len(), count);
    let mut late: Vec<f64> = seen.iter().map(|late| late.as_secs_f64() * 1e3).collect();
    late.sort_by(f64::total_cmp);
    [0.5, 0.99, 1.0]
        .map(|share| percentile(&late, share))
        .to_vec()
}
