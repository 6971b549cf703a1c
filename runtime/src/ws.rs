//! WebSockets: take an upgraded stream over, with a process for each connection.
//!
//! [`upgrade`] is a warp filter for routes served by [`http::server`]; [`Upgrade::accept`] answers 101 and starts a
//! process that runs a [`Socket`]. The process is a child of the server's connections, and keeps the connection's place in their count.
//!
//! What the process does by itself: it answers pings, asks a silent peer every 30 s and closes 1001 when there is no answer for 10 s,
//! closes 1008 when it pings on and on and takes no answer, 1009 over the message limit, 1007 for text that is not UTF-8, 1002 for a broken protocol, 1011 when the
//! handler panics, 1001 when the server stops. It closes exactly once.
//!
//! Sending never waits. Frames queue up to a bound; a peer too slow for it loses the oldest, and before the next frame gets
//! the text `{"missed":n}`. Room frames go straight to that queue, past the handler.
//!
//! # Examples
//! ```
//! use mesh_runtime::ws::{self, Close, Connection, Frame, Next, Socket};
//! use warp::Filter;
//!
//! struct Echo;
//!
//! impl Socket for Echo {
//!     type Args = ();
//!     type Message = ();
//!
//!     async fn on_connect((): (), _cx: &mut Connection<()>) -> Result<Self, Close> {
//!         Ok(Echo)
//!     }
//!
//!     async fn on_message(&mut self, frame: Frame, cx: &mut Connection<()>) -> Next {
//!         match frame {
//!             Frame::Text(text) => cx.send_text(text),
//!             Frame::Binary(bytes) => cx.send_binary(bytes),
//!             _ => {}
//!         }
//!         Next::Continue
//!     }
//! }
//!
//! let route = warp::path!("echo")
//!     .and(ws::upgrade())
//!     .map(|upgrade: ws::Upgrade| upgrade.accept::<Echo>((), ws::Options::default()));
//! # let _ = route;
//! ```

mod connection;
mod frame;
mod handshake;
mod heartbeat;
mod outbox;
mod outgoing;
mod side;
mod stream;
mod wire;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use hyper::header::{
    CONNECTION, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, StatusCode};
use warp::reply::Response;
use warp::{Filter, Rejection, Reply};

pub use connection::Connection;
pub use frame::{Close, Frame};

use crate::RoomPolicy;
use crate::http::{self, upgrade::Takeover};
use handshake::Refusal;

/// Bytes of one message at most: what a browser may reasonably send at once.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Time between two pings: below the 60 s after which the common proxies cut a silent connection.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// Longest wait for the answer to a ping.
const PONG_TIMEOUT: Duration = Duration::from_secs(10);
/// Frames that may wait for a slow peer: as many as a room keeps for a slow member.
const QUEUE_MAX: usize = 256;
/// Bytes of frames that may wait for a slow peer.
const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Pings of a peer that takes nothing of what is written to it, in pings. Each leaves an answer in the socket's queue; whoever asks so often
/// and does not listen wants the memory.
const PINGS_MAX: usize = 1_024;
/// Longest wait for a close frame to be sent and answered.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Whose pages may open a WebSocket here. Clients that are no browsers send no origin, and pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Pages from anywhere.
    Any,
    /// Pages whose origin has the authority of the request's host header.
    SameHost,
    /// Pages from these origins, written as browsers write them: `https://example.com`.
    Listed(Vec<String>),
}

/// Bounds and rules of one connection.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of one message from the peer at most; more closes 1009. Default 16 MiB.
    pub message_bytes_max: usize,
    /// Time between two pings. Default 30 s.
    pub ping_interval: Duration,
    /// Longest wait for the answer to a ping; then the connection closes 1001. Default 10 s.
    pub pong_timeout: Duration,
    /// Frames that may wait for a slow peer, at least 1. Default 256.
    pub queue_max: usize,
    /// Bytes of frames that may wait for a slow peer; one frame always may. Default 4 MiB.
    pub queue_bytes_max: usize,
    /// What becomes of a peer for which more waits: the oldest frames make room and it is told how many it missed, or the connection
    /// closes 1013. Default `DropOldest`.
    pub slow_peer: RoomPolicy,
    /// Longest wait for a close frame to be sent and answered. Default 5 s.
    pub close_timeout: Duration,
    /// Whose pages may connect. Default [`Origins::SameHost`].
    pub origins: Origins,
    /// Sub-protocols that are spoken, the preferred first: the first that the client offers is agreed on, see [`Connection::protocol`].
    /// A client that offers none of them is answered without one. Default none.
    pub protocols: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            message_bytes_max: MESSAGE_BYTES_MAX,
            ping_interval: PING_INTERVAL,
            pong_timeout: PONG_TIMEOUT,
            queue_max: QUEUE_MAX,
            queue_bytes_max: QUEUE_BYTES_MAX,
            slow_peer: RoomPolicy::DropOldest,
            close_timeout: CLOSE_TIMEOUT,
            origins: Origins::SameHost,
            protocols: Vec::new(),
        }
    }
}

