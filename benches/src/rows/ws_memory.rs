//! Row 12b: how much resident memory does the server hold for each WebSocket client? In KiB.

use super::ws_fan_out::fan_out;
use crate::edge::rooms::{Mesh, Rooms, Tungstenite, Warp, Websockets};
use crate::row::{Bar, Better, Contender, Row, Scale};

pub(crate) const ROW: Row = Row {
    id: "12b",
    name: "ws-memory",
    question: "WebSocket: resident memory of the server for each of 5,000 clients in a room, after three messages to all",
    figures: &["a connection"],
    unit: "KiB",
    better: Better::Lower,
    bars: &[Bar::of_itself("a connection", 25.0)],
    seconds: 3.0,
    contenders: &[
        Contender::run("mesh", run::<Mesh>),
        Contender::run("warp::ws", run::<Warp>),
        Contender::run("tokio-tungstenite", run::<Tungstenite>),
        Contender::run("tokio-websockets", run::<Websockets>),
    ],
};

fn run<R: Rooms>(scale: Scale) -> Vec<f64> {
    let (_, bytes) = fan_out::<R>(vec![scale.of(5_000, 10)], 3);
    vec![bytes / 1024.0]
}
