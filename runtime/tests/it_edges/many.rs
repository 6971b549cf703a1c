//! Very many connections (scenarios R12 and R13), each test in a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mesh_runtime::ws::{self, Close, Connection, Frame, Next, Options, Socket};
use mesh_runtime::{RoomPolicy, http};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use warp::Filter;

use crate::support::alone::{part, passes_alone, process, resident_bytes};
use crate::support::raw::Raw;
use crate::support::site::{Site, eventually, site};

/// Connections opened before one is asked: fewer than a listener lets wait.
const AT_ONCE: usize = 64;

async fn half_headers(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut slow = Vec::new();
    for at in 1..=count {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let begun = b"GET /hello HTTP/1.1\r\nhost: test\r\nx-slow: ";
        stream.write_all(begun).await.unwrap();
        slow.push(stream);
        if at % AT_ONCE == 0 || at == count {
            // Those before it have been accepted when this one is answered.
            assert_eq!(Raw::connect(address).await.get("/hello").await.status, 200);
        }
    }
    slow
}

#[tokio::test]
async fn slow_headers_cost_little_and_disturb_nobody() {
    if part().is_none() {
        return passes_alone("many::slow_headers_cost_little_and_disturb_nobody");
    }
    const SLOW: usize = 500;
    const BYTES_MAX: usize = 25 * 1024;
    let options = http::Options {
        header_timeout: Duration::from_secs(3_600),
        ..http::Options::default()
    };
    let site = site(warp::path!("hello").map(|| "hello"), options).await;
    let mut other = Raw::connect(site.address).await;
    // What a process allocates once is not counted.
    let _first = half_headers(site.address, AT_ONCE).await;
    let before = resident_bytes();
    let slow = half_headers(site.address, SLOW).await;
    let connections = site.system.supervisor("web.connections").unwrap();
    eventually(&site.system, "all are being served", async || {
        connections.count_children().await.unwrap().active > SLOW + AT_ONCE
    })
    .await;
    for _ in 0..50 {
        assert_eq!(other.get("/hello").await.status, 200);
    }
    let each = resident_bytes().saturating_sub(before) / SLOW;
    assert!(each <= BYTES_MAX, "{each} bytes for each slow connection");
    // And they are what they seem to be: one that goes on is answered.
    let mut late = Raw::over(slow.into_iter().next_back().unwrap());
    late.send("yes\r\n\r\n").await;
    assert_eq!(late.answer().await.unwrap().status, 200);
}

/// Joins the rooms it is told.
struct Member;

impl Socket for Member {
    type Args = &'static [&'static str];
    type Message = ();

    async fn on_connect(
        rooms: &'static [&'static str],
        cx: &mut Connection<()>,
    ) -> Result<Self, Close> {
        for room in rooms {
            cx.join(room).unwrap();
        }
        Ok(Member)
    }

    async fn on_message(&mut self, _frame: Frame, _cx: &mut Connection<()>) -> Next {
        Next::Continue
    }
}

/// `quick` is in the lobby; `slow` and `strict` may have four frames waiting, and are in the cellar besides.
async fn rooms() -> Site {
    let slow = Options {
        queue_max: 4,
        // Nobody here answers a ping, and on a busy machine it takes longer than 30 s until all are in.
        ping_interval: Duration::from_secs(3_600),
        ..Options::default()
    };
    let strict = Options {
        slow_peer: RoomPolicy::Disconnect,
        close_timeout: Duration::from_secs(3_600),
        ..slow.clone()
    };
    let route =
        warp::path!(String)
            .and(ws::upgrade())
            .map(move |kind: String, upgrade: ws::Upgrade| {
                let (rooms, options): (&[_], _) = match kind.as_str() {
                    "slow" => (&["lobby", "cellar"], slow.clone()),
                    "strict" => (&["lobby", "cellar"], strict.clone()),
                    _ => (&["lobby"], Options::default()),
                };
                upgrade.accept::<Member>(rooms, options)
            });
    site(route, http::Options::default()).await
}

