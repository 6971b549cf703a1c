//! Row 13: how many times a second is a connection taken from a pool and given back? In thousands.

use std::time::Instant;

use crate::edge::database::Database;
use crate::edge::pools::{Bb8, Bb8Untested, CONNECTIONS, Deadpool, Mesh, Pools};
use crate::measure::rate;
use crate::row::{Bar, Better, Contender, Row, Scale};

pub(crate) const ROW: Row = Row {
    id: "13",
    name: "pool-checkout",
    question: "PostgreSQL: 16 callers take one of 4 connections and give it back, at once or after `SELECT 1`",
    figures: &["checkouts", "with a query"],
    unit: "k/s",
    better: Better::Higher,
    bars: &[
        Bar::to("bb8", "checkouts", 0.9),
        Bar::to("bb8 untested", "checkouts", 0.9),
        Bar::to("bb8 untested", "with a query", 0.9),
    ],
    seconds: 4.0,
    contenders: &[
        Contender::run("mesh", run::<Mesh>),
        Contender::run("bb8", run::<Bb8>),
        Contender::run("bb8 untested", run::<Bb8Untested>),
        Contender::run("deadpool", run::<Deadpool>),
    ],
};

const CALLERS: u64 = 16;

fn run<P: Pools>(scale: Scale) -> Vec<f64> {
    P::enter(move |library: P| async move {
        let database = Database::start().await;
        let pool = library.open(database.config()).await;
        // Every connection is open before the clock runs.
        callers::<P>(&pool, CONNECTIONS as u64, true).await;
        let mut figures = Vec::new();
        for (ask, each) in [(false, scale.of(2_000, 5)), (true, scale.of(200, 2))] {
            let turn = async || {
                let began = Instant::now();
                callers::<P>(&pool, each, ask).await;
                began.elapsed()
            };
            figures.push(rate(scale, CALLERS * each, turn).await / 1e3);
        }
        figures
    })
}

async fn callers<P: Pools>(pool: &P::Pool, each: u64, ask: bool) {
    let task = |_| {
        let pool = pool.clone();
        tokio::spawn(async move {
            for _ in 0..each {
                P::use_one(&pool, ask).await;
            }
        })
    };
    let tasks: Vec<_> = (0..CALLERS).map(task).collect();
    for task in tasks {
        task.await.expect("every connection answers");
    }
}
