//! Rows 14a and 14b: what do 10,000 clients cost that never come to the end of their request's header?

use crate::edge::webs::{Axum, Mesh, WarpByHand, WarpServe, Web, served};
use crate::measure::resident_bytes;
use crate::row::{Bar, Better, Contender, Row, Scale};

pub(crate) const MEMORY: Row = Row {
    id: "14a",
    name: "slow-loris-memory",
    question: "HTTP: resident memory of the server for each of 10,000 connections that stop within the header",
    figures: &["a connection"],
    unit: "KiB",
    better: Better::Lower,
    bars: &[Bar::of_itself("a connection", 25.0)],
    seconds: 3.0,
    contenders: &[
        Contender::run("mesh", memory::<Mesh>),
        Contender::run("warp by hand", memory::<WarpByHand>),
        Contender::run("warp serve", memory::<WarpServe>),
        Contender::run("axum", memory::<Axum>),
    ],
};

pub(crate) const LATENCY: Row = Row {
    id: "14b",
    name: "slow-loris-latency",
    question: "HTTP: how many times as long do the requests of 8 other clients take while 10,000 connections stop within the header",
    figures: &["median", "99th percentile"],
    unit: "×",
    better: Better::Lower,
    bars: &[Bar::of_itself("99th percentile", 2.0)],
    seconds: 4.0,
    contenders: &[
        Contender::run("mesh", latency::<Mesh>),
        Contender::run("warp by hand", latency::<WarpByHand>),
        Contender::run("warp serve", latency::<WarpServe>),
        Contender::run("axum", latency::<Axum>),
    ],
};

const OTHERS: u64 = 8;

fn memory<W: Web>(scale: Scale) -> Vec<f64> {
    vec![loris::<W>(scale).1]
}

fn latency<W: Web>(scale: Scale) -> Vec<f64> {
    loris::<W>(scale).0
}

/// How many times as long requests take, and the KiB of each slow connection.
fn loris<W: Web>(scale: Scale) -> (Vec<f64>, f64) {
    let (slow, each) = (scale.of(10_000, 20), scale.of(3_000, 10));
    W::enter(move |web| async move {
        let mut client = served(&web, slow + OTHERS).await;
        client.ask(&format!("connect {OTHERS}")).await;
        let latency = format!("latency {each}");
        client.ask(&latency).await;
        let alone = client.ask(&latency).await;
        let before = resident_bytes();
        assert_eq!(client.ask(&format!("half {slow}")).await, [slow as f64]);
        let beside = client.ask(&latency).await;
        let grown = resident_bytes().saturating_sub(before);
        let ratios = beside
            .iter()
            .zip(&alone)
            .map(|(beside, alone)| beside / alone);
        (ratios.collect(), grown as f64 / slow as f64 / 1024.0)
    })
}
