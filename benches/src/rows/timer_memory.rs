//! Row 6c: how many bytes of resident memory does a pending timer hold?

use super::timer_insert::delays;
use crate::contender::Timers;
use crate::contenders::actix::Actix;
use crate::contenders::kameo::Kameo;
use crate::contenders::mesh::{Mesh, MeshOutside};
use crate::contenders::ractor::Ractor;
use crate::contenders::tokio_raw::Tokio;
use crate::contenders::tokio_raw::delay_queue::Queue;
use crate::row::{Bar, Better, Contender, Row, Scale};

pub(crate) const ROW: Row = Row {
    id: "6c",
    name: "timer-memory",
    question: "resident memory for each of 200,000 pending timers, the message with it, each variant in a program of its own",
    figures: &["a timer"],
    unit: "B",
    better: Better::Lower,
    bars: &[Bar::of_itself("a timer", 100.0)],
    seconds: 0.5,
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
        Contender::erlang("timer-memory", [200_000, 1_000]),
    ],
};

fn run<L: Timers>(scale: Scale) -> Vec<f64> {
    let work = move |library: L| async move {
        let delays = delays(scale);
        let count = delays.len() as f64;
        library.set_and_cancel(delays).await.bytes as f64 / count
    };
    vec![L::enter(work)]
}
