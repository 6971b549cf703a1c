//! Row 12a: how long until one message has reached all WebSocket clients in a room? In milliseconds.

use std::time::Instant;

use bytes::Bytes;

use crate::edge::client::OtherSide;
use crate::edge::files::room_for;
use crate::edge::listen;
use crate::edge::rooms::{Mesh, Rooms, Tungstenite, Warp, Websockets, payload};
use crate::measure::{percentile, resident_bytes};
use crate::row::{Bar, Better, Contender, Row, Scale};

pub(crate) const ROW: Row = Row {
    id: "12a",
    name: "ws-fan-out",
    question: "WebSocket: one message of 512 bytes to everybody in a room, until all have it; the clients are a process of their own",
    figures: &["1,000 clients", "5,000 clients"],
    unit: "ms",
    better: Better::Lower,
    bars: &[
        Bar::to_best_peer("5,000 clients", 1.1),
        Bar::to_best_peer("1,000 clients", 1.1).stretch(),
    ],
    seconds: 4.0,
    contenders: &[
        Contender::run("mesh", run::<Mesh>),
        Contender::run("warp::ws", run::<Warp>),
        Contender::run("tokio-tungstenite", run::<Tungstenite>),
        Contender::run("tokio-websockets", run::<Websockets>),
    ],
};

fn run<R: Rooms>(scale: Scale) -> Vec<f64> {
    let sizes = scale.of(vec![1_000, 5_000], vec![5, 10]);
    fan_out::<R>(sizes, scale.of(11, 2)).0
}

/// For each size of the room the median time of its rounds, in milliseconds; and at last the resident bytes of each connection.
pub(super) fn fan_out<R: Rooms>(sizes: Vec<u64>, rounds: u64) -> (Vec<f64>, f64) {
    R::enter(move |library: R| async move {
        let most = sizes.iter().copied().max().unwrap_or(0);
        room_for(most);
        let (listener, address) = listen();
        library.serve(listener).await;
        let mut client = OtherSide::start("ws", address);
        let before = resident_bytes();
        let (mut medians, mut round) = (Vec::new(), 0);
        for size in sizes {
            let open = client.ask(&format!("connect {size}")).await;
            assert_eq!(open, [size as f64]);
            while (library.members() as u64) < size {
                tokio::task::yield_now().await;
            }
            let mut times = Vec::new();
            for _ in 0..rounds {
                let began = Instant::now();
                library.broadcast(Bytes::copy_from_slice(&payload(round)));
                assert_eq!(client.hear().await, [size as f64], "all have it");
                times.push(began.elapsed().as_secs_f64() * 1e3);
                round += 1;
            }
            times.sort_by(f64::total_cmp);
            medians.push(percentile(&times, 0.5));
        }
        let grown = resident_bytes().saturating_sub(before);
        (medians, grown as f64 / most as f64)
    })
}
