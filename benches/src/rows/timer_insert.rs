//! Row 6a: how many timers a second are set? In millions.

use std::time::Duration;

use crate::contender::{TimerCost, Timers};
use crate::contenders::actix::Actix;
use crate::contenders::kameo::Kameo;
use crate::contenders::mesh::{Mesh, MeshOutside};
use crate::contenders::ractor::Ractor;
use crate::contenders::tokio_raw::Tokio;
use crate::contenders::tokio_raw::delay_queue::Queue;
use crate::measure::{Chance, millions, rate};
use crate::row::{Bar, Better, Contender, Row, Scale};

pub(crate) const ROW: Row = Row {
    id: "6a",
    name: "timer-insert",
    question: "set 200,000 timers between one and ten minutes ahead, each with a message for a process",
    figures: &["timers"],
    unit: "M/s",
    better: Better::Higher,
    bars: &[Bar::to("DelayQueue", "timers", 1.0)],
    seconds: 1.2,
    contenders: &[
        Contender::run("mesh", run::<Mesh>),
        Contender::run("mesh outside", run::<MeshOutside>),
        Contender::run("DelayQueue", run::<Queue>),
        Contender::run("tokio task + sleep", run::<Tokio>),
        Contender::run("ractor", run::<Ractor>),
        Contender::run("kameo", run::<Kameo>),
        Contender::run("actix", run::<Actix>),
        Contender::lacks("xtra", "no timers"),
        Contender::lacks("bastion", "no timers"),
        Contender::erlang("timer-insert", [200_000, 1_000]),
    ],
};

fn run<L: Timers>(scale: Scale) -> Vec<f64> {
    each_turn::<L>(scale, |cost| cost.insert)
}

/// The work of this row and the next two.
pub(super) fn each_turn<L: Timers>(scale: Scale, part: fn(TimerCost) -> Duration) -> Vec<f64> {
    let work = move |library: L| async move {
        let count = delays(scale).len() as u64;
        let turn = || async { part(library.set_and_cancel(delays(scale)).await) };
        rate(scale, count, turn).await
    };
    millions(L::enter(work))
}

/// Far enough ahead that none is due before the run has ended.
pub(super) fn delays(scale: Scale) -> Vec<Duration> {
    let mut chance = Chance(6);
    let delay = |_| Duration::from_millis(60_000 + chance.below(540_000));
    (0..scale.of(200_000, 1_000)).map(delay).collect()
}
