//! Row 7: how many times a second does a supervised process crash by a panic and live again? In thousands.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::contender::{Births, Crashes};
use crate::contenders::bastion::Bastion;
use crate::contenders::kameo::Kameo;
use crate::contenders::mesh::Mesh;
use crate::contenders::ractor::Ractor;
use crate::contenders::tokio_raw::Tokio;
use crate::measure::rate;
use crate::row::{Bar, Better, Contender, Row, Scale};

pub(crate) const ROW: Row = Row {
    id: "7",
    name: "crash",
    question: "crash and restart: a supervised process panics on its first message, again and again; restarts are counted against an intensity",
    figures: &["restarts"],
    unit: "k/s",
    better: Better::Higher,
    bars: &[Bar::to_best_peer("restarts", 1.5)],
    seconds: 0.7,
    contenders: &[
        Contender::run("mesh", run::<Mesh>),
        Contender::run("tokio bare respawn", run::<Tokio>),
        Contender::run("ractor", run::<Ractor>),
        Contender::run("kameo", run::<Kameo>),
        Contender::lacks("actix", "a panic ends the thread with all its actors"),
        Contender::lacks("xtra", "no supervision"),
        Contender::run("bastion", run::<Bastion>),
        Contender::erlang("crash", [20_000, 50]),
    ],
};

fn run<L: Crashes>(scale: Scale) -> Vec<f64> {
    let lives = scale.of(20_000, 50);
    let work = move |library: L| async move { rate(scale, lives, || crash(&library, lives)).await };
    vec![L::enter(work) / 1e3]
}

async fn crash<L: Crashes>(library: &L, lives: u64) -> Duration {
    let (done, finished) = oneshot::channel();
    let start = Instant::now();
    // The last life stays, and waits.
    library.crash(Births::new(lives + 1, done)).await;
    finished.await.expect("the last life tells");
    start.elapsed()
}
