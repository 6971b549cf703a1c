//! Row 5b: how many bytes of resident memory does an idle process hold?

use crate::contender::{Life, Spawns};
use crate::contenders::actix::Actix;
use crate::contenders::bastion::Bastion;
use crate::contenders::kameo::Kameo;
use crate::contenders::mesh::Mesh;
use crate::contenders::ractor::Ractor;
use crate::contenders::tokio_raw::Tokio;
use crate::contenders::xtra::Xtra;
use crate::measure::{Countdown, resident_bytes};
use crate::row::{Bar, Better, Contender, Row, Scale};

pub(crate) const ROW: Row = Row {
    id: "5b",
    name: "idle-memory",
    question: "resident memory for each of 100,000 idle processes, each variant in a program of its own",
    figures: &["a process"],
    unit: "B",
    better: Better::Lower,
    bars: &[
        Bar::of_itself("a process", 800.0),
        Bar::of_itself("a process", 600.0).stretch(),
    ],
    seconds: 0.5,
    contenders: &[
        Contender::run("mesh", run::<Mesh>),
        Contender::run("tokio", run::<Tokio>),
        Contender::run("ractor", run::<Ractor>),
        Contender::run("kameo", run::<Kameo>),
        Contender::run("actix", run::<Actix>),
        Contender::run("xtra", run::<Xtra>),
        Contender::run("bastion", run_few),
        Contender::erlang("idle-memory", [100_000, 2_000]),
    ],
};

fn run<L: Spawns>(scale: Scale) -> Vec<f64> {
    idle::<L>(scale.of(100_000, 2_000))
}

/// For those that start processes in quadratic time.
fn run_few(scale: Scale) -> Vec<f64> {
    idle::<Bastion>(scale.of(500, 50))
}

fn idle<L: Spawns>(count: u64) -> Vec<f64> {
    let work = move |library: L| async move {
        let begun = Countdown::of(count);
        let mut processes = Vec::with_capacity(usize::try_from(count).expect("small"));
        let before = resident_bytes();
        for _ in 0..count {
            let life = Life {
                begun: Some(begun.clone()),
                ended: None,
            };
            processes.push(library.spawn(life).await);
        }
        begun.zero().await;
        let bytes = resident_bytes().saturating_sub(before);
        assert_eq!(processes.len() as u64, count);
        vec![bytes as f64 / count as f64]
    };
    L::enter(work)
}
