//! HTTP server for warp filters: a supervised accept loop, a process per connection, a crash-isolated handler per request.
//!
//! [`server`] is the child specification of a small tree: a supervisor named as asked, under it `<id>.connections` (a
//! dynamic supervisor, one temporary child for each connection) and `<id>.listener` (the accept loop). A listener that
//! crashes is restarted on the same bound socket and the connections live on. HTTP/1.1 and HTTP/2 (by prior
//! knowledge, or by ALPN); TLS with the feature `http-tls` and `Options::tls`.
//!
//! When the server is stopped it accepts no more, finishes the requests in hand within
//! [`Options::drain_timeout`], tells WebSockets to go away, and closes what is left.
//!
//! A panic in a handler is answered 500 and ends neither the connection nor its process.
//!
//! # Examples
//! ```
//! use mesh_runtime::{Strategy, Supervisor, System, http};
//! use warp::Filter;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let system = System::new();
//! let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! let hello = warp::path!("hello" / String).map(|name| format!("hello, {name}"));
//! let tree = Supervisor::new(Strategy::OneForOne)
//!     .child(http::server("web", listener, hello, http::Options::default()));
//! system.supervise(tree).await?;
//! # Ok(())
//! # }
//! ```

mod activity;
pub(crate) mod alarm;
mod answer;
mod body;
mod connection;
mod gate;
mod in_hand;
mod io;
mod limits;
mod listener;
mod route;
pub(crate) mod stopping;
#[cfg(feature = "http-tls")]
mod tls;
pub(crate) mod upgrade;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tower_service::Service;
use warp::{Filter, Rejection, Reply};

pub use limits::Options;
pub use route::named;
#[cfg(feature = "http-tls")]
pub use tls::Tls;

#[cfg(feature = "http-tls")]
pub use crate::tls::TlsError;

use crate::{ChildSpec, DynamicSupervisor, ShutdownType, Strategy, Supervisor};
use answer::Handler;
use connection::Server;
use gate::Gate;
use in_hand::of_line;

/// What the listener gets beyond the drain timeout before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// A child that serves `filter` on `listener`: a supervisor registered under `id`.
///
/// The listener stays bound as long as the specification lives, whatever crashes in between.
#[must_use]
pub fn server<F>(
    id: &str,
    listener: std::net::TcpListener,
    filter: F,
    options: Options,
) -> ChildSpec
where
    F: Filter + Clone + Send + Sync + 'static,
    F::Extract: Reply,
{
    let bound = Arc::new(listener);
    let handler = erase(filter);
    #[cfg(feature = "metrics")]
    let name: Arc<str> = id.into();
    let connections = format!("{id}.connections");
    let listener = format!("{id}.listener");
    #[cfg(feature = "http-tls")]
    let certificate = format!("{id}.certificate");
    ChildSpec::supervisor(id, move || {
        let server = Arc::new(Server {
            #[cfg(feature = "metrics")]
            id: name.clone(),
            handler: handler.clone(),
            options: options.clone(),
            gate: Arc::new(Gate::new(
                options.connections_max,
                options.connections_per_address_max,
            )),
            draining: watch::Sender::new(false),
        });
        let (bound, children) = (bound.clone(), connections.clone());
        let tree = Supervisor::new(Strategy::OneForOne);
        #[cfg(feature = "http-tls")]
        let tree = with_certificate_keeper(tree, &certificate, &options);
        tree.child(ChildSpec::dynamic(&connections, DynamicSupervisor::new()))
            .child(
                ChildSpec::process(&listener, move |cx| {
                    listener::run(cx, bound.clone(), children.clone(), server.clone())
                })
                .shutdown(ShutdownType::Timeout(
                    options.drain_timeout.saturating_add(STOP_GRACE),
                )),
            )
    })
}

#[cfg(feature = "http-tls")]
fn with_certificate_keeper(tree: Supervisor, id: &str, options: &Options) -> Supervisor {
    match options.tls.clone() {
        Some(tls) => tree.child(ChildSpec::process(id, move |cx| {
            tls::keep_current(cx, tls.clone())
        })),
        None => tree,
    }
}

fn erase<F>(filter: F) -> Handler
where
    F: Filter + Clone + Send + Sync + 'static,
    F::Extract: Reply,
{
    let service = warp::service(filter);
    Arc::new(move |request| Box::pin(service.clone().call(request)))
}

/// Extracts the remote address of the connection a request came on. Behind a reverse proxy that is the proxy's.
///
/// Rejects when the filter is not served by [`server`].
#[must_use]
pub fn peer_address() -> impl Filter<Extract = (SocketAddr,), Error = Rejection> + Copy {
    of_line(|line| line.peer)
}

/// Extracts where a request leaves who takes its connection over.
#[cfg(feature = "ws")]
pub(crate) fn takeover() -> impl Filter<Extract = (upgrade::Takeover,), Error = Rejection> + Copy {
    of_line(|line| line.takeover.clone())
}
