//! The cases of RFC 6455, frame by frame, in the order of the Autobahn test suite's chapters (scenario R12). That suite itself is written for
//! Python 2 and no longer runs.

use std::time::Duration;

use mesh_runtime::ws::{self, Close, Connection, Frame, Next, Options, Socket};
use mesh_runtime::{Job, http};
use tokio::net::TcpStream;
use warp::Filter;

use crate::support::raw::Raw;
use crate::support::site::{Site, eventually, site};

/// Echoes; joins the room `lobby` when told `join`.
struct Echo;

impl Socket for Echo {
    type Args = ();
    type Message = ();

    async fn on_connect((): (), _cx: &mut Connection<()>) -> Result<Self, Close> {
        Ok(Echo)
    }

    async fn on_message(&mut self, frame: Frame, cx: &mut Connection<()>) -> Next {
        match frame {
            Frame::Text(text) => match text.as_str() {
                "join" => {
                    cx.join("lobby").expect("the name is short");
                    cx.send_text("joined");
                }
                "leave" => {
                    cx.leave("lobby");
                    cx.send_text("left");
                }
                _ => cx.send_text(text),
            },
            Frame::Binary(bytes) => cx.send_binary(bytes),
            _ => {}
        }
        Next::Continue
    }
}

const HANDSHAKE: &str = "GET / HTTP/1.1\r\nhost: test\r\nupgrade: websocket\r\nconnection: keep-alive, Upgrade\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

async fn served() -> Site {
    let options = Options {
        // Most of the clients below do not answer a close.
        close_timeout: Duration::from_millis(20),
        ..Options::default()
    };
    let filter =
        ws::upgrade().map(move |upgrade: ws::Upgrade| upgrade.accept::<Echo>((), options.clone()));
    site(filter, http::Options::default()).await
}

async fn connect(site: &Site) -> Raw {
    let mut raw = Raw::connect(site.address).await;
    raw.send(HANDSHAKE).await;
    let head = raw.head().await.unwrap();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(
        !head.contains("extensions"),
        "nothing is agreed that is not spoken"
    );
    raw
}

const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
const FINAL: u8 = 0x80;

/// A frame as a client sends it, masked.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}

fn whole(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(FINAL | opcode, payload)
}

/// The next message of the server, put together: its opcode and payload.
async fn next(raw: &mut Raw) -> (u8, Vec<u8>) {
    let (first, mut payload) = next_frame(raw).await;
    let mut last = first;
    while last & FINAL == 0 {
        let (head, more) = next_frame(raw).await;
        assert_eq!(head & 0x0f, 0, "the same message goes on");
        payload.extend(more);
        last = head;
    }
    (first & 0x0f, payload)
}

/// The next frame of the server: its first byte and payload.
async fn next_frame(raw: &mut Raw) -> (u8, Vec<u8>) {
    let head = raw.bytes(2).await;
    assert_eq!(head[0] & 0x70, 0, "no reserved bit");
    let len = match head[1] {
        126 => {
            let len = raw.bytes(2).await;
            usize::from(u16::from_be_bytes([len[0], len[1]]))
        }
        127 => {
            let len = raw.bytes(8).await;
            usize::try_from(u64::from_be_bytes(len.try_into().unwrap())).unwrap()
        }
        len => usize::from(len),
    };
    (head[0], raw.bytes(len).await)
}

/// The code the server closes with, and that it does close.
async fn closed_with(raw: &mut Raw) -> u16 {
    let (opcode, payload) = next(raw).await;
    assert_eq!(opcode, CLOSE, "{payload:?}");
    raw.closed().await;
    payload
        .get(..2)
        .map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]))
}

/// Sends what must end the connection, and tells how it ended.
async fn ends_with(site: &Site, bytes: &[u8]) -> u16 {
    let mut raw = connect(site).await;
    raw.send(bytes).await;
    closed_with(&mut raw).await
}

#[tokio::test]
async fn chapter_1_messages_of_every_length_are_echoed() {
    let site = served().await;
    let mut raw = connect(&site).await;
    for len in [0, 1, 125, 126, 127, 128, 0xffff, 0x1_0000, 1 << 20] {
        for opcode in [TEXT, BINARY] {
            let payload = vec![b'*'; len];
            raw.send(whole(opcode, &payload)).await;
            let (echoed, came) = next(&mut raw).await;
            assert_eq!(echoed, opcode);
            assert!(came == payload, "{len} bytes");
        }
    }
}

