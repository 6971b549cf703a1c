//! What the rows of the edges share: servers and pools of each library, and the other side, a client in a process of its own.

pub(crate) mod client;
pub(crate) mod database;
pub(crate) mod files;
pub(crate) mod http_client;
pub(crate) mod pools;
pub(crate) mod rooms;
pub(crate) mod webs;
pub(crate) mod ws_client;

use std::net::{SocketAddr, TcpListener};

/// A free port, and where it is.
pub(crate) fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}
