//! The connection process: one accepted stream, served until it ends, is overdue, or is drained.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::watch;
use warp::reply::Response;

use super::activity::{Activity, Stream, Watchdog};
use super::body::{RequestBody, ResponseBody};
use super::gate::{Gate, Permit};
use super::io::{Io, Socket};
use super::limits::{HEADER_BYTES_MIN, HEADER_COUNT_MAX, Options, STREAMS_MAX};
#[cfg(feature = "metrics")]
use super::route::Measured;
use super::upgrade::Takeover;
use crate::process::run::isolate;
use crate::{ChildSpec, Context, ExitReason, RestartType, ShutdownType, SupervisorHandle, System};

/// A filter with its type taken away: the connection code is compiled once, not once a filter.
pub(super) type Handler = Arc<
    dyn Fn(Request<RequestBody>) -> Pin<Box<dyn Future<Output = Response> + Send>> + Send + Sync,
>;

/// What the requests of one connection share. In each request's extensions, where filters find it.
pub(super) struct Line {
    pub(super) peer: SocketAddr,
    pub(super) takeover: Takeover,
    server: Arc<Server>,
    activity: Arc<Activity>,
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
        service_fn(|request| answer(request, line.clone())),
    ));
    let mut watchdog = Watchdog::new(&activity, &server.options);
    let mut drained = server.draining.subscribe();
    let mut draining = false;
    let outcome = loop {
        tokio::select! {
            biased;
            outcome = connection.as_mut() => break outcome,
            overdue = poll_fn(|cx| watchdog.poll_overdue(cx)) => {
                tracing::debug!(http.overdue = ?overdue, "closing a connection that is overdue");
                return;
            }
            _ = drained.wait_for(|draining| *draining), if !draining => {
                connection.as_mut().graceful_shutdown();
                draining = true;
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
        let spec = successor(upgraded, server.draining.subscribe());
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

/// Answers one request; what panics inside is answered 500.
async fn answer(
    request: Request<Incoming>,
    line: Arc<Line>,
) -> Result<hyper::Response<impl Body<Data = Bytes, Error = warp::Error> + use<>>, Infallible> {
    let in_hand = line.activity.request();
    let server = &*line.server;
    let options = &server.options;
    #[cfg(feature = "metrics")]
    let clock = line.activity.system().clock();
    #[cfg(feature = "metrics")]
    let measured = Measured::begin(request.method(), clock.now());
    let response = if request.body().size_hint().lower() > options.body_bytes_max {
        bare(StatusCode::PAYLOAD_TOO_LARGE)
    } else {
        let mut request =
            request.map(|body| RequestBody::new(body, line.activity.clone(), options));
        request.extensions_mut().insert(line.clone());
        isolate(pin!(Some(async { (server.handler)(request).await })))
            .await
            .unwrap_or_else(|reason| panicked(options, &reason))
    };
    #[cfg(feature = "metrics")]
    measured.end(&server.id, &response, clock.now());
    Ok(response.map(|body| ResponseBody::new(body, in_hand)))
}

fn bare(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

fn panicked(options: &Options, reason: &ExitReason) -> Response {
    tracing::error!(http.panic = %reason, "a request's handler panicked");
    let mut response = Response::new(options.panic_body.clone().into());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    let content_type = HeaderValue::from_static(options.panic_content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
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
