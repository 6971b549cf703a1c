//! A callback that waits for something: the connection goes on without it.

use std::sync::Arc;
use std::time::Duration;

use mesh_runtime::ws::{self, Close, Connection, Frame, Next, Options, Socket};
use mesh_runtime::{RoomPolicy, http};
use tokio::sync::Notify;
use warp::Filter;

use super::{HANDSHAKE, Seen, close_code, masked, raw};
use crate::support::raw::Raw;
use crate::support::site::{PATIENCE, Site, eventually, site};

/// Says `begun` and waits to be let go on when told `wait`, or from the start; echoes what else it is told.
struct Busy(Seen, Arc<Notify>);

#[derive(Clone, Copy, PartialEq)]
enum Wait {
    FromTheStart,
    WhenTold,
}

impl Socket for Busy {
    type Args = (Seen, Arc<Notify>, Wait);
    type Message = String;

    async fn on_connect(
        (seen, go_on, wait): (Seen, Arc<Notify>, Wait),
        cx: &mut Connection<String>,
    ) -> Result<Self, Close> {
        cx.join("lobby").unwrap();
        if wait == Wait::FromTheStart {
            cx.send_text("begun");
            go_on.notified().await;
        }
        Ok(Busy(seen, go_on))
    }

    async fn on_message(&mut self, frame: Frame, cx: &mut Connection<String>) -> Next {
        let Frame::Text(text) = frame else {
            return Next::Continue;
        };
        if text == "wait" {
            cx.send_text("begun");
            self.1.notified().await;
            cx.send_text("done");
        } else {
            cx.send_text(text);
        }
        Next::Continue
    }

    fn on_close(&mut self, code: u16, reason: &str) {
        self.0.0.lock().push((code, reason.to_owned()));
    }
}

/// A client whose handler waits, and what lets it go on.
async fn waiting(wait: Wait, options: Options) -> (Site, Seen, Arc<Notify>, Raw) {
    let (site, seen, go_on) = busy(wait, options).await;
    let mut raw = raw(&site).await;
    if wait == Wait::WhenTold {
        raw.send(masked(0x81, b"wait")).await;
    }
    assert_eq!(raw.bytes(7).await, b"\x81\x05begun");
    (site, seen, go_on, raw)
}

/// The same, and the client has said `next`. That lies behind its handshake, so that it is read before the first ping is due.
async fn waiting_with_a_message(options: Options) -> (Site, Seen, Arc<Notify>, Raw) {
    waiting_with(b"next", options).await
}

async fn waiting_with(message: &[u8], options: Options) -> (Site, Seen, Arc<Notify>, Raw) {
    let (site, seen, go_on) = busy(Wait::FromTheStart, options).await;
    let mut raw = Raw::connect(site.address).await;
    raw.send(
        [
            format!("{HANDSHAKE}\r\n").as_bytes(),
            &masked(0x81, message),
        ]
        .concat(),
    )
    .await;
    assert_eq!(raw.answer().await.unwrap().status, 101);
    assert_eq!(raw.bytes(7).await, b"\x81\x05begun");
    (site, seen, go_on, raw)
}

async fn busy(wait: Wait, options: Options) -> (Site, Seen, Arc<Notify>) {
    let (seen, go_on) = (Seen::default(), Arc::new(Notify::new()));
    let args = (seen.clone(), go_on.clone(), wait);
    let route = warp::path!("ws")
        .and(ws::upgrade())
        .map(move |upgrade: ws::Upgrade| upgrade.accept::<Busy>(args.clone(), options.clone()));
    let site = site(route, http::Options::default()).await;
    (site, seen, go_on)
}

#[tokio::test]
async fn frames_and_pings_pass_a_callback_that_waits() {
    let (site, _, go_on, mut raw) = waiting(Wait::WhenTold, Options::default()).await;
    site.system.rooms().broadcast("lobby", "news".into());
    assert_eq!(raw.bytes(6).await, b"\x81\x04news");
    raw.send(masked(0x89, b"?")).await;
    assert_eq!(raw.bytes(3).await, b"\x8a\x01?");
    // The next message waits its turn; rooms do not wait for it.
    raw.send(masked(0x81, b"next")).await;
    site.system.rooms().broadcast("lobby", "more".into());
    assert_eq!(raw.bytes(6).await, b"\x81\x04more");
    go_on.notify_one();
    assert_eq!(raw.bytes(12).await, b"\x81\x04done\x81\x04next");
}

