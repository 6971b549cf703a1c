//! The HTTP server over raw sockets.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::Request;
use hyper::body::Body;
use hyper::client::conn::http2 as client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_runtime::Job;
use mesh_runtime::http::{self, Options};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use warp::{Filter, Rejection, Reply};

use crate::support::raw::Raw;
use crate::support::site::{PATIENCE, eventually, site};

fn routes() -> impl Filter<Extract = (impl Reply,), Error = Rejection> + Clone {
    let hello = warp::path!("hello" / String).map(|name| format!("hello, {name}"));
    let panics = warp::path!("panic").map(|| -> String { panic!("on purpose") });
    let panics_later = warp::path!("panic-later").then(|| async {
        tokio::task::yield_now().await;
        panic!("on purpose, later");
        #[allow(unreachable_code)]
        String::new()
    });
    let peer = warp::path!("peer")
        .and(http::peer_address())
        .map(|peer: SocketAddr| peer.to_string());
    let body = warp::path!("body")
        .and(warp::body::bytes())
        .map(|bytes: Bytes| bytes.len().to_string());
    hello
        .or(panics)
        .unify()
        .or(panics_later)
        .unify()
        .or(peer)
        .unify()
        .or(body)
        .unify()
}

#[tokio::test]
async fn a_connection_is_kept_and_pipelined() {
    let site = site(routes(), Options::default()).await;
    let mut raw = Raw::connect(site.address).await;
    for name in ["one", "two"] {
        let answer = raw.get(&format!("/hello/{name}")).await;
        assert_eq!(
            (answer.status, answer.body),
            (200, format!("hello, {name}"))
        );
    }
    let request = "GET /hello/a HTTP/1.1\r\nhost: x\r\n\r\n";
    raw.send([request, request].concat()).await;
    for _ in 0..2 {
        assert_eq!(raw.answer().await.unwrap().body, "hello, a");
    }
    raw.send(
        "POST /body HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    )
    .await;
    assert_eq!(raw.answer().await.unwrap().body, "3");
}

#[tokio::test]
async fn the_peer_address_is_the_clients() {
    let site = site(routes(), Options::default()).await;
    let mut raw = Raw::connect(site.address).await;
    let told: SocketAddr = raw.get("/peer").await.body.parse().unwrap();
    assert_eq!(told, raw.into_stream().local_addr().unwrap());
}

#[tokio::test]
async fn a_panic_answers_500_and_the_connection_lives() {
    let site = site(routes(), Options::default()).await;
    let mut raw = Raw::connect(site.address).await;
    for path in ["/panic", "/panic-later"] {
        let answer = raw.get(path).await;
        assert_eq!(answer.status, 500, "{path}");
        assert!(
            answer.head.contains("content-type: application/json"),
            "{}",
            answer.head
        );
        assert_eq!(
            answer.body,
            r#"{"error":{"code":"internal","message":"internal error"}}"#
        );
        assert_eq!(
            raw.get("/hello/again").await.status,
            200,
            "the same connection, after {path}"
        );
    }
}

#[tokio::test]
async fn one_http2_connection_carries_many_requests() {
    let site = site(routes(), Options::default()).await;
    let stream = TokioIo::new(TcpStream::connect(site.address).await.unwrap());
    let (mut sender, connection) = client::handshake(TokioExecutor::new(), stream)
        .await
        .unwrap();
    let _driver = Job::spawn(&site.system, connection);
    for _ in 0..3 {
        let mut ask = |path: &str| {
            let uri = format!("http://{}{path}", site.address);
            sender.send_request(Request::get(uri).body(String::new()).unwrap())
        };
        let (hello, panics) = tokio::join!(ask("/hello/a"), ask("/panic-later"));
        assert_eq!(panics.unwrap().status(), 500);
        let mut body = hello.unwrap().into_body();
        let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(frame.into_data().unwrap(), "hello, a");
    }
}

#[tokio::test]
async fn headers_over_the_limits_are_refused() {
    let site = site(
        routes(),
        Options {
            header_count_max: 10,
            ..Options::default()
        },
    )
    .await;
    let mut large = Raw::connect(site.address).await;
    large
        .send(format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(17 * 1024)))
        .await;
    assert_eq!(large.answer().await.unwrap().status, 431);
    large.closed().await;

    let mut many = Raw::connect(site.address).await;
    many.send(format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(11)))
        .await;
    assert_eq!(many.answer().await.unwrap().status, 431);

    let mut fine = Raw::connect(site.address).await;
    fine.send(format!(
        "GET /hello/a HTTP/1.1\r\n{}\r\n",
        "a: b\r\n".repeat(10)
    ))
    .await;
    assert_eq!(fine.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn what_takes_too_long_is_closed() {
    let short = Duration::from_millis(20);
    let options = Options {
        header_timeout: short,
        idle_timeout: short,
        ..Options::default()
    };
    let site = site(routes(), options).await;
    let wait = async {
        let mut silent = Raw::connect(site.address).await;
        silent.closed().await;
        let mut half = Raw::connect(site.address).await;
        half.send("GET /hello/a HTTP/1.1\r\nhost:").await;
        half.closed().await;
        let mut idle = Raw::connect(site.address).await;
        assert_eq!(idle.get("/hello/a").await.status, 200);
        idle.closed().await;
    };
    site.system
        .timeout(PATIENCE, wait)
        .await
        .expect("all three are closed");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let options = Options {
        body_timeout: Duration::from_millis(20),
        ..Options::default()
    };
    let site = site(routes(), options).await;
    let mut raw = Raw::connect(site.address).await;
    raw.send("POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc")
        .await;
    let answer = site
        .system
        .timeout(PATIENCE, raw.answer())
        .await
        .expect("in time");
    assert!(answer.is_none_or(|answer| answer.status >= 400));
}

#[tokio::test]
async fn the_longest_times_there_are_do_not_overflow() {
    let options = Options {
        header_timeout: Duration::MAX,
        body_timeout: Duration::MAX,
        idle_timeout: Duration::MAX,
        write_timeout: Duration::MAX,
        drain_timeout: Duration::MAX,
        ..Options::default()
    };
    let site = site(routes(), options).await;
    let mut raw = Raw::connect(site.address).await;
    for _ in 0..2 {
        let head = "POST /body HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\n";
        raw.send(head).await;
        raw.send("hello").await;
        let answer = raw.answer().await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "5"));
    }
}

