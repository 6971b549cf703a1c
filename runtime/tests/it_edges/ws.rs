//! WebSockets over real sockets: a well-behaved client, and one that says exactly what it is told.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use mesh_runtime::ws::{self, Close, Connection, Frame, Next, Options, Socket};
use mesh_runtime::{Address, Job, Pid, http};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio_websockets::{ClientBuilder, CloseCode, Message, WebSocketStream};
use warp::Filter;

use crate::support::raw::Raw;
use crate::support::site::{PATIENCE, Site, eventually, site};

mod busy;
mod deaf;
mod protocol;
mod slow;

/// What the handlers of one test saw.
#[derive(Clone, Default)]
struct Seen(
    Arc<Mutex<Vec<(u16, String)>>>,
    Arc<Mutex<Vec<Address<String>>>>,
);

impl Seen {
    fn closed(&self) -> Vec<(u16, String)> {
        self.0.lock().clone()
    }

    fn pid(&self, number: usize) -> Pid {
        self.1.lock()[number].pid()
    }
}

/// Echoes; a few texts have a meaning.
struct Echo(Seen);

impl Socket for Echo {
    type Args = Seen;
    type Message = String;

    async fn on_connect(seen: Seen, cx: &mut Connection<String>) -> Result<Self, Close> {
        seen.1.lock().push(cx.address());
        Ok(Echo(seen))
    }

    async fn on_message(&mut self, frame: Frame, cx: &mut Connection<String>) -> Next {
        match frame {
            Frame::Text(text) => match text.as_str() {
                "panic" => panic!("on purpose"),
                "protocol" => {
                    let protocol = cx.protocol().unwrap_or("none").to_owned();
                    cx.send_text(protocol);
                }
                "close" => return Next::Close(4001, "as you wish".to_owned()),
                _ if text.starts_with("join ") => {
                    cx.join(&text[5..]).unwrap();
                    cx.send_text("joined");
                }
                _ if text.starts_with("leave ") => {
                    cx.leave(&text[6..]);
                    cx.send_text("left");
                }
                _ => cx.send_text(text),
            },
            Frame::Binary(bytes) => cx.send_binary(bytes),
            _ => {}
        }
        Next::Continue
    }

    async fn on_info(&mut self, message: String, cx: &mut Connection<String>) -> Next {
        cx.send_text(message);
        Next::Continue
    }

    fn on_close(&mut self, code: u16, reason: &str) {
        self.0.0.lock().push((code, reason.to_owned()));
    }
}

struct Refuses;

impl Socket for Refuses {
    type Args = ();
    type Message = ();

    async fn on_connect((): (), _cx: &mut Connection<()>) -> Result<Self, Close> {
        Err(Close::new(Close::POLICY, "not today"))
    }

    async fn on_message(&mut self, _frame: Frame, _cx: &mut Connection<()>) -> Next {
        Next::Continue
    }
}

async fn echo(options: Options) -> (Site, Seen) {
    let seen = Seen::default();
    let args = seen.clone();
    let route = warp::path!("ws")
        .and(ws::upgrade())
        .map(move |upgrade: ws::Upgrade| upgrade.accept::<Echo>(args.clone(), options.clone()));
    let refuses = warp::path!("refuses")
        .and(ws::upgrade())
        .map(|upgrade: ws::Upgrade| upgrade.accept::<Refuses>((), Options::default()));
    let plain = warp::path!("ws").map(|| "a page");
    (
        site(route.or(refuses).or(plain), http::Options::default()).await,
        seen,
    )
}

type Client = WebSocketStream<TcpStream>;

async fn connect(site: &Site) -> Client {
    let stream = TcpStream::connect(site.address).await.unwrap();
    let uri = format!("ws://{}/ws", site.address);
    ClientBuilder::new()
        .uri(&uri)
        .unwrap()
        .connect_on(stream)
        .await
        .unwrap()
        .0
}

async fn next(client: &mut Client) -> Message {
    tokio::time::timeout(PATIENCE, client.next())
        .await
        .expect("in time")
        .unwrap()
        .unwrap()
}

