//! Row 9: how many times a second is one of 100,000 names looked up by two threads? In millions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::contender::Names;
use crate::contenders::kameo::Kameo;
use crate::contenders::mesh::Mesh;
use crate::contenders::ractor::Ractor;
use crate::contenders::tokio_raw::Tokio;
use crate::measure::{Chance, millions, rate};
use crate::row::{Bar, Better, Contender, Row, Scale};

pub(crate) const ROW: Row = Row {
    id: "9",
    name: "registry",
    question: "registry: two threads look up random names among 100,000 and get an address to send to",
    figures: &["lookups"],
    unit: "M/s",
    better: Better::Higher,
    bars: &[Bar::to("DashMap of senders", "lookups", 1.2)],
    seconds: 1.0,
    contenders: &[
        Contender::run("mesh", run::<Mesh>),
        Contender::run("DashMap of senders", run::<Tokio>),
        Contender::run("ractor", run::<Ractor>),
        Contender::run("kameo", run::<Kameo>),
        Contender::lacks("actix", "no names, one actor of a type"),
        Contender::lacks("xtra", "no names"),
        Contender::lacks("bastion", "no names, `Distributor`s are groups"),
        Contender::erlang("registry", [100_000, 100]),
    ],
};

const THREADS: u64 = 2;

fn run<L: Names>(scale: Scale) -> Vec<f64> {
    let (names, each) = (scale.of(100_000, 100), scale.of(200_000, 200));
    let work = move |library: L| async move {
        let names: Vec<String> = (0..names).map(|at| format!("process-{at}")).collect();
        library.register(names.clone()).await;
        let names: Arc<[String]> = names.into();
        let turn = || async { look_up(&library, &names, each) };
        rate(scale, THREADS * each, turn).await
    };
    millions(L::enter(work))
}

fn look_up<L: Names>(library: &L, names: &Arc<[String]>, each: u64) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                let mut chance = Chance(thread);
                let find =
                    |_: &u64| library.lookup(&names[chance.below(names.len() as u64) as usize]);
                assert_eq!((0..each).filter(find).count() as u64, each);
            });
        }
    });
    start.elapsed()
}
