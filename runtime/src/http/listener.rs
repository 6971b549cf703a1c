//! The accept loop as a supervised process, and the orderly end of a server.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};

use super::connection::{Accepted, Server, child};
use super::limits::ACCEPT_PAUSE;
use crate::{Context, Event, ExitReason, Signal, SupervisorHandle, System};

/// What a connection over the limit is answered before it is closed.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// One life of the listener: accepts until told to stop, then waits for the requests in hand.
///
/// `bound` stays open when this life ends, so that a restart loses no connection that waits to be accepted.
pub(super) async fn run(
    mut cx: Context<Infallible>,
    bound: Arc<std::net::TcpListener>,
    connections: String,
    server: Arc<Server>,
) -> Result<(), ExitReason> {
    cx.trap_exit(true);
    let listener = adopt(&bound).map_err(ExitReason::error)?;
    let system = cx.system();
    let connections = system.supervisor(&connections).map_err(ExitReason::error)?;
    // A life before this one may have been told to stop by hand.
    server.draining.send_replace(false);
    let reason = loop {
        tokio::select! {
            biased;
            event = cx.receive_event() => match event {
                Event::Signal(Signal::Exit { reason, .. }) => break reason,
                Event::Signal(_) => {}
                Event::Message(never) => match never {},
            },
            accepted = accept(&listener, &system) => {
                if let Some((tcp, peer)) = accepted {
                    admit(tcp, peer, &server, &connections).await;
                }
            }
        }
    };
    drop(listener);
    server.draining.send_replace(true);
    let drained = system
        .timeout(server.options.drain_timeout, server.gate.emptied())
        .await;
    if drained.is_err() {
        tracing::warn!(
            http.connections = server.gate.open(),
            "closing connections that did not end in time"
        );
    }
    Err(reason)
}

fn adopt(bound: &std::net::TcpListener) -> io::Result<TcpListener> {
    let listener = bound.try_clone()?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// One connection, or `None` after a failure and a pause.
///
/// # Cancel safety
/// Safe: a connection not returned stays in the queue of the operating system.
async fn accept(listener: &TcpListener, system: &System) -> Option<(TcpStream, SocketAddr)> {
    match listener.accept().await {
        Ok(accepted) => Some(accepted),
        Err(error) => {
            tracing::warn!(http.error = %error, "accepting a connection failed");
            system.sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn admit(
    tcp: TcpStream,
    peer: SocketAddr,
    server: &Arc<Server>,
    connections: &SupervisorHandle,
) {
    let Some(permit) = server.gate.admit(peer.ip()) else {
        // A courtesy: who cannot take it at once does not get it. Through TLS it would cost a handshake, which is what a flood is after.
        if !server.options.is_secure() {
            let _ = tcp.try_write(FULL);
        }
        return;
    };
    // Answers are written whole, so there is nothing to wait for; a socket that refuses the option works all the same.
    let _ = tcp.set_nodelay(true);
    let server = server.clone();
    let accepted = Accepted {
        tcp,
        peer,
        permit,
        server,
        connections: connections.clone(),
    };
    if let Err(error) = connections.start_child(child(accepted)).await {
        tracing::warn!(http.error = %error, "a connection could not be started");
    }
}
