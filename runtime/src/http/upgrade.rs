//! How a request takes its connection over: the handler leaves a note, the connection process carries it out.

use std::sync::Arc;

use hyper::upgrade::{OnUpgrade, Upgraded};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::ChildSpec;

/// Makes the child that takes the stream over.
type Successor = Box<dyn FnOnce(Upgraded, watch::Receiver<bool>) -> ChildSpec + Send>;

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
        successor: impl FnOnce(Upgraded, watch::Receiver<bool>) -> ChildSpec + Send + 'static,
    ) {
        *self.slot.lock() = Some((upgrade, Box::new(successor)));
    }

    pub(super) fn take(&self) -> Option<(OnUpgrade, Successor)> {
        self.slot.lock().take()
    }
}
