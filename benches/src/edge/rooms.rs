//! A room behind each WebSocket library: clients that listen, and one message to all of them. A task and a bounded queue each.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use mesh_runtime::ws::{self, Close, Connection, Frame, Next, Socket};
use mesh_runtime::{Strategy, Supervisor, System, http};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite;
use warp::Filter;

use super::webs::accept;
use crate::contender::Library;

/// Bytes of a message.
pub(crate) const PAYLOAD_BYTES: usize = 512;

/// What the clients are told in this round.
pub(crate) fn payload(round: u64) -> [u8; PAYLOAD_BYTES] {
    let mut text = [b'x'; PAYLOAD_BYTES];
    text[..8].copy_from_slice(format!("{round:08}").as_bytes());
    text
}

/// A library's server with one room, in its engine.
pub(crate) trait Rooms: Library {
    /// Puts every WebSocket client into the room until the engine ends.
    fn serve(&self, listener: TcpListener) -> impl Future<Output = ()> + Send;
    /// How many are in it.
    fn members(&self) -> usize;
    /// Tells all of them.
    fn broadcast(&self, text: Bytes);
}

/// Messages one client may have waiting, as in our rooms.
const QUEUE_MAX: usize = 256;

/// Ours: a process for each client.
#[derive(Clone)]
pub(crate) struct Mesh(System);

impl Library for Mesh {
    fn new() -> Mesh {
        Mesh(System::new())
    }
}

const ROOM: &str = "room";

struct Listener;

impl Socket for Listener {
    type Args = ();
    type Message = ();

    async fn on_connect((): (), cx: &mut Connection<()>) -> Result<Listener, Close> {
        cx.join(ROOM).expect("it has a name");
        Ok(Listener)
    }

    async fn on_message(&mut self, _frame: Frame, _cx: &mut Connection<()>) -> Next {
        Next::Continue
    }
}

impl Rooms for Mesh {
    async fn serve(&self, listener: TcpListener) {
        let route = ws::upgrade()
            .map(|upgrade: ws::Upgrade| upgrade.accept::<Listener>((), ws::Options::default()));
        let web = http::server("web", listener, route, http::Options::default());
        let tree = Supervisor::new(Strategy::OneForOne).child(web);
        self.0.supervise(tree).await.expect("it starts");
    }

    fn members(&self) -> usize {
        self.0.rooms().members(ROOM).len()
    }

    fn broadcast(&self, text: Bytes) {
        self.0.rooms().broadcast(ROOM, text);
    }
}

/// The senders of those who listen.
#[derive(Clone)]
struct Hall<T>(Arc<Mutex<Vec<mpsc::Sender<T>>>>);

impl<T: Clone> Hall<T> {
    fn new() -> Hall<T> {
        Hall(Arc::default())
    }

    fn enter(&self) -> mpsc::Receiver<T> {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        self.0.lock().expect("nobody panics with it").push(sender);
        receiver
    }

    fn len(&self) -> usize {
        self.0.lock().expect("nobody panics with it").len()
    }

    fn tell(&self, message: &T) {
        for member in &*self.0.lock().expect("nobody panics with it") {
            let told = member.try_send(message.clone());
            assert!(told.is_ok(), "a client left, or is too slow");
        }
    }
}

/// Sends what is told in the hall, and listens to the client, until it leaves.
macro_rules! talk {
    ($socket:ident, $told:ident) => {
        loop {
            tokio::select! {
                message = $told.recv() => {
                    let Some(message) = message else { break };
                    if $socket.send(message).await.is_err() {
                        break;
                    }
                }
                heard = $socket.next() => {
                    if !matches!(heard, Some(Ok(_))) {
                        break;
                    }
                }
            }
        }
    };
}

/// `warp::ws`, its filter served by hand, as its own server does not set `TCP_NODELAY`.
#[derive(Clone)]
pub(crate) struct Warp(Hall<warp::ws::Message>);

impl Library for Warp {
    fn new() -> Warp {
        Warp(Hall::new())
    }
}

impl Rooms for Warp {
    async fn serve(&self, listener: TcpListener) {
        let hall = self.0.clone();
        let route = warp::ws().map(move |upgrade: warp::ws::Ws| {
            let hall = hall.clone();
            upgrade.on_upgrade(|mut socket| async move {
                let mut told = hall.enter();
                talk!(socket, told);
            })
        });
        let service = TowerToHyperService::new(warp::service(route));
        accept(listener, move |stream| {
            let service = service.clone();
            async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                let connection =
                    builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
                drop(connection.await);
            }
        });
    }

    fn members(&self) -> usize {
        self.0.len()
    }

    fn broadcast(&self, text: Bytes) {
        let text = String::from_utf8(text.into()).expect("it is ASCII");
        self.0.tell(&warp::ws::Message::text(text));
    }
}

/// `tokio-tungstenite` with buffers of 4 KiB instead of 128.
#[derive(Clone)]
pub(crate) struct Tungstenite(Hall<tungstenite::Message>);

impl Library for Tungstenite {
    fn new() -> Tungstenite {
        Tungstenite(Hall::new())
    }
}

const SMALL_BUFFER_BYTES: usize = 4 * 1024;

impl Rooms for Tungstenite {
    async fn serve(&self, listener: TcpListener) {
        let hall = self.0.clone();
        accept(listener, move |stream| {
            let hall = hall.clone();
            async move {
                let config = tungstenite::protocol::WebSocketConfig::default()
                    .read_buffer_size(SMALL_BUFFER_BYTES)
                    .write_buffer_size(SMALL_BUFFER_BYTES);
                let accepted =
                    tokio_tungstenite::accept_async_with_config(stream, Some(config)).await;
                let mut socket = accepted.expect("the handshake is right");
                let mut told = hall.enter();
                talk!(socket, told);
            }
        });
    }

    fn members(&self) -> usize {
        self.0.len()
    }

    fn broadcast(&self, text: Bytes) {
        let text = tungstenite::Utf8Bytes::try_from(text).expect("it is ASCII");
        self.0.tell(&tungstenite::Message::Text(text));
    }
}

/// `tokio-websockets`.
#[derive(Clone)]
pub(crate) struct Websockets(Hall<tokio_websockets::Message>);

impl Library for Websockets {
    fn new() -> Websockets {
        Websockets(Hall::new())
    }
}

impl Rooms for Websockets {
    async fn serve(&self, listener: TcpListener) {
        let hall = self.0.clone();
        accept(listener, move |stream| {
            let hall = hall.clone();
            async move {
                let accepted = tokio_websockets::ServerBuilder::new().accept(stream).await;
                let (_, mut socket) = accepted.expect("the handshake is right");
                let mut told = hall.enter();
                talk!(socket, told);
            }
        });
    }

    fn members(&self) -> usize {
        self.0.len()
    }

    fn broadcast(&self, text: Bytes) {
        self.0.tell(&tokio_websockets::Message::text(text));
    }
}