async fn next_text(client: &mut Client) -> String {
    next(client).await.as_text().expect("a text").to_owned()
}

async fn next_close(client: &mut Client) -> (u16, String) {
    loop {
        let message = next(client).await;
        if let Some((code, reason)) = message.as_close() {
            return (code.into(), reason.to_owned());
        }
    }
}

async fn say(client: &mut Client, text: &str) -> String {
    client.send(Message::text(text.to_owned())).await.unwrap();
    next_text(client).await
}

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nhost: test\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

async fn raw(site: &Site) -> Raw {
    let mut raw = Raw::connect(site.address).await;
    raw.send(format!("{HANDSHAKE}\r\n")).await;
    let answer = raw.answer().await.unwrap();
    assert_eq!(answer.status, 101);
    assert!(
        answer
            .head
            .contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=")
    );
    raw
}

/// A masked frame, as clients send them; the mask is zero.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len()).unwrap();
    assert!(len < 126);
    [&[first, 0x80 | len, 0, 0, 0, 0], payload].concat()
}

async fn close_code(raw: &mut Raw) -> u16 {
    let head = raw.bytes(2).await;
    assert_eq!(head[0], 0x88, "a close frame");
    let payload = raw.bytes(usize::from(head[1])).await;
    u16::from_be_bytes([payload[0], payload[1]])
}

#[tokio::test]
async fn frames_are_echoed_and_other_processes_may_write() {
    let (site, seen) = echo(Options::default()).await;
    let mut client = connect(&site).await;
    assert_eq!(say(&mut client, "hello").await, "hello");
    let bytes: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
    client.send(Message::binary(bytes.clone())).await.unwrap();
    assert_eq!(next(&mut client).await.as_payload()[..], bytes[..]);
    let address = seen.1.lock()[0].clone();
    address.send("from outside".to_owned()).unwrap();
    assert_eq!(next_text(&mut client).await, "from outside");
    let (system, pid) = (site.system.clone(), address.pid());
    let watcher = Job::spawn(&site.system, async move { system.wait_for_exit(pid).await });
    tokio::task::yield_now().await;
    client
        .send(Message::close(Some(CloseCode::NORMAL_CLOSURE), "bye"))
        .await
        .unwrap();
    assert_eq!(next_close(&mut client).await.0, 1000);
    eventually(&site.system, "on_close, once", async || {
        seen.closed() == [(1000, "bye".to_owned())]
    })
    .await;
    drop(client);
    assert!(watcher.await.unwrap().is_normal());
}

