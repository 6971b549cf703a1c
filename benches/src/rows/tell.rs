//! Row 1: how many small messages a second does one process take from one sender? In millions.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::contender::{Sinks, Tally};
use crate::contenders::actix::Actix;
use crate::contenders::bastion::Bastion;
use crate::contenders::kameo::Kameo;
use crate::contenders::mesh::{Mesh, MeshBounded, MeshClosure};
use crate::contenders::ractor::Ractor;
use crate::contenders::tokio_raw::{Tokio, TokioBounded, TokioMany};
use crate::contenders::xtra::Xtra;
use crate::measure::{millions, rate};
use crate::row::{Bar, Better, Contender, Row, Scale};

pub(crate) const ROW: Row = Row {
    id: "1",
    name: "tell",
    question: "tell: small messages from one sender to one process",
    figures: &["messages"],
    unit: "M/s",
    better: Better::Higher,
    bars: &[
        Bar::to("tokio recv_many", "messages", 1.0),
        Bar::to_best_peer("messages", 4.0),
    ],
    seconds: 0.8,
    contenders: &[
        Contender::run("mesh", run::<Mesh>),
        Contender::run("tokio recv_many", run::<TokioMany>),
        Contender::run("tokio", run::<Tokio>),
        Contender::run("mesh closure", run::<MeshClosure>),
        Contender::run("mesh bounded", run::<MeshBounded>),
        Contender::run("tokio bounded", run::<TokioBounded>),
        Contender::run("ractor", run::<Ractor>),
        Contender::run("kameo", run::<Kameo>),
        Contender::run("actix", run::<Actix>),
        Contender::run("xtra", run::<Xtra>),
        Contender::run("bastion", run::<Bastion>),
        Contender::erlang("tell", [1_000_000, 2_000]),
    ],
};

fn run<L: Sinks>(scale: Scale) -> Vec<f64> {
    let messages = scale.of(1_000_000, 2_000);
    let work = move |library: L| async move {
        rate(scale, messages, || pour::<L>(&library, 1, messages)).await
    };
    millions(L::enter(work))
}

/// A sender lets others run after so many messages, when it is not alone.
const TURN: u64 = 256;

/// The work of this row and the next: `senders` tasks send `each` numbers to one process; the sum is verified.
pub(super) async fn pour<L: Sinks>(library: &L, senders: u64, each: u64) -> Duration {
    let (done, finished) = oneshot::channel();
    let sink = library.sink(Tally::new(senders * each, done)).await;
    let start = Instant::now();
    for _ in 0..senders {
        let sink = sink.clone();
        library.task(async move {
            for number in 0..each {
                L::tell(&sink, number).await;
                if senders > 1 && number % TURN == TURN - 1 {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    let sum = finished.await.expect("the process takes all");
    let took = start.elapsed();
    assert_eq!(sum, senders * (each * (each - 1) / 2));
    took
}