#[tokio::test]
async fn the_number_of_connections_is_bounded() {
    let site = site(
        routes(),
        Options {
            connections_max: 2,
            ..Options::default()
        },
    )
    .await;
    let mut first = Raw::connect(site.address).await;
    let mut second = Raw::connect(site.address).await;
    assert_eq!(first.get("/hello/a").await.status, 200);
    assert_eq!(second.get("/hello/a").await.status, 200);
    let mut third = Raw::connect(site.address).await;
    assert_eq!(third.answer().await.unwrap().status, 503);
    third.closed().await;
    assert_eq!(first.get("/hello/a").await.status, 200);
    drop(second);
    eventually(&site.system, "the place is free again", async || {
        let mut next = Raw::connect(site.address).await;
        next.send("GET /hello/a HTTP/1.1\r\nhost: x\r\n\r\n").await;
        next.answer()
            .await
            .is_some_and(|answer| answer.status == 200)
    })
    .await;
}

#[tokio::test]
async fn one_address_cannot_take_every_place() {
    let options = Options {
        connections_per_address_max: 1,
        ..Options::default()
    };
    let site = site(routes(), options).await;
    let mut first = Raw::connect(site.address).await;
    assert_eq!(first.get("/hello/a").await.status, 200);
    let mut second = Raw::connect(site.address).await;
    assert_eq!(second.answer().await.unwrap().status, 503);
}

/// A route that tells when it has begun, and answers when told.
fn gated() -> (
    Arc<Notify>,
    Arc<Notify>,
    impl Filter<Extract = (String,), Error = Rejection> + Clone,
) {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let inside = (begun.clone(), go_on.clone());
    let route = warp::path!("slow")
        .and(warp::any().map(move || inside.clone()))
        .and_then(|(begun, go_on): (Arc<Notify>, Arc<Notify>)| async move {
            begun.notify_one();
            go_on.notified().await;
            Ok::<_, Infallible>("done".to_owned())
        });
    (begun, go_on, route)
}