#[tokio::test]
async fn chapter_2_pings_are_answered_in_order_and_pongs_are_not() {
    let site = served().await;
    let mut raw = connect(&site).await;
    raw.send(whole(PONG, b"nobody asked")).await;
    let binary: Vec<u8> = (0..125).map(|n| 255 - n).collect();
    for payload in [&b""[..], b"hello", &binary] {
        raw.send(whole(PING, payload)).await;
        assert_eq!(next(&mut raw).await, (PONG, payload.to_vec()));
    }
    let many: Vec<u8> = (0..10).flat_map(|n| whole(PING, &[n])).collect();
    raw.send(many).await;
    for n in 0..10 {
        assert_eq!(next(&mut raw).await, (PONG, vec![n]));
    }
    assert_eq!(ends_with(&site, &whole(PING, &[0; 126])).await, 1002);
}

#[tokio::test]
async fn chapter_3_reserved_bits_are_refused() {
    let site = served().await;
    for reserved in 1..8u8 {
        for opcode in [TEXT, BINARY, CLOSE, PING] {
            let bytes = whole((reserved << 4) | opcode, b"");
            assert_eq!(ends_with(&site, &bytes).await, 1002, "{reserved} {opcode}");
        }
    }
}

#[tokio::test]
async fn chapter_4_reserved_opcodes_are_refused() {
    let site = served().await;
    for opcode in (3..8).chain(11..16) {
        let mut raw = connect(&site).await;
        raw.send(
            [
                whole(TEXT, b"before"),
                whole(opcode, b"x"),
                whole(PING, b""),
            ]
            .concat(),
        )
        .await;
        assert_eq!(next(&mut raw).await, (TEXT, b"before".to_vec()));
        assert_eq!(closed_with(&mut raw).await, 1002, "{opcode}");
    }
}

#[tokio::test]
async fn chapter_5_fragments_are_put_together_and_control_frames_may_stand_between() {
    let site = served().await;
    let mut raw = connect(&site).await;
    raw.send(
        [
            frame(TEXT, b"one "),
            frame(FINAL | PING, b"between"),
            frame(0, b""),
            frame(0, b"two "),
            frame(FINAL | PONG, b"ignored"),
            frame(FINAL, b"three"),
        ]
        .concat(),
    )
    .await;
    assert_eq!(next(&mut raw).await, (PONG, b"between".to_vec()));
    assert_eq!(next(&mut raw).await, (TEXT, b"one two three".to_vec()));
    raw.send([frame(TEXT, b""), frame(0, b""), frame(FINAL, b"")].concat())
        .await;
    assert_eq!(next(&mut raw).await, (TEXT, Vec::new()));
    for wrong in [
        frame(PING, b"a fragmented ping"),
        frame(FINAL, b"goes on with nothing"),
        frame(0, b"goes on with nothing"),
        [frame(TEXT, b"begun"), whole(TEXT, b"and begun again")].concat(),
        [
            whole(TEXT, b""),
            frame(FINAL, b"goes on with what was whole"),
        ]
        .concat(),
    ] {
        let mut raw = connect(&site).await;
        raw.send(&wrong).await;
        let (mut opcode, mut payload) = next(&mut raw).await;
        if opcode == TEXT {
            (opcode, payload) = next(&mut raw).await;
        }
        assert_eq!(
            (opcode, &payload[..2]),
            (CLOSE, &1002u16.to_be_bytes()[..]),
            "{wrong:?}"
        );
    }
}

#[tokio::test]
async fn chapter_6_text_is_utf8_or_refused() {
    let site = served().await;
    let text = "κόσμε \u{1f600} \u{ffff} \u{10ffff} \0".as_bytes();
    let mut raw = connect(&site).await;
    for split in 0..=text.len() {
        raw.send([frame(TEXT, &text[..split]), frame(FINAL, &text[split..])].concat())
            .await;
        assert_eq!(
            next(&mut raw).await,
            (TEXT, text.to_vec()),
            "split at {split}"
        );
    }
    for wrong in [
        &b"\xff"[..],
        b"\x80",
        b"\xc0\xaf",
        b"\xc3",
        b"\xe2\x82",
        b"\xed\xa0\x80",
        b"\xf0\x80\x80\xaf",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"fine until \xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    ] {
        assert_eq!(
            ends_with(&site, &whole(TEXT, wrong)).await,
            1007,
            "{wrong:?}"
        );
        let parts = [frame(TEXT, b"ok "), frame(0, wrong), frame(FINAL, b" ok")].concat();
        assert_eq!(
            ends_with(&site, &parts).await,
            1007,
            "{wrong:?} as a fragment"
        );
        let mut raw = connect(&site).await;
        raw.send(whole(BINARY, wrong)).await;
        assert_eq!(
            next(&mut raw).await,
            (BINARY, wrong.to_vec()),
            "bytes may be anything"
        );
    }
}

