//! Row 6b: how many timers a second are cancelled? In millions.

use super::timer_insert::each_turn;
use crate::contender::Timers;
use crate::contenders::kameo::Kameo;
use crate::contenders::mesh::{Mesh, MeshOutside};
use crate::contenders::ractor::Ractor;
use crate::contenders::tokio_raw::Tokio;
use crate::contenders::tokio_raw::delay_queue::Queue;
use crate::row::{Bar, Better, Contender, Row, Scale};

pub(crate) const ROW: Row = Row {
    id: "6b",
    name: "timer-cancel",
    question: "cancel 200,000 timers in the order in which they were set",
    figures: &["timers"],
    unit: "M/s",
    better: Better::Higher,
    bars: &[Bar::to("DelayQueue", "timers", 2.0)],
    seconds: 1.2,
    contenders: &[
        Contender::run("mesh", run::<Mesh>),
        Contender::run("mesh outside", run::<MeshOutside>),
        Contender::run("DelayQueue", run::<Queue>),
        Contender::run("tokio task + sleep", run::<Tokio>),
        Contender::run("ractor", run::<Ractor>),
        Contender::run("kameo", run::<Kameo>),
        Contender::lacks("actix", "searches a list for each, in quadratic time"),
        Contender::lacks("xtra", "no timers"),
        Contender::lacks("bastion", "no timers"),
        Contender::erlang("timer-cancel", [200_000, 1_000]),
    ],
};

fn run<L: Timers>(scale: Scale) -> Vec<f64> {
    each_turn::<L>(scale, |cost| cost.cancel)
}
