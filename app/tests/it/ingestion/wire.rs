//! The endpoints over a real connection: bodies in pieces, early refusals, the client's address.

use std::net::{SocketAddr, TcpListener};

use mesh_runtime::{Strategy, Supervisor, http};
use mesher::ingestion::http::routes;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::support::{Door, KEY, door, json_of};

async fn serve(door: &Door) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = http::server(
        "web",
        listener,
        routes(door.admission.clone()),
        http::Options::default(),
    );
    let tree = Supervisor::new(Strategy::OneForOne).child(server);
    door.system.supervise(tree).await.unwrap();
    address
}

/// Sends a whole request and reads the whole answer; the server closes.
async fn exchange(address: SocketAddr, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{head}\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_in_chunks_is_taken_and_the_user_gets_the_connections_address() {
    let door = door().await;
    let address = serve(&door).await;
    let event = json!({ "message": "boom", "user": { "ip_address": "{{auto}}" } }).to_string();
    let (left, right) = event.split_at(20);
    let chunks = format!("14\r\n{left}\r\n{:x}\r\n{right}\r\n0\r\n\r\n", right.len());
    let head =
        format!("POST /api/1/store/?sentry_key={KEY} HTTP/1.1\r\ntransfer-encoding: chunked");
    let answer = exchange(address, &head, chunks.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let events = door.spooled().await;
    assert_eq!(json_of(&events[0])["user"]["ip_address"], "127.0.0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_refused_while_it_sends_gets_to_read_why() {
    let door = door().await;
    let address = serve(&door).await;
    let body = vec![b'x'; 5 << 20];
    let unknown = "c94ae32be2584e0bbd7a4cbb95971fee";
    for (head, status) in [
        (
            format!("POST /api/1/envelope/?sentry_key={unknown} HTTP/1.1"),
            "403",
        ),
        (
            format!("POST /api/v1/events?sentry_key={KEY} HTTP/1.1"),
            "413",
        ),
        (
            format!("POST /api/1/envelope/?sentry_key={KEY} HTTP/1.1"),
            "400",
        ),
    ] {
        let head = format!("{head}\r\ncontent-length: {}", body.len());
        let answer = exchange(address, &head, &body).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{head}: {answer}"
        );
        assert!(answer.contains("access-control-allow-origin: *"));
    }
}
