//! Row 3a: how long does a call take when one caller waits for each answer? In nanoseconds a round trip.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::contender::Echoes;
use crate::contenders::actix::Actix;
use crate::contenders::bastion::Bastion;
use crate::contenders::kameo::Kameo;
use crate::contenders::mesh::Mesh;
use crate::contenders::ractor::Ractor;
use crate::contenders::tokio_raw::{Tokio, TokioTimeout};
use crate::contenders::xtra::Xtra;
use crate::measure::rate;
use crate::row::{Bar, Better, Contender, Row, Scale};

pub(crate) const ROW: Row = Row {
    id: "3a",
    name: "call",
    question: "call: one caller, one call after the other; ours under its deadline of 5 s",
    figures: &["round trip"],
    unit: "ns",
    better: Better::Lower,
    bars: &[
        Bar::to("tokio mpsc + oneshot", "round trip", 1.25),
        Bar::to("tokio with timeout", "round trip", 1.0),
    ],
    seconds: 0.7,
    contenders: &[
        Contender::run("mesh", run::<Mesh>),
        Contender::run("tokio mpsc + oneshot", run::<Tokio>),
        Contender::run("tokio with timeout", run::<TokioTimeout>),
        Contender::run("ractor", run::<Ractor>),
        Contender::run("kameo", run::<Kameo>),
        Contender::run("actix", run::<Actix>),
        Contender::run("xtra", run::<Xtra>),
        Contender::run("bastion", run::<Bastion>),
        Contender::erlang("call", [100_000, 500]),
    ],
};

fn run<L: Echoes>(scale: Scale) -> Vec<f64> {
    let calls = scale.of(100_000, 500);
    let work =
        move |library: L| async move { rate(scale, calls, || ask::<L>(&library, 1, calls)).await };
    vec![1e9 / L::enter(work)]
}

/// The work of this row and the next: `callers` tasks make `each` calls to one process; the answers are verified.
pub(super) async fn ask<L: Echoes>(library: &L, callers: u64, each: u64) -> Duration {
    let echo = library.echo().await;
    let start = Instant::now();
    let mut ends = Vec::new();
    for _ in 0..callers {
        let (echo, (done, end)) = (echo.clone(), oneshot::channel());
        library.task(async move {
            let mut sum = 0;
            for number in 0..each {
                sum += L::call(&echo, number).await;
            }
            done.send(sum).expect("the row waits");
        });
        ends.push(end);
    }
    let mut sum = 0;
    for end in ends {
        sum += end.await.expect("all calls are answered");
    }
    let took = start.elapsed();
    assert_eq!(sum, callers * each * (each - 1));
    took
}
