//! Live: what was stored is pushed to the dashboards that follow it.
//!
//! The [`broadcaster`] turns a transaction's result into frames and each frame into one room's broadcast;
//! the runtime's rooms hand it to every connection without ever waiting for a slow one.

pub mod broadcaster;
mod dashboard_socket;
mod frames;
mod topics;

pub use broadcaster::{Broadcaster, BroadcasterHandle, BroadcasterMessage, LiveBatch, LiveIssue};
pub use dashboard_socket::{DashboardSocket, MayStay, SocketArgs, SocketMessage, judge_anew};
pub use frames::LiveEvent;

use mesh_runtime::{ChildSpec, Strategy, Supervisor};

/// The name of this layer's supervisor.
pub const SUPERVISOR: &str = "StreamingSupervisor";

/// The streaming branch of the tree. Dashboard connections are children of the HTTP server, which owns their sockets.
#[must_use]
pub fn child() -> ChildSpec {
    ChildSpec::supervisor(SUPERVISOR, || {
        Supervisor::new(Strategy::OneForOne)
            .intensity(10, std::time::Duration::from_secs(60))
            .child(ChildSpec::worker::<Broadcaster>(broadcaster::NAME, ()))
    })
}