async fn enter(address: SocketAddr, kind: &str) -> TcpStream {
    let mut raw = Raw::connect(address).await;
    raw.send(format!(
        "GET /{kind} HTTP/1.1\r\nhost: test\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ))
    .await;
    let head = raw.head().await.unwrap();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    raw.into_stream()
}

/// The payload of the server's next frame, and whether it is a close.
async fn hear(stream: &mut TcpStream) -> (bool, Vec<u8>) {
    let first = stream.read_u8().await.unwrap();
    let len = match stream.read_u8().await.unwrap() {
        126 => stream.read_u16().await.unwrap().into(),
        127 => stream.read_u64().await.unwrap(),
        len => len.into(),
    };
    let mut payload = vec![0; usize::try_from(len).unwrap()];
    stream.read_exact(&mut payload).await.unwrap();
    (first == 0x88, payload)
}

/// A process with so many members of the lobby, to be killed.
fn victims(test: &str, address: SocketAddr, count: usize) -> Child {
    let mut child = process(test, &format!("{address} {count}"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);
    assert!(
        lines.any(|line| line.ends_with("all are in")),
        "they did not get in"
    );
    child
}

async fn be_victims(part: &str) {
    // Should the test fail, nobody is left to kill this process.
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    let (address, count) = part.split_once(' ').unwrap();
    let mut streams = Vec::new();
    for _ in 0..count.parse().unwrap() {
        streams.push(enter(address.parse().unwrap(), "quick").await);
    }
    println!("all are in");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_room_of_a_thousand_minds_neither_slow_readers_nor_killed_ones() {
    const TEST: &str = "many::a_room_of_a_thousand_minds_neither_slow_readers_nor_killed_ones";
    match part().as_deref() {
        None => return passes_alone(TEST),
        Some("main") => {}
        Some(victims) => return be_victims(victims).await,
    }
    const QUICK: usize = 700;
    const KILLED: usize = 298;
    const CELLAR: usize = 16;
    const LOBBY: usize = 20;
    let site = rooms().await;
    let rooms = site.system.rooms();
    let in_lobby = async |count| {
        eventually(&site.system, "all are in the lobby", async || {
            site.system.rooms().members("lobby").len() == count
        })
        .await;
    };
    let mut slow = enter(site.address, "slow").await;
    let mut strict = enter(site.address, "strict").await;
    let heard = Arc::new(AtomicUsize::new(0));
    let mut quick = JoinSet::new();
    for _ in 0..QUICK {
        let (mut stream, heard) = (enter(site.address, "quick").await, heard.clone());
        quick.spawn(async move {
            for round in 0..LOBBY {
                let (_, payload) = hear(&mut stream).await;
                assert_eq!(payload, format!("round {round}").into_bytes());
                heard.fetch_add(1, Ordering::Relaxed);
            }
            stream
        });
    }
    let address = site.address;
    let begun = tokio::task::spawn_blocking(move || victims(TEST, address, KILLED));
    let mut child = begun.await.unwrap();
    in_lobby(2 + QUICK + KILLED).await;

    // Far more than the kernel buffers for those who do not read.
    let ballast = bytes::Bytes::from("x".repeat(1024 * 1024));
    for _ in 0..CELLAR {
        rooms.broadcast("cellar", ballast.clone());
        tokio::task::yield_now().await;
    }
    eventually(&site.system, "who may not be slow is put out", async || {
        site.system.inspect().counts.room_members_disconnected == 1
    })
    .await;
    let close = loop {
        let (is_close, payload) = hear(&mut strict).await;
        if is_close {
            break payload;
        }
    };
    assert_eq!(&close[..2], &Close::TRY_AGAIN_LATER.to_be_bytes());
    drop(strict);
    for round in 0..LOBBY {
        rooms.broadcast("lobby", format!("round {round}").into());
        if round == LOBBY / 2 {
            // In the middle of it.
            child.kill().unwrap();
        }
        eventually(&site.system, "the quick have heard it", async || {
            heard.load(Ordering::Relaxed) == QUICK * (round + 1)
        })
        .await;
    }
    child.wait().unwrap();
    let quick = quick.join_all().await;
    assert_eq!(quick.len(), QUICK);
    // The killed are gone, and so is the one that may not be slow.
    in_lobby(1 + QUICK).await;

    let (mut got, mut missed) = (0, 0);
    while got + missed < CELLAR + LOBBY {
        let (_, payload) = hear(&mut slow).await;
        let text = String::from_utf8(payload).unwrap();
        let count = text.strip_prefix("{\"missed\":");
        match count.and_then(|rest| rest.strip_suffix('}')) {
            Some(count) => missed += count.parse::<usize>().unwrap(),
            None => got += 1,
        }
    }
    assert_eq!(got + missed, CELLAR + LOBBY, "every frame came or was told");
    assert!(missed > 0, "{got} came");
}
