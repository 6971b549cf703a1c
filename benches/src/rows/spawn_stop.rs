//! Row 5a: how many processes a second are started and stopped, a thousand at a time? In millions.

use std::time::{Duration, Instant};

use crate::contender::{Life, Spawns};
use crate::contenders::actix::Actix;
use crate::contenders::kameo::Kameo;
use crate::contenders::mesh::Mesh;
use crate::contenders::ractor::Ractor;
use crate::contenders::tokio_raw::Tokio;
use crate::contenders::xtra::Xtra;
use crate::measure::{Countdown, millions, rate};
use crate::row::{Bar, Better, Contender, Row, Scale};

pub(crate) const ROW: Row = Row {
    id: "5a",
    name: "spawn-stop",
    question: "spawn a thousand processes, stop each by a message, wait until all have ended; again and again",
    figures: &["processes"],
    unit: "M/s",
    better: Better::Higher,
    bars: &[
        Bar::to("tokio", "processes", 0.8),
        Bar::to("erlang", "processes", 1.0),
        Bar::to("ractor", "processes", 3.0),
        Bar::to("kameo", "processes", 3.0),
    ],
    seconds: 0.8,
    contenders: &[
        Contender::run("mesh", run::<Mesh>),
        Contender::run("tokio", run::<Tokio>),
        Contender::run("ractor", run::<Ractor>),
        Contender::run("kameo", run::<Kameo>),
        Contender::run("actix", run::<Actix>),
        Contender::run("xtra", run::<Xtra>),
        Contender::lacks("bastion", "starts groups in quadratic time"),
        Contender::erlang("spawn-stop", [50, 1]),
    ],
};

const WAVE: u64 = 1_000;

fn run<L: Spawns>(scale: Scale) -> Vec<f64> {
    let waves = scale.of(50, 1);
    let work = move |library: L| async move {
        rate(scale, WAVE * waves, || live::<L>(&library, waves)).await
    };
    millions(L::enter(work))
}

async fn live<L: Spawns>(library: &L, waves: u64) -> Duration {
    let ended = Countdown::default();
    let start = Instant::now();
    let mut processes = Vec::new();
    for _ in 0..waves {
        ended.again(WAVE);
        for _ in 0..WAVE {
            let life = Life {
                begun: None,
                ended: Some(ended.clone()),
            };
            processes.push(library.spawn(life).await);
        }
        for process in processes.drain(..) {
            L::stop(process).await;
        }
        ended.zero().await;
    }
    start.elapsed()
}
