//! Row 11: how many HTTP requests a second does a tiny handler answer? In thousands.

use std::time::Duration;

use crate::edge::webs::{Axum, HyperByHand, Mesh, WarpByHand, WarpServe, Web, served};
use crate::measure::rate;
use crate::row::{Bar, Better, Contender, Row, Scale};

pub(crate) const ROW: Row = Row {
    id: "11",
    name: "http",
    question: "HTTP/1.1: 64 kept connections, one request at a time on each, a parameter of the path in and JSON out; the client is a process of its own",
    figures: &["requests"],
    unit: "k/s",
    better: Better::Higher,
    bars: &[Bar::to("warp by hand", "requests", 0.95)],
    seconds: 3.0,
    contenders: &[
        Contender::run("mesh", run::<Mesh>),
        Contender::run("warp by hand", run::<WarpByHand>),
        Contender::run("warp serve", run::<WarpServe>),
        Contender::run("axum", run::<Axum>),
        Contender::run("hyper by hand", run::<HyperByHand>),
    ],
};

fn run<W: Web>(scale: Scale) -> Vec<f64> {
    let (connections, each) = (scale.of(64, 4), scale.of(800, 5));
    W::enter(move |web| async move {
        let client = served(&web, connections).await;
        let client = tokio::sync::Mutex::new(client);
        let ask = async |question: String| client.lock().await.ask(&question).await[0];
        let open = ask(format!("connect {connections}")).await;
        assert_eq!(open, connections as f64);
        let turn = async || Duration::from_nanos(ask(format!("go {each}")).await as u64);
        vec![rate(scale, connections * each, turn).await / 1e3]
    })
}
