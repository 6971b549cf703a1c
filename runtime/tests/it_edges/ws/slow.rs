//! A reader that is too slow, and may not be.

use mesh_runtime::RoomPolicy;
use mesh_runtime::ws::{Close, Options};

use super::{connect, echo, next_close, say};
use crate::support::site::eventually;

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
