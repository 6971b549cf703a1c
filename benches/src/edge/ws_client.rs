//! Many WebSocket clients that say nothing, and check what they are told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::{open, questions, say};
use super::files::room_for;
use super::rooms::{PAYLOAD_BYTES, payload};

const HANDSHAKE: &[u8] =
    b"GET /room HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// What all clients have heard together.
#[derive(Default)]
struct Heard {
    clients: AtomicUsize,
    /// Frames of the round that goes on.
    frames: AtomicUsize,
    /// Rounds that all have heard.
    rounds: AtomicU64,
}

/// Answers `connect N` when there are so many, and says how many frames there were whenever all have heard one more.
pub(super) async fn run(server: SocketAddr) {
    let mut questions = questions();
    let heard = Arc::<Heard>::default();
    while let Some((word, number)) = questions.recv().await {
        match word.as_str() {
            "connect" => {
                room_for(number as u64);
                let more = number - heard.clients.load(Relaxed);
                let fresh = open(more, || connect(server)).await;
                heard.clients.store(number, Relaxed);
                for stream in fresh {
                    tokio::spawn(listen(stream, heard.clone()));
                }
                say(&[number as f64]);
            }
            other => panic!("nobody knows how to {other}"),
        }
    }
}

async fn connect(server: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(server).await.expect("it listens");
    stream.write_all(HANDSHAKE).await.expect("it reads");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("it answers"));
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "it agrees");
    stream
}

async fn listen(mut stream: TcpStream, heard: Arc<Heard>) {
    let mut round = heard.rounds.load(Relaxed);
    // A final text frame whose length takes two bytes more.
    const HEAD: [u8; 4] = [
        0x81,
        126,
        (PAYLOAD_BYTES >> 8) as u8,
        (PAYLOAD_BYTES & 0xff) as u8,
    ];
    let mut frame = [0; HEAD.len() + PAYLOAD_BYTES];
    loop {
        let read = stream.read_exact(&mut frame).await;
        if read.is_err() {
            fail("the server closed");
        }
        if frame[..HEAD.len()] != HEAD || frame[HEAD.len()..] != payload(round) {
            fail("a frame came that is not the next");
        }
        round += 1;
        // One thread runs all of this.
        let frames = heard.frames.fetch_add(1, Relaxed) + 1;
        if frames == heard.clients.load(Relaxed) {
            heard.frames.store(0, Relaxed);
            heard.rounds.store(round, Relaxed);
            say(&[frames as f64]);
        }
    }
}

/// Ends the process: the run fails when nobody answers.
fn fail(why: &str) -> ! {
    eprintln!("{why}");
    std::process::exit(1);
}
