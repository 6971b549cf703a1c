//! HTTP/1.1 as a careless or hostile client speaks it, byte by byte (scenario R13).

use std::time::Duration;

use bytes::Bytes;
use mesh_runtime::http::Options;
use warp::{Filter, Rejection, Reply};

use crate::support::raw::{Answer, Raw};
use crate::support::site::{Site, eventually, site};

fn routes() -> impl Filter<Extract = (impl Reply,), Error = Rejection> + Clone {
    let hello = warp::path!("hello" / String)
        .and(warp::get().or(warp::head()).unify())
        .map(|name| format!("hello, {name}"));
    let body = warp::path!("body")
        .and(warp::post())
        .and(warp::body::bytes())
        .map(|bytes: Bytes| format!("{} bytes", bytes.len()));
    hello.or(body)
}

async fn served() -> Site {
    let options = Options {
        body_bytes_max: 1_000,
        ..Options::default()
    };
    site(routes(), options).await
}

async fn ask(site: &Site, request: impl AsRef<[u8]>) -> (Raw, Option<Answer>) {
    let mut raw = Raw::connect(site.address).await;
    raw.send(request).await;
    let answer = raw.answer().await;
    (raw, answer)
}

/// The site still answers, on a connection of its own.
async fn lives(site: &Site) {
    let mut raw = Raw::connect(site.address).await;
    assert_eq!(raw.get("/hello/you").await.body, "hello, you");
}

