//! The peer's side of a connection process: its stream, and the rooms it hears. It goes on while a callback runs.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use parking_lot::Mutex;

use super::ear::Ear;
use super::frame::Frame;
use super::outgoing::Outgoing;
use super::wire::{Ending, Incoming, Wire};
use crate::RoomPolicy;

/// What the peer's side has to tell.
pub(super) enum Told {
    /// A message.
    Frame(Frame),
    /// The conversation is over.
    Over(Ending),
    /// More than may wait for the peer does, and it is to be disconnected.
    TooSlow,
}

/// Stream, rooms and the queue between them and the peer.
pub(super) struct Side {
    wire: Wire,
    ear: Ear,
    outgoing: Arc<Mutex<Outgoing>>,
    slow_peer: RoomPolicy,
    /// What was told while a callback ran. Nothing more is read before it is taken.
    held: Option<Told>,
}

impl Side {
    pub(super) fn new(
        wire: Wire,
        ear: Ear,
        outgoing: Arc<Mutex<Outgoing>>,
        slow_peer: RoomPolicy,
    ) -> Self {
        Self {
            wire,
            ear,
            outgoing,
            slow_peer,
            held: None,
        }
    }

    /// Moves what can be moved, in both directions; ready with the next thing the peer's side has to tell.
    pub(super) fn poll_told(&mut self, task: &mut Task<'_>) -> Poll<Told> {
        if let Some(held) = self.held.take() {
            return Poll::Ready(held);
        }
        let outgoing = &mut *self.outgoing.lock();
        self.ear.poll_frames(task, outgoing);
        if too_slow(self.slow_peer, outgoing) {
            return Poll::Ready(Told::TooSlow);
        }
        let incoming = self.wire.poll_incoming(task, outgoing);
        incoming.map(|incoming| match incoming {
            Incoming::Frame(frame) => Told::Frame(frame),
            Incoming::Over(ending) => Told::Over(ending),
        })
    }

    /// Runs a callback. While it waits, frames go out and room frames come in, pings are sent, and the peer is read up to its next
    /// message: up to there its pings and its close are answered, and its silence is noticed.
    pub(super) async fn during<F: Future>(&mut self, callback: F) -> F::Output {
        let mut callback = pin!(callback);
        poll_fn(|task| {
            let outcome = callback.as_mut().poll(task);
            if outcome.is_pending() {
                self.attend(task);
            }
            outcome
        })
        .await
    }

    fn attend(&mut self, task: &mut Task<'_>) {
        if self.held.is_none()
            && let Poll::Ready(told) = self.poll_told(task)
        {
            self.held = Some(told);
        }
        let outgoing = &mut *self.outgoing.lock();
        match &self.held {
            Some(Told::Frame(_)) => {
                self.ear.poll_frames(task, outgoing);
                if too_slow(self.slow_peer, outgoing) {
                    self.held = Some(Told::TooSlow);
                } else {
                    self.wire.poll_frames_out(task, outgoing);
                }
            }
            Some(Told::Over(ending)) => self.wire.poll_goodbye(task, ending, outgoing),
            Some(Told::TooSlow) | None => {}
        }
    }

    /// Hears nothing more of the rooms.
    pub(super) fn close_ear(&self) {
        self.ear.close();
    }

    /// Ends the stream, see [`Wire::finish`].
    pub(super) async fn finish(&mut self, ending: &Ending) {
        let mut rest = self.outgoing.lock().take();
        self.wire.finish(ending, &mut rest).await;
    }
}

/// Whether a frame has been lost for a peer that may lose none.
fn too_slow(slow_peer: RoomPolicy, outgoing: &Outgoing) -> bool {
    slow_peer == RoomPolicy::Disconnect && outgoing.has_missed()
}