/// What a callback wants to happen next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Go on.
    Continue,
    /// Close with this code and reason, after what is queued.
    Close(u16, String),
}

/// One end of one WebSocket. The callbacks run one at a time, in a process of their own. While one waits for something, the connection goes on
/// by itself: what was sent goes out, and so do room frames; pings are sent; the peer is read up to its next message, so that its pings and its
/// close are answered, and its silence is noticed, up to there. That message waits until the callback is done with all that comes behind it, and
/// so do messages of other processes and the end of the server, so a callback that has long work hands it to a [`Job`](crate::Job) or another process.
///
/// A panic in a callback closes 1011 and ends the process as a panic does; nobody else notices.
pub trait Socket: Sized + Send + 'static {
    /// What the route hands to [`on_connect`](Self::on_connect).
    type Args: Send + 'static;
    /// What other processes, timers and jobs send to [`Connection::address`].
    type Message: Send + 'static;

    /// The stream is open. `Err` closes it at once; that closing is not reported to [`on_close`](Self::on_close).
    fn on_connect(
        args: Self::Args,
        cx: &mut Connection<Self::Message>,
    ) -> impl Future<Output = Result<Self, Close>> + Send;

    /// The peer sent a message.
    fn on_message(
        &mut self,
        frame: Frame,
        cx: &mut Connection<Self::Message>,
    ) -> impl Future<Output = Next> + Send;

    /// Another process sent a message.
    fn on_info(
        &mut self,
        message: Self::Message,
        cx: &mut Connection<Self::Message>,
    ) -> impl Future<Output = Next> + Send {
        drop(message);
        let _ = cx;
        async { Next::Continue }
    }

    /// The connection has ended, by whichever side: called once, unless a callback panicked or the process was killed.
    fn on_close(&mut self, code: u16, reason: &str) {
        let _ = (code, reason);
    }
}

/// A request that asks for a WebSocket. [`accept`](Self::accept) answers it.
pub struct Upgrade {
    headers: HeaderMap,
    takeover: Takeover,
    on_upgrade: Option<OnUpgrade>,
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade")
            .field("origin", &self.origin())
            .finish_non_exhaustive()
    }
}

/// Extracts the [`Upgrade`] of a GET request that asks for a WebSocket; any other request is rejected as not found, so that another
/// route may answer it.
///
/// Rejects when the filter is not served by [`http::server`].
#[must_use]
pub fn upgrade() -> impl Filter<Extract = (Upgrade,), Error = Rejection> + Copy {
    warp::get()
        .and(warp::header::headers_cloned())
        .and(http::takeover())
        .and(warp::ext::optional::<OnUpgrade>())
        .and_then(|headers: HeaderMap, takeover, on_upgrade| async move {
            if handshake::is_asked(&headers) {
                Ok(Upgrade {
                    headers,
                    takeover,
                    on_upgrade,
                })
            } else {
                Err(warp::reject::not_found())
            }
        })
}

impl Upgrade {
    /// The origin of the page that asks, if the client named one.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        self.headers.get(ORIGIN)?.to_str().ok()
    }

    /// Answers 101 and has a process run `H` on the stream; or refuses: 400 for a malformed handshake, 426 for another version of the
    /// protocol, 403 for an origin that is not allowed.
    #[must_use]
    pub fn accept<H: Socket>(self, args: H::Args, options: Options) -> impl Reply + use<H> {
        let agreed = handshake::check_origin(&self.headers, &options.origins)
            .and_then(|()| handshake::agree(&self.headers));
        let (key, on_upgrade) = match (agreed, self.on_upgrade) {
            (Ok(key), Some(on_upgrade)) => (key, on_upgrade),
            (Ok(_), None) => {
                return refuse(Refusal::Malformed("the connection cannot be upgraded"));
            }
            (Err(refusal), _) => return refuse(refusal),
        };
        let protocol = handshake::protocol(&self.headers, &options.protocols);
        let agreed = protocol.clone();
        self.takeover.leave(on_upgrade, move |stream, draining| {
            connection::child::<H>(stream, draining, args, options, agreed)
        });
        let mut response = Response::default();
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        let key = HeaderValue::try_from(key).expect("base64 is plain ASCII");
        headers.insert(SEC_WEBSOCKET_ACCEPT, key);
        if let Some(protocol) = protocol {
            let protocol = HeaderValue::try_from(protocol).expect("it came in a header");
            headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        response
    }
}

fn refuse(refusal: Refusal) -> Response {
    let (status, text) = match refusal {
        Refusal::Malformed(text) => (StatusCode::BAD_REQUEST, text),
        Refusal::Version => (
            StatusCode::UPGRADE_REQUIRED,
            "only version 13 is spoken here",
        ),
        Refusal::Origin => (
            StatusCode::FORBIDDEN,
            "pages from this origin may not connect",
        ),
    };
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}
