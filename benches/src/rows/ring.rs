//! Row 4: how many hops a second does a token make around a ring of 1,000 processes? In millions.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::contender::Rings;
use crate::contenders::actix::Actix;
use crate::contenders::bastion::Bastion;
use crate::contenders::kameo::Kameo;
use crate::contenders::mesh::Mesh;
use crate::contenders::ractor::Ractor;
use crate::contenders::tokio_raw::Tokio;
use crate::contenders::xtra::Xtra;
use crate::measure::{millions, rate};
use crate::row::{Bar, Better, Contender, Row, Scale};

pub(crate) const ROW: Row = Row {
    id: "4",
    name: "ring",
    question: "ring: one token around 1,000 processes",
    figures: &["hops"],
    unit: "M/s",
    better: Better::Higher,
    bars: &[
        Bar::to("tokio", "hops", 1.0),
        Bar::to("actix", "hops", 1.0).stretch(),
    ],
    seconds: 0.7,
    contenders: &[
        Contender::run("mesh", run::<Mesh>),
        Contender::run("tokio", run::<Tokio>),
        Contender::run("ractor", run::<Ractor>),
        Contender::run("kameo", run::<Kameo>),
        Contender::run("actix", run::<Actix>),
        Contender::run("xtra", run::<Xtra>),
        Contender::run("bastion", run::<Bastion>),
        Contender::erlang("ring", [500, 1]),
    ],
};

fn run<L: Rings>(scale: Scale) -> Vec<f64> {
    let (nodes, laps) = (scale.of(1_000, 50), scale.of(500, 4));
    let work = move |library: L| async move {
        rate(scale, nodes * laps, || turn::<L>(&library, nodes, laps)).await
    };
    millions(L::enter(work))
}

/// The token has its count of hops, and ends where it began, which alone can tell.
async fn turn<L: Rings>(library: &L, nodes: u64, laps: u64) -> Duration {
    let (done, finished) = oneshot::channel();
    let first = library.node(None, Some(done)).await;
    let mut next = first.clone();
    for _ in 1..nodes {
        next = library.node(Some(next), None).await;
    }
    L::close(&first, next).await;
    let start = Instant::now();
    L::pass(&first, nodes * laps).await;
    finished.await.expect("the token comes back");
    start.elapsed()
}
