//! The connection process: one accepted stream, served until it ends, is overdue, or is drained.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::activity::{Activity, Overdue, Stream, Watchdog};
use super::answer::{Answer, Handler};
use super::gate::{Gate, Permit};
use super::io::{Io, Socket};
use super::limits::{HEADER_BYTES_MIN, HEADER_COUNT_MAX, Options, STREAMS_MAX};
use super::stopping::Stopping;
use super::upgrade::{Taken, Takeover};
use crate::{ChildSpec, Context, RestartType, ShutdownType, SupervisorHandle, System};

/// What the requests of one connection share.
pub(super) struct Line {
    pub(super) peer: SocketAddr,
    pub(super) takeover: Takeover,
    pub(super) server: Arc<Server>,
    pub(super) activity: Arc<Activity>,
}

/// What all connections of one server share.
pub(super) struct Server {
    /// What it is registered as.
    #[cfg(feature = "metrics")]
    pub(super) id: Arc<str>,
    pub(super) handler: Handler,
    pub(super) options: Options,
    pub(super) gate: Arc<Gate>,
    /// Turns true when the server stops.
    pub(super) draining: watch::Sender<bool>,
}

/// What travels from the listener to one connection process.
pub(super) struct Accepted {
    pub(super) tcp: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) permit: Permit,
    pub(super) server: Arc<Server>,
    pub(super) connections: SupervisorHandle,
}

/// The child that serves one connection. Temporary: a connection that ended cannot be restarted.
pub(super) fn child(accepted: Accepted) -> ChildSpec {
    let accepted = Mutex::new(Some(accepted));
    // Without an id the dynamic supervisor gives it a fresh one.
    ChildSpec::process("", move |cx: Context<Infallible>| {
        let accepted = accepted.lock().take();
        async move {
            if let Some(accepted) = accepted {
                serve(cx, accepted).await;
            }
        }
    })
    .restart(RestartType::Temporary)
    .shutdown(ShutdownType::BrutalKill)
    .unregistered()
}

/// What comes next on a connection.
enum Next<T> {
    Over(T),
    Overdue(Overdue),
    Stop,
}

async fn serve(mut cx: Context<Infallible>, accepted: Accepted) {
    let Accepted {
        tcp,
        peer,
        permit,
        server,
        connections,
    } = accepted;
    cx.set_label("http connection");
    let system = cx.system();
    let activity = Arc::new(Activity::new(system.clone()));
    let socket = Socket::new(tcp, activity.clone());
    let Some(io) = secure(socket, &server, &activity).await else {
        return;
    };
    let line = Arc::new(Line {
        peer,
        takeover: Takeover::default(),
        server: server.clone(),
        activity: activity.clone(),
    });
    let stream = Stream::new(io, activity.clone(), permit);
    let builder = builder(&server.options, system);
    let mut connection = pin!(builder.serve_connection_with_upgrades(
        TokioIo::new(stream),
        service_fn(|request| Answer::new(request, line.clone())),
    ));
    let mut watchdog = Watchdog::new(&activity, &server.options);
    let mut stopping = Some(Stopping::new(server.draining.subscribe()));
    let outcome = loop {
        let next = poll_fn(|cx| {
            if let Poll::Ready(outcome) = connection.as_mut().poll(cx) {
                return Poll::Ready(Next::Over(outcome));
            }
            if let Poll::Ready(overdue) = watchdog.poll_overdue(cx) {
                return Poll::Ready(Next::Overdue(overdue));
            }
            let stops = stopping.as_mut().map_or(Poll::Pending, |it| it.poll(cx));
            stops.map(|()| Next::Stop)
        });
        match next.await {
            Next::Over(outcome) => break outcome,
            Next::Overdue(overdue) => {
                tracing::debug!(http.overdue = ?overdue, "closing a connection that is overdue");
                return;
            }
            Next::Stop => {
                connection.as_mut().graceful_shutdown();
                stopping = None;
            }
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(http.error = %error, "a connection ended early");
        return;
    }
    if let Some((upgrade, successor)) = line.takeover.take()
        && let Ok(upgraded) = upgrade.await
    {
        let Some(taken) = Taken::of(upgraded) else {
            tracing::error!("an upgraded connection is not one of this server");
            return;
        };
        let spec = successor(taken, server.draining.subscribe());
        if let Err(error) = connections.start_child(spec).await {
            tracing::warn!(http.error = %error, "an upgraded connection found nobody to take it over");
        }
    }
}

/// The stream to speak HTTP on: the socket itself, or what the TLS handshake makes of it.
#[cfg(feature = "http-tls")]
async fn secure(socket: Socket, server: &Server, activity: &Activity) -> Option<Io> {
    let Some(tls) = &server.options.tls else {
        return Some(Io::Plain(socket));
    };
    let mut drained = server.draining.subscribe();
    let limit = server.options.header_timeout;
    let outcome = tokio::select! {
        outcome = activity.system().timeout(limit, tls.acceptor().accept(socket)) => outcome,
        // Nobody has asked for anything yet.
        _ = drained.wait_for(|draining| *draining) => return None,
    };
    match outcome {
        Ok(Ok(stream)) => {
            activity.begin();
            return Some(Io::Secure(Box::new(stream)));
        }
        Ok(Err(error)) => tracing::debug!(tls.error = %error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
    None
}

#[cfg(not(feature = "http-tls"))]
#[expect(clippy::unused_async, reason = "the form it has with TLS")]
async fn secure(socket: Socket, _server: &Server, _activity: &Activity) -> Option<Io> {
    Some(Io::Plain(socket))
}

fn builder(options: &Options, system: System) -> auto::Builder<Streams> {
    let header_bytes_max = options.header_bytes_max.max(HEADER_BYTES_MIN);
    let mut builder = auto::Builder::new(Streams(system));
    // The watchdog keeps all times; a header may fill the read buffer and no more.
    builder
        .http1()
        .max_buf_size(header_bytes_max)
        .header_read_timeout(None);
    // Even naming hyper's own default costs an allocation a request.
    if options.header_count_max != HEADER_COUNT_MAX {
        builder.http1().max_headers(options.header_count_max);
    }
    builder
        .http2()
        .max_header_list_size(u32::try_from(header_bytes_max).unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS_MAX);
    builder
}

/// Runs each HTTP/2 stream as a process.
#[derive(Clone)]
struct Streams(System);

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn(|_: Context<Infallible>| stream);
    }
}
