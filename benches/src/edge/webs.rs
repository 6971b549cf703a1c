//! One small handler behind each HTTP server: a parameter of the path in, a little JSON out.

use std::convert::Infallible;
use std::net::TcpListener;
use std::time::Duration;

use axum::extract::Path;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use mesh_runtime::{Strategy, Supervisor, System, http};
use serde::Serialize;
use tokio::net::TcpStream;
use warp::{Filter, Rejection, Reply};

use super::files::room_for;
use crate::contender::Library;

/// What is answered for `/hello/world`.
pub(crate) const BODY: &str = r#"{"hello":"world"}"#;

#[derive(Serialize)]
struct Hello {
    hello: String,
}

/// An HTTP server in its engine.
pub(crate) trait Web: Library {
    /// Serves the handler until the engine ends.
    fn serve(&self, listener: TcpListener) -> impl Future<Output = ()> + Send;
}

fn routes() -> impl Filter<Extract = (impl Reply,), Error = Rejection> + Clone {
    warp::get()
        .and(warp::path!("hello" / String))
        .map(|hello| warp::reply::json(&Hello { hello }))
}

/// Ours.
#[derive(Clone)]
pub(crate) struct Mesh(System);

impl Library for Mesh {
    fn new() -> Mesh {
        Mesh(System::new())
    }
}

/// Longer than any run.
const FOR_EVER: Duration = Duration::from_secs(600);

/// More than any row opens.
const CONNECTIONS_MAX: usize = 20_000;

impl Web for Mesh {
    async fn serve(&self, listener: TcpListener) {
        let options = http::Options {
            connections_max: CONNECTIONS_MAX,
            connections_per_address_max: CONNECTIONS_MAX,
            // One row has clients that never get to the end of a header.
            header_timeout: FOR_EVER,
            ..http::Options::default()
        };
        let web = http::server("web", listener, routes(), options);
        let tree = Supervisor::new(Strategy::OneForOne).child(web);
        self.0.supervise(tree).await.expect("it starts");
    }
}

macro_rules! library {
    ($($(#[$doc:meta])* $name:ident),*) => {$(
        $(#[$doc])*
        #[derive(Clone)]
        pub(crate) struct $name;

        impl Library for $name {
            fn new() -> $name {
                $name
            }
        }
    )*};
}
pub(super) use library;

library!(
    /// The same filter as ours on an accept loop of a few lines.
    WarpByHand,
    /// warp's own server.
    WarpServe,
    /// axum's own server.
    Axum,
    /// No routes, no filters, HTTP/1.1 only: what there is to be had.
    HyperByHand
);

/// As each of the servers makes it of a listener.
pub(super) fn adopt(listener: TcpListener) -> tokio::net::TcpListener {
    listener.set_nonblocking(true).expect("it is a socket");
    tokio::net::TcpListener::from_std(listener).expect("it is a socket")
}

/// Accepts for ever and hands each stream to a task.
pub(super) fn accept<Fut>(listener: TcpListener, serve: impl Fn(TcpStream) -> Fut + Send + 'static)
where
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = adopt(listener);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("there is room for more");
            stream.set_nodelay(true).expect("it is open");
            tokio::spawn(serve(stream));
        }
    });
}

impl Web for WarpByHand {
    async fn serve(&self, listener: TcpListener) {
        let service = TowerToHyperService::new(warp::service(routes()));
        accept(listener, move |stream| {
            let service = service.clone();
            async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                let connection =
                    builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
                // A client that leaves is none of its business.
                drop(connection.await);
            }
        });
    }
}

impl Web for WarpServe {
    async fn serve(&self, listener: TcpListener) {
        tokio::spawn(warp::serve(routes()).incoming(adopt(listener)).run());
    }
}

impl Web for Axum {
    async fn serve(&self, listener: TcpListener) {
        use axum::serve::ListenerExt;
        let hello = async |Path(hello): Path<String>| axum::Json(Hello { hello });
        let router = axum::Router::new().route("/hello/{name}", axum::routing::get(hello));
        let listener = adopt(listener).tap_io(|stream| {
            stream.set_nodelay(true).expect("it is open");
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
    }
}

impl Web for HyperByHand {
    async fn serve(&self, listener: TcpListener) {
        accept(listener, |stream| async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            drop(connection.await);
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let Some(name) = request.uri().path().strip_prefix("/hello/") else {
        let mut absent = Response::new(Full::default());
        *absent.status_mut() = StatusCode::NOT_FOUND;
        return Ok(absent);
    };
    let hello = Hello {
        hello: name.to_owned(),
    };
    let body = serde_json::to_vec(&hello).expect("a string is JSON");
    let response = Response::builder().header(CONTENT_TYPE, "application/json");
    Ok(response
        .body(Full::from(body))
        .expect("the header is plain"))
}

/// Starts a server with room for so many connections, and its client.
pub(crate) async fn served<W: Web>(web: &W, connections: u64) -> super::client::OtherSide {
    room_for(connections);
    let (listener, address) = super::listen();
    web.serve(listener).await;
    super::client::OtherSide::start("http", address)
}
