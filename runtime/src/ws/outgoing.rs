//! The bounded queue of frames on their way out: a slow peer loses the oldest and is told how many.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio_websockets::Message;

use super::frame::unframed;

/// Something that waits for the peer to take it.
pub(super) enum Waiting {
    /// A text frame as it travels, which many share.
    Framed(Bytes),
    /// A message of the connection's own.
    Message(Message),
}

impl Waiting {
    /// Bytes of its payload.
    fn len(&self) -> usize {
        match self {
            Waiting::Framed(frame) => unframed(frame).len(),
            Waiting::Message(message) => message.as_payload().len(),
        }
    }

    pub(super) fn into_message(self) -> Message {
        match self {
            Waiting::Framed(frame) => Message::text(frame.slice_ref(unframed(&frame))),
            Waiting::Message(message) => message,
        }
    }
}

/// Frames waiting for one socket.
pub(super) struct Outgoing {
    queue: VecDeque<Waiting>,
    bytes: usize,
    missed: u64,
    frames_max: usize,
    bytes_max: usize,
}

impl Outgoing {
    pub(super) fn new(frames_max: usize, bytes_max: usize) -> Self {
        let queue = VecDeque::new();
        Self {
            queue,
            bytes: 0,
            missed: 0,
            frames_max: frames_max.max(1),
            bytes_max,
        }
    }

    /// Queues a frame; the oldest make room, and are handed out.
    pub(super) fn push(&mut self, frame: Waiting) -> Vec<Waiting> {
        let mut dropped = Vec::new();
        self.bytes += frame.len();
        self.queue.push_back(frame);
        // One frame stays, however large it is.
        while self.is_over()
            && let Some(oldest) = self.queue.pop_front()
        {
            self.bytes -= oldest.len();
            self.missed += 1;
            dropped.push(oldest);
        }
        dropped
    }

    fn is_over(&self) -> bool {
        self.queue.len() > self.frames_max || (self.bytes > self.bytes_max && self.queue.len() > 1)
    }

    /// Whether a frame could be queued, and none lost.
    pub(super) fn has_room(&self, frame: &Waiting) -> bool {
        self.queue.is_empty()
            || (self.queue.len() < self.frames_max && self.bytes + frame.len() <= self.bytes_max)
    }

    /// Whether a frame has been lost of which the peer has not been told.
    pub(super) fn has_missed(&self) -> bool {
        self.missed > 0
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.missed == 0
    }

    /// What waits, out of here.
    pub(super) fn take(&mut self) -> Outgoing {
        let empty = Outgoing::new(self.frames_max, self.bytes_max);
        std::mem::replace(self, empty)
    }

    /// The next frame; before it, the word about those that were missed.
    pub(super) fn pop(&mut self) -> Option<Waiting> {
        if self.missed > 0 {
            let missed = std::mem::take(&mut self.missed);
            let text = Message::text(format!("{{\"missed\":{missed}}}"));
            return Some(Waiting::Message(text));
        }
        let frame = self.queue.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }
}

/// A text frame around shared bytes.
pub(super) fn text(payload: Bytes) -> Message {
    debug_assert!(
        std::str::from_utf8(&payload).is_ok(),
        "a text frame must be UTF-8"
    );
    Message::text(payload)
}

#[cfg(test)]
mod tests {
    use super::super::frame::framed;
    use super::*;

    fn drain(outgoing: &mut Outgoing) -> Vec<String> {
        std::iter::from_fn(|| outgoing.pop())
            .map(|frame| frame.into_message().as_text().unwrap().to_owned())
            .collect()
    }

    fn own(text: &'static str) -> Waiting {
        Waiting::Message(Message::text(text))
    }

    fn shared(text: &'static str) -> Waiting {
        Waiting::Framed(framed(&Bytes::from(text)))
    }

    #[test]
    fn the_oldest_go_and_are_counted() {
        let mut outgoing = Outgoing::new(2, 1_000);
        let dropped = ["a", "b", "c", "d"].map(|name| outgoing.push(own(name)).len());
        assert_eq!(dropped, [0, 0, 1, 1]);
        assert_eq!(drain(&mut outgoing), ["{\"missed\":2}", "c", "d"]);
    }

    #[test]
    fn bytes_are_bounded_but_one_frame_always_fits() {
        let mut outgoing = Outgoing::new(10, 4);
        outgoing.push(own("1234"));
        assert!(!outgoing.has_room(&shared("1")));
        outgoing.push(shared("123456"));
        assert_eq!(drain(&mut outgoing), ["{\"missed\":1}", "123456"]);
        assert!(outgoing.has_room(&shared("123456")));
        outgoing.push(shared("12"));
        assert!(outgoing.has_room(&own("34")) && !outgoing.has_room(&own("345")));
        outgoing.push(own("34"));
        assert_eq!(drain(&mut outgoing), ["12", "34"]);
    }
}
