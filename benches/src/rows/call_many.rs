//! Row 3b: how many calls a second does one process answer when 100 callers wait at the same time? In millions.

use super::call::ask;
use crate::contender::Echoes;
use crate::contenders::actix::Actix;
use crate::contenders::bastion::Bastion;
use crate::contenders::kameo::Kameo;
use crate::contenders::mesh::Mesh;
use crate::contenders::ractor::Ractor;
use crate::contenders::tokio_raw::{Tokio, TokioTimeout};
use crate::contenders::xtra::Xtra;
use crate::measure::{millions, rate};
use crate::row::{Bar, Better, Contender, Row, Scale};

pub(crate) const ROW: Row = Row {
    id: "3b",
    name: "call-many",
    question: "call: 100 callers at the same time to one process",
    figures: &["calls"],
    unit: "M/s",
    better: Better::Higher,
    bars: &[
        Bar::to("tokio mpsc + oneshot", "calls", 0.8),
        Bar::to_best_peer("calls", 1.0),
    ],
    seconds: 0.7,
    contenders: &[
        Contender::run("mesh", run::<Mesh>),
        Contender::run("tokio mpsc + oneshot", run::<Tokio>),
        Contender::run("tokio with timeout", run::<TokioTimeout>),
        Contender::run("ractor", run::<Ractor>),
        Contender::run("kameo", run::<Kameo>),
        Contender::run("actix", run::<Actix>),
        Contender::run("xtra", run::<Xtra>),
        Contender::run("bastion", run::<Bastion>),
        Contender::erlang("call-many", [3_000, 10]),
    ],
};

const CALLERS: u64 = 100;

fn run<L: Echoes>(scale: Scale) -> Vec<f64> {
    let each = scale.of(3_000, 10);
    let work = move |library: L| async move {
        rate(scale, CALLERS * each, || ask::<L>(&library, CALLERS, each)).await
    };
    millions(L::enter(work))
}
