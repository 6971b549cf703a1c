//! Row 8: how many deliveries a second does a broadcast to 10,000 members make? In millions.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::contender::{Broadcasts, Member};
use crate::contenders::actix::Actix;
use crate::contenders::bastion::Bastion;
use crate::contenders::kameo::Kameo;
use crate::contenders::mesh::Mesh;
use crate::contenders::ractor::Ractor;
use crate::contenders::tokio_raw::Tokio;
use crate::contenders::xtra::Xtra;
use crate::measure::{Countdown, millions, rate};
use crate::row::{Bar, Better, Contender, Row, Scale};

pub(crate) const ROW: Row = Row {
    id: "8",
    name: "broadcast",
    question: "broadcast 512 shared bytes to 10,000 members, 10 times in a row, and wait until all have taken all",
    figures: &["deliveries"],
    unit: "M/s",
    better: Better::Higher,
    bars: &[Bar::to("tokio Vec of senders", "deliveries", 0.8)],
    seconds: 0.8,
    contenders: &[
        Contender::run("mesh", run::<Mesh>),
        Contender::run("tokio Vec of senders", run::<Tokio>),
        Contender::run("ractor", run::<Ractor>),
        Contender::run("kameo", run::<Kameo>),
        Contender::run("actix", run::<Actix>),
        Contender::run("xtra", run::<Xtra>),
        Contender::run("bastion", run::<Bastion>),
        Contender::erlang("broadcast", [10_000, 100]),
    ],
};

/// Less than a member may have waiting.
const BURST: u64 = 10;

fn run<L: Broadcasts>(scale: Scale) -> Vec<f64> {
    let members = scale.of(10_000, 100);
    let work = move |library: L| async move {
        let seen = Countdown::default();
        let member = seen.clone();
        let room = library
            .room(members, move || Member::new(BURST, member.clone()))
            .await;
        let turn = || burst::<L>(&room, &seen, members as u64);
        rate(scale, BURST * members as u64, turn).await
    };
    millions(L::enter(work))
}

async fn burst<L: Broadcasts>(room: &L::Room, seen: &Countdown, members: u64) -> Duration {
    let frame = Bytes::from(vec![7; 512]);
    seen.again(members);
    let start = Instant::now();
    for _ in 0..BURST {
        L::broadcast(room, frame.clone()).await;
    }
    seen.zero().await;
    start.elapsed()
}
