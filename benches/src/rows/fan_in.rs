//! Row 2: how many small messages a second does one process take from eight senders? In millions.

use super::tell::pour;
use crate::contender::Sinks;
use crate::contenders::actix::Actix;
use crate::contenders::bastion::Bastion;
use crate::contenders::kameo::Kameo;
use crate::contenders::mesh::{Mesh, MeshBounded};
use crate::contenders::ractor::Ractor;
use crate::contenders::tokio_raw::{Tokio, TokioBounded, TokioMany};
use crate::contenders::xtra::Xtra;
use crate::measure::{millions, rate};
use crate::row::{Bar, Better, Contender, Row, Scale};

pub(crate) const ROW: Row = Row {
    id: "2",
    name: "fan-in",
    question: "fan-in: small messages from 8 senders, which take turns, to one process",
    figures: &["messages"],
    unit: "M/s",
    better: Better::Higher,
    bars: &[Bar::to("tokio", "messages", 1.2)],
    seconds: 0.8,
    contenders: &[
        Contender::run("mesh", run::<Mesh>),
        Contender::run("tokio", run::<Tokio>),
        Contender::run("tokio recv_many", run::<TokioMany>),
        Contender::run("mesh bounded", run::<MeshBounded>),
        Contender::run("tokio bounded", run::<TokioBounded>),
        Contender::run("ractor", run::<Ractor>),
        Contender::run("kameo", run::<Kameo>),
        Contender::run("actix", run::<Actix>),
        Contender::run("xtra", run::<Xtra>),
        Contender::run("bastion", run::<Bastion>),
        Contender::erlang("fan-in", [100_000, 500]),
    ],
};

const SENDERS: u64 = 8;

fn run<L: Sinks>(scale: Scale) -> Vec<f64> {
    let each = scale.of(100_000, 500);
    let work = move |library: L| async move {
        rate(scale, SENDERS * each, || pour::<L>(&library, SENDERS, each)).await
    };
    millions(L::enter(work))
}
