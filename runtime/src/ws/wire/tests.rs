//! What goes over the stream when frames flood it, and when it takes a few bytes at a time.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::super::frame::framed;
use super::*;
use crate::room::{Letter, Member};

/// A ping of a client; the mask is zero.
const PING: [u8; 7] = [0x89, 0x81, 0, 0, 0, 0, b'?'];
const PONG: [u8; 3] = [0x8a, 1, b'?'];
const NEWS: &[u8] = b"news";

fn deliver(outbox: &Outbox, text: &'static [u8]) {
    outbox.deliver(&Letter::of(&Arc::from("room"), &Bytes::from_static(text)));
}

/// A peer that takes all it is told and has pinged, in a room that speaks again as soon as it has been heard.
struct Flood {
    outbox: Arc<Outbox>,
    written: Arc<parking_lot::Mutex<Vec<u8>>>,
    /// Frames still to come. It must end for who does not stop for it.
    left: usize,
    said: Bytes,
}

impl AsyncRead for Flood {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.said.is_empty() {
            return Poll::Pending;
        }
        buffer.put_slice(&std::mem::take(&mut self.said));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Flood {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written.lock().extend_from_slice(bytes);
        if self.left > 0 {
            self.left -= 1;
            deliver(&self.outbox, NEWS);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_flood_of_frames_does_not_keep_a_ping_from_its_answer() {
    const FLOOD: usize = 10_000;
    let options = Options::default();
    let outbox = Outbox::new(&options);
    let written = Arc::default();
    let flood = Flood {
        outbox: outbox.clone(),
        written: Arc::clone(&written),
        left: FLOOD,
        said: Bytes::from_static(&PING),
    };
    let system = System::new();
    let mut wire = Wire::new(Taken::made(flood), &options, system, outbox.clone());
    deliver(&outbox, NEWS);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..3 {
        assert!(wire.poll_incoming(&mut cx).is_pending());
    }
    let frame = framed(&Bytes::from_static(NEWS));
    let written = written.lock();
    let before = written
        .chunks(frame.len())
        .take_while(|chunk| *chunk == frame)
        .count();
    assert!(written[before * frame.len()..].starts_with(&PONG));
    assert!(before <= 2 * FRAMES_AT_ONCE, "{before} frames before it");
}

#[tokio::test]
async fn what_follows_a_frame_half_written_comes_whole_and_in_order() {
    const ROOM: &[u8] = b"longer than the stream takes at once";
    const OWN: &str = "and this is what the handler says";
    for room_too in [false, true] {
        let options = Options {
            close_timeout: Duration::from_secs(30),
            ..Options::default()
        };
        let outbox = Outbox::new(&options);
        let (ours, mut theirs) = tokio::io::duplex(8);
        let system = System::new();
        let mut wire = Wire::new(Taken::made(ours), &options, system, outbox.clone());
        let mut cx = Context::from_waker(Waker::noop());
        deliver(&outbox, ROOM);
        assert!(wire.poll_incoming(&mut cx).is_pending());
        let room = framed(&Bytes::from_static(ROOM));
        let mut heard = vec![0; 3];
        theirs.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, room[..3], "it has begun");

        theirs.write_all(&PING).await.unwrap();
        Waker::from(outbox.clone()).wake();
        assert!(wire.poll_incoming(&mut cx).is_pending());
        let own = framed(&Bytes::from_static(OWN.as_bytes()));
        outbox.send(Message::text(OWN));
        let mut expected = [&room[..], &PONG, &own].concat();
        if room_too {
            deliver(&outbox, NEWS);
            expected.extend(framed(&Bytes::from_static(NEWS)));
        }
        assert!(wire.poll_incoming(&mut cx).is_pending());
        expected.extend(b"\x88\x05\x03\xe8bye");

        let ending = Ending {
            close: Close::new(Close::NORMAL, "bye"),
            ours: true,
        };
        let peer = async {
            // Up to the close frame, which ends so.
            while !heard.ends_with(b"bye") && theirs.read_buf(&mut heard).await.unwrap() > 0 {}
            drop(theirs);
        };
        let finished = async {
            wire.finish(&ending).await;
            drop(wire);
        };
        tokio::join!(finished, peer);
        assert_eq!(
            heard.escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
    }
}
