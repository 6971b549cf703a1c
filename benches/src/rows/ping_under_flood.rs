//! Row 10: how long does a call to an idle process take while four others always have messages waiting, on two workers? In microseconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::contender::{FLOOD, Floods};
use crate::contenders::actix::Actix;
use crate::contenders::bastion::Bastion;
use crate::contenders::kameo::Kameo;
use crate::contenders::mesh::Mesh;
use crate::contenders::ractor::Ractor;
use crate::contenders::tokio_raw::Tokio;
use crate::contenders::xtra::Xtra;
use crate::measure::percentile;
use crate::row::{Bar, Better, Contender, Row, Scale};

pub(crate) const ROW: Row = Row {
    id: "10",
    name: "ping-under-flood",
    question: "ping to an idle process while four processes send each message they take to themselves again; 2 workers",
    figures: &["p50", "p99"],
    unit: "µs",
    better: Better::Lower,
    bars: &[Bar::to("tokio", "p99", 2.0)],
    seconds: 1.0,
    contenders: &[
        Contender::run("mesh", run::<Mesh>),
        Contender::run("tokio", run::<Tokio>),
        Contender::run("ractor", run::<Ractor>),
        Contender::run("kameo", run::<Kameo>),
        Contender::run("actix", run::<Actix>),
        Contender::run("xtra", run::<Xtra>),
        Contender::run("bastion", run::<Bastion>),
        Contender::erlang("ping-under-flood", [20_000, 100]),
    ],
};

const FLOODED: usize = 4;
const WAITING: u64 = 1_000;

fn run<L: Floods>(scale: Scale) -> Vec<f64> {
    let pings = scale.of(20_000, 100);
    L::enter(move |library| ping::<L>(library, pings))
}

async fn ping<L: Floods>(library: L, pings: u64) -> Vec<f64> {
    let echo = library.echo().await;
    let taken: [Arc<AtomicU64>; FLOODED] = Default::default();
    for taken in &taken {
        library.flood(WAITING, taken.clone()).await;
    }
    let (done, pinged) = oneshot::channel();
    library.task(async move {
        let (mut took, mut number) = (Vec::new(), 0);
        // At least so many, and until each of the flooded has been through its mailbox once.
        while number < pings
            || taken
                .iter()
                .any(|one| one.load(Ordering::Relaxed) < WAITING)
        {
            let start = Instant::now();
            assert_eq!(L::call(&echo, number).await, number * 2);
            took.push(start.elapsed().as_secs_f64() * 1e6);
            number += 1;
        }
        done.send(took).expect("the row waits");
    });
    let mut took = pinged.await.expect("all pings are answered");
    FLOOD.store(false, Ordering::Relaxed);
    took.sort_by(f64::total_cmp);
    [0.5, 0.99].map(|share| percentile(&took, share)).to_vec()
}