#[tokio::test]
async fn many_pipelined_requests_are_answered_in_order() {
    let site = served().await;
    let mut raw = Raw::connect(site.address).await;
    let requests: String = (0..500)
        .map(|n| format!("GET /hello/{n} HTTP/1.1\r\nhost: x\r\n\r\n"))
        .collect();
    raw.send(requests).await;
    for n in 0..500 {
        assert_eq!(raw.answer().await.unwrap().body, format!("hello, {n}"));
    }
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte_and_in_any_case() {
    let site = served().await;
    let mut raw = Raw::connect(site.address).await;
    for byte in "POST /body HTTP/1.1\r\nHOST: x\r\nCoNtEnT-LeNgTh:   3  \r\n\r\nabc".bytes() {
        raw.send([byte]).await;
        // A pause, so that each is read alone: one that only yields lets them gather in the kernel.
        site.system.sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(raw.answer().await.unwrap().body, "3 bytes");
}

#[tokio::test]
async fn chunks_may_have_extensions_and_trailers() {
    let site = served().await;
    let chunked = "POST /body HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let (mut raw, answer) = ask(
        &site,
        format!("{chunked}3;name=\"value\"\r\nabc\r\nA\r\n0123456789\r\n0\r\nx-trailer: y\r\n\r\n"),
    )
    .await;
    assert_eq!(answer.unwrap().body, "13 bytes");
    assert_eq!(
        raw.get("/hello/again").await.status,
        200,
        "the connection is kept"
    );
    for broken in [
        "xyz\r\nabc\r\n",
        "-3\r\nabc\r\n",
        "FFFFFFFFFFFFFFFFF\r\nabc\r\n",
        "3\r\nabcdef\r\n0\r\n\r\n",
    ] {
        let (_, answer) = ask(&site, format!("{chunked}{broken}")).await;
        // A body that breaks off may also end without an answer.
        assert!(
            answer.is_none_or(|answer| answer.status == 400),
            "{broken:?}"
        );
    }
    let (_, answer) = ask(
        &site,
        format!("{chunked}{:x}\r\n{}\r\n0\r\n\r\n", 1_001, "x".repeat(1_001)),
    )
    .await;
    assert!(
        matches!(answer.unwrap().status, 400 | 413),
        "more than it may bring"
    );
    lives(&site).await;
}

#[tokio::test]
async fn a_client_that_expects_to_be_told_to_go_on_is_told() {
    let site = served().await;
    let head = |length: usize| {
        format!(
            "POST /body HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let (mut raw, answer) = ask(&site, head(3)).await;
    assert_eq!(answer.unwrap().status, 100);
    raw.send("abc").await;
    assert_eq!(raw.answer().await.unwrap().body, "3 bytes");
    let (_, answer) = ask(&site, head(1_001)).await;
    assert_eq!(
        answer.unwrap().status,
        413,
        "not told to send what is refused"
    );
}

#[tokio::test]
async fn lengths_that_make_no_sense_are_refused() {
    let site = served().await;
    for length in [
        "-1",
        "+3",
        "3x",
        "0x3",
        "3, 4",
        "99999999999999999999999",
        "",
    ] {
        let (mut raw, answer) = ask(
            &site,
            format!("POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\nabc"),
        )
        .await;
        assert_eq!(answer.unwrap().status, 400, "{length:?}");
        raw.closed().await;
    }
    for headers in [
        "content-length: 3\r\ncontent-length: 4\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: nonsense\r\n",
    ] {
        let (mut raw, answer) = ask(
            &site,
            format!("POST /body HTTP/1.1\r\nhost: x\r\n{headers}\r\nabc"),
        )
        .await;
        assert_eq!(answer.unwrap().status, 400, "{headers:?}");
        raw.closed().await;
    }
    let (_, answer) = ask(&site, "POST /body HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(
        answer.unwrap().body,
        "0 bytes",
        "without a length there is no body"
    );
}

#[tokio::test]
async fn chunks_count_and_not_the_length_beside_them() {
    let site = served().await;
    let (_, answer) = ask(
        &site,
        "POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    )
    .await;
    let answer = answer.unwrap();
    // Either is safe against smuggling: the length is ignored, or the request refused.
    assert!(
        answer.status == 400 || answer.body == "1 bytes",
        "{answer:?}"
    );
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    let site = served().await;
    for nonsense in [
        "\0\0\0\0\0\0\0\0\r\n\r\n",
        "GET\r\n\r\n",
        "GET /hello/x HTTP/9.9\r\n\r\n",
        "GET /hello/x HTTP/1.1\r\nno colon\r\n\r\n",
        "GET /hello/x HTTP/1.1\r\n: no name\r\n\r\n",
        "GET /hel lo HTTP/1.1\r\nhost: x\r\n\r\n",
        "G\u{1}T /hello/x HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /hello/x HTTP/1.1\r\nx: a\0b\r\n\r\n",
    ] {
        let (mut raw, answer) = ask(&site, nonsense).await;
        assert_eq!(
            answer.map(|answer| answer.status),
            Some(400),
            "{nonsense:?}"
        );
        raw.closed().await;
    }
    lives(&site).await;
}

#[tokio::test]
async fn a_header_without_end_is_cut_off() {
    let site = served().await;
    for start in ["GET /", "GET / HTTP/1.1\r\nx: "] {
        let (mut raw, answer) = ask(&site, format!("{start}{}", "x".repeat(64 * 1024))).await;
        // What is still on its way when we close may reset the connection before the answer is read.
        assert!(
            answer.is_none_or(|answer| matches!(answer.status, 414 | 431)),
            "{start:?}"
        );
        raw.closed().await;
    }
    lives(&site).await;
}

#[tokio::test]
async fn head_is_answered_without_a_body_and_other_methods_by_name() {
    let site = served().await;
    let mut raw = Raw::connect(site.address).await;
    raw.send("HEAD /hello/x HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let head = raw.head().await.unwrap();
    assert!(
        head.contains("200") && head.contains("content-length: 8"),
        "{head}"
    );
    assert_eq!(
        raw.get("/hello/x").await.body,
        "hello, x",
        "no byte of a body came before"
    );
    raw.send("OPTIONS /hello/x HTTP/1.1\r\nhost: x\r\n\r\n")
        .await;
    assert_eq!(raw.answer().await.unwrap().status, 405);
}

#[tokio::test]
async fn an_old_client_is_answered_and_let_go() {
    let site = served().await;
    let (mut raw, answer) = ask(&site, "GET /hello/x HTTP/1.0\r\n\r\n").await;
    assert_eq!(answer.unwrap().body, "hello, x");
    raw.closed().await;
    let (mut raw, answer) = ask(
        &site,
        "GET /hello/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(answer.unwrap().status, 200);
    raw.closed().await;
}

#[tokio::test]
async fn a_path_is_handed_on_as_it_came() {
    let site = served().await;
    let mut raw = Raw::connect(site.address).await;
    assert_eq!(raw.get("/hello/a%20b%2Fc").await.body, "hello, a%20b%2Fc");
    assert_eq!(raw.get("/hello/%zz").await.status, 200);
}

#[tokio::test]
async fn clients_that_leave_early_disturb_nobody() {
    let site = served().await;
    for part in [
        "",
        "GE",
        "GET /hello/x HTTP/1.1\r\n",
        "POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc",
    ] {
        let mut raw = Raw::connect(site.address).await;
        raw.send(part).await;
    }
    lives(&site).await;
    let connections = site.system.supervisor("web.connections").unwrap();
    eventually(&site.system, "nothing of them is left", async || {
        connections.count_children().await.unwrap().active == 0
    })
    .await;
}
