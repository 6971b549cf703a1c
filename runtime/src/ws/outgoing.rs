//! The bounded queue of frames on their way out: a slow peer loses the oldest and is told how many.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio_websockets::Message;

/// Frames waiting for one socket.
pub(super) struct Outgoing {
    queue: VecDeque<Message>,
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

    /// Queues a frame; the oldest make room. `missed` are frames that were lost on the way here.
    pub(super) fn push(&mut self, message: Message, missed: u64) {
        self.missed += missed;
        self.bytes += message.as_payload().len();
        self.queue.push_back(message);
        // One frame stays, however large it is.
        while self.queue.len() > self.frames_max
            || (self.bytes > self.bytes_max && self.queue.len() > 1)
        {
            let oldest = self.queue.pop_front();
            self.bytes -= oldest.map_or(0, |oldest| oldest.as_payload().len());
            self.missed += 1;
        }
    }

    /// Whether a frame has been lost of which the peer has not been told.
    pub(super) fn has_missed(&self) -> bool {
        self.missed > 0
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.missed == 0
    }

    /// Forgets what waits.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        (self.bytes, self.missed) = (0, 0);
    }

    /// What waits, out of here.
    pub(super) fn take(&mut self) -> Outgoing {
        let empty = Outgoing::new(self.frames_max, self.bytes_max);
        std::mem::replace(self, empty)
    }

    /// The next frame; before it, the word about those that were missed.
    pub(super) fn pop(&mut self) -> Option<Message> {
        if self.missed > 0 {
            let missed = std::mem::take(&mut self.missed);
            return Some(Message::text(format!("{{\"missed\":{missed}}}")));
        }
        let message = self.queue.pop_front()?;
        self.bytes -= message.as_payload().len();
        Some(message)
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
    use super::*;

    fn drain(outgoing: &mut Outgoing) -> Vec<String> {
        std::iter::from_fn(|| outgoing.pop())
            .map(|message| message.as_text().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn the_oldest_go_and_are_counted() {
        let mut outgoing = Outgoing::new(2, 1_000);
        for name in ["a", "b", "c"] {
            outgoing.push(Message::text(name), 0);
        }
        outgoing.push(Message::text("d"), 5);
        assert_eq!(drain(&mut outgoing), ["{\"missed\":7}", "c", "d"]);
    }

    #[test]
    fn bytes_are_bounded_but_one_frame_always_fits() {
        let mut outgoing = Outgoing::new(10, 4);
        outgoing.push(Message::text("1234"), 0);
        outgoing.push(Message::text("123456"), 0);
        assert_eq!(drain(&mut outgoing), ["{\"missed\":1}", "123456"]);
        outgoing.push(Message::text("12"), 0);
        outgoing.push(Message::text("34"), 0);
        assert_eq!(drain(&mut outgoing), ["12", "34"]);
    }
}
