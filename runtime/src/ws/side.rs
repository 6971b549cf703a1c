//! The peer's side of a connection process: its stream, and the rooms it hears. It goes on while a callback runs.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use super::frame::Frame;
use super::outbox::{Hold, Outbox, Overrun};
use super::wire::{Ending, Incoming, Wire};

/// What the peer's side has to tell.
pub(super) enum Told {
    /// A message.
    Frame(Frame),
    /// The conversation is over.
    Over(Ending),
    /// More than may wait for the peer does, and it is to be disconnected.
    TooSlow(Overrun),
}

/// The stream, and the queue between it and those who send.
pub(super) struct Side {
    wire: Wire,
    outbox: Hold,
    /// What was told while a callback ran. Nothing more is read before it is taken.
    held: Option<Told>,
}

impl Side {
    pub(super) fn new(wire: Wire, outbox: Arc<Outbox>) -> Self {
        Self {
            wire,
            outbox: Hold(outbox),
            held: None,
        }
    }

    /// Moves what can be moved, in both directions; ready with the next thing the peer's side has to tell.
    pub(super) fn poll_told(&mut self, task: &mut Task<'_>) -> Poll<Told> {
        let held = self.held.take();
        // A peer that is too slow is told so ahead of what it said; one that has gone has no need of it.
        if !matches!(held, Some(Told::Over(_) | Told::TooSlow(_)))
            && let Some(overrun) = self.outbox.0.overrun()
        {
            return Poll::Ready(Told::TooSlow(overrun));
        }
        if let Some(held) = held {
            return Poll::Ready(held);
        }
        let incoming = self.wire.poll_incoming(task);
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
        match &self.held {
            Some(Told::Frame(_)) => match self.outbox.0.overrun() {
                Some(overrun) => self.held = Some(Told::TooSlow(overrun)),
                None => self.wire.poll_frames_out(task),
            },
            Some(Told::Over(ending)) => self.wire.poll_goodbye(task, ending),
            Some(Told::TooSlow(_)) | None => {}
        }
    }

    /// Hears nothing more of the rooms.
    pub(super) fn hear_no_more(&self) {
        self.outbox.0.close();
    }

    /// Ends the stream, see [`Wire::finish`].
    pub(super) async fn finish(&mut self, ending: &Ending) {
        self.hear_no_more();
        self.wire.finish(ending).await;
    }
}