#[tokio::test]
async fn chapter_7_a_close_is_answered_and_the_last_thing_said() {
    let site = served().await;
    let with = |code: u16, reason: &[u8]| whole(CLOSE, &[&code.to_be_bytes()[..], reason].concat());
    assert_eq!(ends_with(&site, &whole(CLOSE, b"")).await, 1005);
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999,
    ] {
        assert_eq!(ends_with(&site, &with(code, b"bye")).await, code);
    }
    assert_eq!(ends_with(&site, &with(1000, &[b'x'; 123])).await, 1000);
    assert_eq!(ends_with(&site, &with(1000, &[b'x'; 124])).await, 1002);
    assert_eq!(ends_with(&site, &whole(CLOSE, b"\x03")).await, 1002);
    for code in [
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
    ] {
        assert_eq!(ends_with(&site, &with(code, b"")).await, 1002, "{code}");
    }
    let code = ends_with(&site, &with(1000, b"\xed\xa0\x80")).await;
    assert!(matches!(code, 1002 | 1007), "{code}");
    let after = [
        with(1000, b""),
        whole(PING, b"?"),
        whole(TEXT, b"more"),
        whole(TEXT, b"\xff"),
    ]
    .concat();
    assert_eq!(
        ends_with(&site, &after).await,
        1000,
        "nothing counts after it"
    );
}

#[tokio::test]
async fn chapter_9_a_message_may_be_16_mib_and_no_more() {
    let site = served().await;
    let mut raw = connect(&site).await;
    let largest = vec![0x55; 16 << 20];
    raw.send(whole(BINARY, &largest)).await;
    let (opcode, came) = next(&mut raw).await;
    assert!(opcode == BINARY && came == largest);
    for (n, piece) in largest.chunks(64 * 1024).enumerate() {
        raw.send(frame(if n == 0 { BINARY } else { 0 }, piece))
            .await;
    }
    raw.send(frame(FINAL, b"")).await;
    assert!(next(&mut raw).await.1 == largest);
    let mut head = vec![FINAL | BINARY, 0x80 | 127];
    head.extend(((16u64 << 20) + 1).to_be_bytes());
    head.extend([0; 4]);
    assert_eq!(ends_with(&site, &head).await, 1009, "refused by its head");
    let mut endless = vec![FINAL | BINARY, 0x80 | 127];
    endless.extend(u64::MAX.to_be_bytes());
    endless.extend([0; 4]);
    let code = ends_with(&site, &endless).await;
    assert!(matches!(code, 1002 | 1009), "{code}");
}

#[tokio::test]
async fn a_storm_of_joins_leaves_and_vanishing_clients_spoils_no_broadcast() {
    const CLIENTS: usize = 60;
    let site = served().await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut raw = connect(&site).await;
        raw.send(whole(TEXT, b"join")).await;
        assert_eq!(next(&mut raw).await, (TEXT, b"joined".to_vec()));
        clients.push(raw);
    }
    let (rooms, system) = (site.system.clone(), site.system.clone());
    let broadcasts = Job::spawn(&site.system, async move {
        for n in 0..200u32 {
            rooms.rooms().broadcast("lobby", format!("#{n}").into());
            system.sleep(Duration::from_millis(1)).await;
        }
    });
    // A third vanishes as if killed: their kernel resets the connection. A third leaves and comes again. A third stays.
    let mut numbers = Vec::new();
    for (n, mut raw) in clients.into_iter().enumerate() {
        match n % 3 {
            0 => vanish(raw.into_stream()),
            1 => {
                raw.send([whole(TEXT, b"leave"), whole(TEXT, b"join")].concat())
                    .await;
                numbers.push(raw);
            }
            _ => numbers.push(raw),
        }
    }
    broadcasts.await.unwrap();
    eventually(
        &site.system,
        "only those that live are members",
        async || site.system.rooms().members("lobby").len() == numbers.len(),
    )
    .await;
    site.system.rooms().broadcast("lobby", "the end".into());
    for mut raw in numbers {
        let mut last = None;
        loop {
            let (_, payload) = next(&mut raw).await;
            let text = String::from_utf8(payload).unwrap();
            match text.strip_prefix('#') {
                Some(number) => {
                    let number: u32 = number.parse().unwrap();
                    assert!(last.is_none_or(|last| last < number), "in order, each once");
                    last = Some(number);
                }
                None if text == "the end" => break,
                None => assert!(["left", "joined"].contains(&&*text), "{text}"),
            }
        }
    }
}

/// Ends a connection as a killed client's kernel does.
fn vanish(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}