#[tokio::test]
async fn a_close_is_answered_while_a_callback_waits() {
    let (site, seen, go_on, mut raw) = waiting(Wait::WhenTold, Options::default()).await;
    raw.send(masked(0x88, &1000u16.to_be_bytes())).await;
    assert_eq!(close_code(&mut raw).await, 1000);
    assert!(seen.closed().is_empty(), "the callback is not done");
    go_on.notify_one();
    eventually(&site.system, "on_close, once", async || {
        seen.closed() == [(1000, String::new())]
    })
    .await;
    raw.closed().await;
}

#[tokio::test]
async fn a_silent_peer_is_given_up_while_a_callback_waits() {
    // From the start, so that what is said comes before the first ping however slow the machine is.
    let moment = Duration::from_millis(20);
    let options = Options {
        ping_interval: moment,
        pong_timeout: moment,
        close_timeout: moment,
        ..Options::default()
    };
    let (site, seen, go_on, mut raw) = waiting(Wait::FromTheStart, options).await;
    assert_eq!(raw.bytes(2).await, [0x89, 0], "a ping");
    assert_eq!(close_code(&mut raw).await, 1001);
    go_on.notify_one();
    raw.closed().await;
    eventually(&site.system, "on_close, once", async || {
        seen.closed().len() == 1
    })
    .await;
}

#[tokio::test]
async fn pings_go_out_though_a_message_waits() {
    let options = Options {
        ping_interval: Duration::from_millis(20),
        pong_timeout: PATIENCE,
        ..Options::default()
    };
    let (_site, _, go_on, mut raw) = waiting_with_a_message(options).await;
    assert_eq!(raw.bytes(2).await, [0x89, 0], "a ping");
    go_on.notify_one();
    assert_eq!(raw.bytes(6).await, b"\x81\x04next");
}

#[tokio::test]
async fn a_slow_reader_is_noticed_though_a_message_waits() {
    let options = Options {
        queue_max: 4,
        slow_peer: RoomPolicy::Disconnect,
        close_timeout: Duration::from_millis(20),
        ..Options::default()
    };
    // Were the message handled first, it would wait for somebody else to let it go on.
    let (site, seen, go_on, _raw) = waiting_with(b"wait", options).await;
    let payload = bytes::Bytes::from("x".repeat(1024 * 1024));
    let rooms = site.system.rooms();
    // Nobody takes what the room says once it is known that the peer will not hear it, and the room loses patience too.
    eventually(&site.system, "it has left the room", async || {
        rooms.broadcast("lobby", payload.clone());
        rooms.members("lobby").is_empty()
    })
    .await;
    go_on.notify_one();
    eventually(&site.system, "it is closed", async || {
        !seen.closed().is_empty()
    })
    .await;
    assert_eq!(seen.closed()[0].0, Close::TRY_AGAIN_LATER);
    let counts = site.system.inspect().counts;
    assert_eq!(counts.room_members_disconnected, 1);
}

#[tokio::test]
async fn a_stream_that_breaks_under_room_frames_is_1006_once() {
    for message in [b"next".as_slice(), b""] {
        let (site, seen, go_on, raw) = if message.is_empty() {
            waiting(Wait::WhenTold, Options::default()).await
        } else {
            waiting_with(message, Options::default()).await
        };
        let stream = raw.into_stream();
        stream.set_zero_linger().unwrap();
        drop(stream);
        for _ in 0..3 {
            site.system.rooms().broadcast("lobby", "news".into());
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
        go_on.notify_one();
        eventually(&site.system, "it is closed", async || {
            !seen.closed().is_empty()
        })
        .await;
        eventually(&site.system, "it has left the room", async || {
            site.system.rooms().members("lobby").is_empty()
        })
        .await;
        let codes: Vec<u16> = seen.closed().iter().map(|(code, _)| *code).collect();
        assert_eq!(codes, [Close::ABNORMAL]);
    }
}
