//! A reader that is too slow, and may not be.

use futures_util::SinkExt;
use mesh_runtime::ws::{self, Close, Connection, Frame, Next, Options, Socket};
use mesh_runtime::{RoomPolicy, http};
use tokio_websockets::Message;
use warp::Filter;

use super::{Seen, connect, echo, next, next_close, say};
use crate::support::site::{PATIENCE, eventually, site};

#[tokio::test]
async fn a_slow_reader_that_may_not_be_one_is_closed_1013() {
    let options = Options {
        queue_max: 4,
        slow_peer: RoomPolicy::Disconnect,
        ..Options::default()
    };
    let (site, seen) = echo(options).await;
    let mut slow = connect(&site).await;
    assert_eq!(say(&mut slow, "join lobby").await, "joined");
    let pid = seen.pid(0);
    let payload = bytes::Bytes::from("x".repeat(1024 * 1024));
    let rooms = site.system.rooms();
    eventually(&site.system, "it has left the room", async || {
        rooms.broadcast("lobby", payload.clone());
        rooms.members("lobby").is_empty() || !seen.closed().is_empty()
    })
    .await;
    // It had some frames on the way; the next it hears is why it was closed.
    assert_eq!(next_close(&mut slow).await.0, Close::TRY_AGAIN_LATER);
    drop(slow);
    eventually(&site.system, "the process is gone", async || {
        !site.system.is_alive(pid)
    })
    .await;
    assert_eq!(site.system.inspect().counts.room_members_disconnected, 1);
}

/// Says far more than the kernel buffers for a peer that does not read: half of it bit by bit, so that the socket is full, and then the rest
/// at once.
struct Talker(Seen);

impl Socket for Talker {
    type Args = Seen;
    type Message = ();

    async fn on_connect(seen: Seen, _cx: &mut Connection<()>) -> Result<Self, Close> {
        Ok(Talker(seen))
    }

    async fn on_message(&mut self, _frame: Frame, cx: &mut Connection<()>) -> Next {
        let payload = bytes::Bytes::from("x".repeat(1024 * 1024));
        for n in 0..40 {
            cx.send_text(payload.clone());
            if n < 20 {
                tokio::task::yield_now().await;
            }
        }
        Next::Continue
    }

    fn on_close(&mut self, code: u16, reason: &str) {
        self.0.0.lock().push((code, reason.to_owned()));
    }
}

#[tokio::test]
async fn a_handler_that_says_more_than_may_wait_is_closed_1013() {
    let options = Options {
        queue_max: 4,
        slow_peer: RoomPolicy::Disconnect,
        close_timeout: PATIENCE,
        ..Options::default()
    };
    let seen = Seen::default();
    let args = seen.clone();
    let route = warp::path!("ws")
        .and(ws::upgrade())
        .map(move |upgrade: ws::Upgrade| upgrade.accept::<Talker>(args.clone(), options.clone()));
    let site = site(route, http::Options::default()).await;
    let mut slow = connect(&site).await;
    slow.send(Message::text("speak")).await.unwrap();
    eventually(&site.system, "it is given up", async || {
        !seen.closed().is_empty()
    })
    .await;
    // Some frames were on the way; none that waited follows, and no word that some are missing.
    let close = loop {
        let message = next(&mut slow).await;
        if let Some((code, _)) = message.as_close() {
            break u16::from(code);
        }
        assert_eq!(message.as_payload().len(), 1024 * 1024);
    };
    assert_eq!(close, Close::TRY_AGAIN_LATER);
    let codes: Vec<u16> = seen.closed().iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [Close::TRY_AGAIN_LATER]);
    assert_eq!(site.system.inspect().counts.room_members_disconnected, 1);
}
