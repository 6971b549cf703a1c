//! How a request takes its connection over: the handler leaves a note, the connection process carries it out.

use std::sync::Arc;

use bytes::Bytes;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::activity::Stream;
use super::gate::Permit;
use super::io::Io;
use crate::ChildSpec;

/// Makes the child that takes the stream over.
type Successor = Box<dyn FnOnce(Taken, watch::Receiver<bool>) -> ChildSpec + Send>;

/// A connection's stream without the layers of HTTP.
#[cfg_attr(
    not(feature = "ws"),
    expect(dead_code, reason = "nobody takes one over")
)]
pub(crate) struct Taken {
    pub(crate) io: Io,
    /// What was read behind the request.
    pub(crate) ahead: Bytes,
    /// It still counts as a connection of the server.
    _permit: Permit,
}

impl Taken {
    /// Out of what hyper gives back. `None` when that is not a connection of ours, on which nobody can be asked to speak anything else.
    pub(super) fn of(upgraded: Upgraded) -> Option<Taken> {
        let parts = downcast::<TokioIo<Stream>>(upgraded).ok()?;
        let (io, permit) = parts.io.into_inner().into_parts();
        // Empty bytes may keep a whole buffer.
        let ahead = Some(parts.read_buf).filter(|bytes| !bytes.is_empty());
        Some(Taken {
            io,
            ahead: ahead.unwrap_or_default(),
            _permit: permit,
        })
    }

    /// Out of what a test makes.
    #[cfg(all(test, feature = "ws"))]
    pub(crate) fn made(stream: impl super::io::Made + 'static) -> Taken {
        let gate = Arc::new(super::gate::Gate::new(1, 1));
        let permit = gate.admit(std::net::Ipv4Addr::LOCALHOST.into());
        Taken {
            io: Io::Made(Box::new(stream)),
            ahead: Bytes::new(),
            _permit: permit.expect("nobody is in"),
        }
    }
}

/// The slot of a connection where a handler leaves who takes it over, once hyper has let go of it.
#[derive(Clone, Default)]
pub(crate) struct Takeover {
    slot: Arc<Mutex<Option<(OnUpgrade, Successor)>>>,
}

impl Takeover {
    /// Names the successor. It is started as a child of the server's connections, with the stream and a receiver that turns true when
    /// the server stops.
    #[cfg(feature = "ws")]
    pub(crate) fn leave(
        &self,
        upgrade: OnUpgrade,
        successor: impl FnOnce(Taken, watch::Receiver<bool>) -> ChildSpec + Send + 'static,
    ) {
        *self.slot.lock() = Some((upgrade, Box::new(successor)));
    }

    pub(super) fn take(&self) -> Option<(OnUpgrade, Successor)> {
        self.slot.lock().take()
    }
}