#[tokio::test]
async fn stopping_finishes_the_requests_in_hand() {
    let (begun, go_on, route) = gated();
    let site = site(route, Options::default()).await;
    let mut idle = Raw::connect(site.address).await;
    let mut busy = Raw::connect(site.address).await;
    busy.send("GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
    begun.notified().await;
    let tree = site.tree.clone();
    let stopping = Job::spawn(&site.system, async move { tree.stop().await });
    idle.closed().await;
    assert!(site.tree.is_alive(), "a request is in hand");
    go_on.notify_one();
    let answer = busy.answer().await.expect("the answer still comes");
    assert_eq!((answer.status, answer.body.as_str()), (200, "done"));
    busy.closed().await;
    site.system
        .timeout(PATIENCE, stopping)
        .await
        .expect("in time")
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn stopping_waits_no_longer_than_it_may() {
    let (begun, _go_on, route) = gated();
    let options = Options {
        drain_timeout: Duration::from_millis(20),
        ..Options::default()
    };
    let site = site(route, options).await;
    let mut busy = Raw::connect(site.address).await;
    busy.send("GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
    begun.notified().await;
    site.system
        .timeout(PATIENCE, site.tree.stop())
        .await
        .expect("in time")
        .unwrap();
    assert!(busy.answer().await.is_none());
}

#[tokio::test]
async fn a_listener_that_dies_keeps_socket_and_connections() {
    let site = site(routes(), Options::default()).await;
    let mut raw = Raw::connect(site.address).await;
    assert_eq!(raw.get("/hello/a").await.status, 200);
    let listener = site
        .system
        .whereis_pid("web.listener")
        .expect("it is registered");
    assert!(site.system.kill(listener));
    let mut next = Raw::connect(site.address).await;
    assert_eq!(
        next.get("/hello/a").await.status,
        200,
        "the port never closed"
    );
    assert_ne!(site.system.whereis_pid("web.listener"), Some(listener));
    assert_eq!(
        raw.get("/hello/a").await.status,
        200,
        "the old connection lives on"
    );
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let options = Options {
        body_bytes_max: 5,
        ..Options::default()
    };
    let site = site(routes(), options).await;
    let mut raw = Raw::connect(site.address).await;
    raw.send("POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n12345")
        .await;
    assert_eq!(raw.answer().await.unwrap().body, "5");
    raw.send("POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\n123456")
        .await;
    assert_eq!(raw.answer().await.unwrap().status, 413);
    let mut chunked = Raw::connect(site.address).await;
    let head = "POST /body HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    chunked
        .send(format!("{head}3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"))
        .await;
    assert!(chunked.answer().await.unwrap().status >= 400);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_closed() {
    // Far more than the kernel buffers for a peer that does not read.
    let asked = Arc::new(AtomicBool::new(false));
    let told = asked.clone();
    let large = warp::path!("large").map(move || {
        told.store(true, Ordering::Relaxed);
        "x".repeat(64 * 1024 * 1024)
    });
    let options = Options {
        write_timeout: Duration::from_millis(20),
        ..Options::default()
    };
    let site = site(large, options).await;
    let mut raw = Raw::connect(site.address).await;
    raw.send("GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let connections = site.system.supervisor("web.connections").unwrap();
    eventually(&site.system, "the connection is given up", async || {
        asked.load(Ordering::Relaxed) && connections.count_children().await.unwrap().active == 0
    })
    .await;
}

/// Goes so deep, with a kilobyte on the stack at each step.
fn recurse(depth: u32, at_the_bottom: fn()) -> usize {
    let frame = std::hint::black_box([1_u8; 1024]);
    if depth == 0 {
        at_the_bottom();
        return 0;
    }
    recurse(depth - 1, at_the_bottom) + usize::from(frame[depth as usize % frame.len()])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_that_recurse_answer_and_panic_at_the_same_time() {
    const DEPTH: u32 = 200;
    let deep = warp::path!("deep").map(|| recurse(DEPTH, || ()).to_string());
    let falls = warp::path!("falls").map(|| recurse(DEPTH, || panic!("on purpose")).to_string());
    let site = site(deep.or(falls), Options::default()).await;
    let ask = |_| {
        let address = site.address;
        Job::spawn(&site.system, async move {
            let mut raw = Raw::connect(address).await;
            for _ in 0..10 {
                let answer = raw.get("/deep").await;
                assert_eq!((answer.status, answer.body), (200, DEPTH.to_string()));
                assert_eq!(raw.get("/falls").await.status, 500);
            }
        })
    };
    let asking: Vec<_> = (0..32).map(ask).collect();
    for job in asking {
        job.await.unwrap();
    }
}