#[tokio::test]
async fn frames_split_byte_by_byte_arrive_whole() {
    let (site, _) = echo(Options::default()).await;
    let mut raw = raw(&site).await;
    // "hel" and "lo" as two fragments with a ping between them.
    let bytes = [
        masked(0x01, b"hel"),
        masked(0x89, b"?"),
        masked(0x80, b"lo"),
    ]
    .concat();
    for byte in bytes {
        raw.send([byte]).await;
        // A pause, so that each is read alone: one that only yields lets them gather in the kernel.
        site.system.sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(raw.bytes(3).await, [0x8a, 1, b'?'], "the pong");
    assert_eq!(raw.bytes(7).await, b"\x81\x05hello");
}

#[tokio::test]
async fn a_broken_protocol_is_answered_with_its_code() {
    let options = Options {
        message_bytes_max: 100,
        // One of the clients below does not answer our close.
        close_timeout: Duration::from_millis(20),
        ..Options::default()
    };
    let (site, seen) = echo(options).await;
    let unmasked = b"\x81\x02hi".to_vec();
    let cases = [
        (unmasked, 1002),
        (masked(0x83, b"?"), 1002),
        (masked(0x81, b"\xff\xfe"), 1007),
        (masked(0x82, &[0; 101]), 1009),
        (
            [masked(0x02, &[0; 60]), masked(0x80, &[0; 60])].concat(),
            1009,
        ),
    ];
    for (bytes, code) in &cases {
        let mut raw = raw(&site).await;
        raw.send(bytes).await;
        assert_eq!(close_code(&mut raw).await, *code);
        raw.closed().await;
    }
    eventually(&site.system, "each is reported once", async || {
        let codes: Vec<u16> = seen.closed().iter().map(|(code, _)| *code).collect();
        codes == [1002, 1002, 1007, 1009, 1009]
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_1006() {
    let (site, seen) = echo(Options::default()).await;
    drop(raw(&site).await);
    eventually(&site.system, "reported", async || {
        seen.closed()
            .iter()
            .map(|(code, _)| *code)
            .collect::<Vec<_>>()
            == [1006]
    })
    .await;
}

#[tokio::test]
async fn the_handler_may_close_and_may_refuse() {
    let (site, seen) = echo(Options::default()).await;
    let mut client = connect(&site).await;
    client.send(Message::text("close")).await.unwrap();
    assert_eq!(
        next_close(&mut client).await,
        (4001, "as you wish".to_owned())
    );
    eventually(&site.system, "reported once", async || {
        seen.closed() == [(4001, "as you wish".to_owned())]
    })
    .await;

    let mut refused = Raw::connect(site.address).await;
    refused
        .send(format!("{HANDSHAKE}\r\n").replace("/ws", "/refuses"))
        .await;
    assert_eq!(refused.answer().await.unwrap().status, 101);
    assert_eq!(close_code(&mut refused).await, 1008);
}

#[tokio::test]
async fn a_silent_peer_is_asked_and_given_up() {
    let moment = Duration::from_millis(20);
    let options = Options {
        ping_interval: moment,
        pong_timeout: moment,
        close_timeout: moment,
        ..Options::default()
    };
    let (site, seen) = echo(options).await;
    let mut silent = raw(&site).await;
    assert_eq!(silent.bytes(2).await, [0x89, 0], "a ping");
    assert_eq!(close_code(&mut silent).await, 1001);
    silent.closed().await;
    eventually(&site.system, "reported once", async || {
        seen.closed()
            .iter()
            .map(|(code, _)| *code)
            .collect::<Vec<_>>()
            == [1001]
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_answers_stays() {
    let options = Options {
        ping_interval: Duration::from_millis(5),
        ..Options::default()
    };
    let (site, _) = echo(options).await;
    let mut raw = raw(&site).await;
    for _ in 0..5 {
        assert_eq!(raw.bytes(2).await, [0x89, 0]);
        raw.send(masked(0x8a, b"")).await;
    }
}

#[tokio::test]
async fn a_panic_closes_1011_and_nobody_else_notices() {
    let (site, seen) = echo(Options::default()).await;
    let mut other = connect(&site).await;
    assert_eq!(say(&mut other, "hello").await, "hello");
    let mut client = connect(&site).await;
    assert_eq!(say(&mut client, "hello").await, "hello");
    let pid = seen.pid(1);
    client.send(Message::text("panic")).await.unwrap();
    assert_eq!(next_close(&mut client).await.0, 1011);
    drop(client);
    eventually(&site.system, "the process is gone", async || {
        !site.system.is_alive(pid)
    })
    .await;
    assert_eq!(say(&mut other, "still here").await, "still here");
    assert!(
        seen.closed().is_empty(),
        "a handler that panicked is not called again"
    );
}

#[tokio::test]
async fn a_panic_is_how_the_process_ends() {
    let (site, seen) = echo(Options::default()).await;
    let mut client = connect(&site).await;
    assert_eq!(say(&mut client, "hello").await, "hello");
    let (system, pid) = (site.system.clone(), seen.pid(0));
    let watcher = Job::spawn(&site.system, async move { system.wait_for_exit(pid).await });
    tokio::task::yield_now().await;
    client.send(Message::text("panic")).await.unwrap();
    assert_eq!(next_close(&mut client).await.0, 1011);
    drop(client);
    let reason = watcher.await.unwrap();
    assert!(
        reason.is_panic() && reason.to_string().contains("on purpose"),
        "{reason}"
    );
}

#[tokio::test]
async fn a_room_reaches_its_members_and_nobody_else() {
    let (site, _) = echo(Options::default()).await;
    let mut members = Vec::new();
    for _ in 0..3 {
        let mut client = connect(&site).await;
        assert_eq!(say(&mut client, "join lobby").await, "joined");
        members.push(client);
    }
    let mut outsider = connect(&site).await;
    assert_eq!(say(&mut outsider, "join elsewhere").await, "joined");
    let report = site.system.rooms().broadcast("lobby", "news".into());
    assert_eq!(report.delivered, 3);
    for client in &mut members {
        assert_eq!(next_text(client).await, "news");
    }
    assert_eq!(say(&mut outsider, "nothing?").await, "nothing?");

    assert_eq!(say(&mut members[0], "leave lobby").await, "left");
    assert_eq!(
        site.system
            .rooms()
            .broadcast("lobby", "more".into())
            .delivered,
        2
    );
    drop(members);
    eventually(&site.system, "the room is empty", async || {
        site.system.rooms().members("lobby").is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_slow_reader_delays_nobody_and_is_told_what_it_missed() {
    let options = Options {
        queue_max: 4,
        ..Options::default()
    };
    let (site, _) = echo(options).await;
    let mut slow = connect(&site).await;
    assert_eq!(say(&mut slow, "join lobby").await, "joined");
    let mut quick = connect(&site).await;
    assert_eq!(say(&mut quick, "join lobby").await, "joined");
    // Far more than the kernel buffers for a peer that does not read.
    let payload = bytes::Bytes::from("x".repeat(1024 * 1024));
    const COUNT: usize = 40;
    for _ in 0..COUNT {
        site.system.rooms().broadcast("lobby", payload.clone());
        assert_eq!(next(&mut quick).await.as_payload().len(), payload.len());
    }
    let (mut got, mut missed) = (0, 0);
    while got + missed < COUNT {
        let message = next(&mut slow).await;
        let text = message.as_text().unwrap();
        match text
            .strip_prefix("{\"missed\":")
            .and_then(|rest| rest.strip_suffix('}'))
        {
            Some(count) => missed += count.parse::<usize>().unwrap(),
            None => got += 1,
        }
    }
    assert!(missed > 0, "{got} came");
    assert_eq!(got + missed, COUNT, "every frame came or was counted");
    assert_eq!(say(&mut slow, "awake").await, "awake");
}

#[tokio::test]
async fn stopping_the_server_says_goodbye() {
    let (site, seen) = echo(Options::default()).await;
    let mut client = connect(&site).await;
    assert_eq!(say(&mut client, "hello").await, "hello");
    let tree = site.tree.clone();
    let stopping = Job::spawn(&site.system, async move { tree.stop().await });
    assert_eq!(next_close(&mut client).await.0, 1001);
    assert!(client.next().await.is_none());
    tokio::time::timeout(PATIENCE, stopping)
        .await
        .expect("in time")
        .unwrap()
        .unwrap();
    assert_eq!(
        seen.closed()
            .iter()
            .map(|(code, _)| *code)
            .collect::<Vec<_>>(),
        [1001]
    );
}

#[tokio::test]
async fn bad_handshakes_are_refused() {
    let (site, _) = echo(Options::default()).await;
    let cases = [
        (HANDSHAKE.replace("version: 13", "version: 8"), 426),
        (HANDSHAKE.replace("dGhlIHNhbXBsZSBub25jZQ==", "short"), 400),
        (
            HANDSHAKE.replace("connection: upgrade", "connection: close"),
            400,
        ),
        (format!("{HANDSHAKE}origin: http://evil.example\r\n"), 403),
        (format!("{HANDSHAKE}origin: http://test\r\n"), 101),
        ("GET /ws HTTP/1.1\r\nhost: test\r\n".to_owned(), 200),
    ];
    for (request, status) in cases {
        let mut raw = Raw::connect(site.address).await;
        raw.send(format!("{request}\r\n")).await;
        assert_eq!(raw.answer().await.unwrap().status, status, "{request}");
    }
}
