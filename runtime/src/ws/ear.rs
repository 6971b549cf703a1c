//! The second mailbox of a connection process: room frames, which go to the peer and not to the handler.

use std::sync::Arc;
use std::task::{Context as Task, Poll};

use super::outgoing::{Outgoing, text};
use crate::mailbox::{Batch, Capacity, Own};
use crate::process::home::Home;
use crate::{Address, Context, RoomMessage};

/// What a connection hears of the rooms it has joined, under the connection's own pid.
pub(super) struct Ear {
    home: Arc<Home<RoomMessage>>,
    batch: Batch<RoomMessage>,
}

impl Ear {
    pub(super) fn of<M: Send + 'static>(context: &Context<M>) -> Self {
        let home = Home::new(context.home().kernel(), Capacity::default());
        home.begin_life(context.pid());
        let batch = home.mailbox.batch();
        Self { home, batch }
    }

    /// The member that joins rooms.
    pub(super) fn address(&self) -> Address<RoomMessage> {
        Address::of(self.home.clone())
    }

    /// Moves the frames that have come to the queue of the socket; wakes the task when the next one comes.
    pub(super) fn poll_frames(&mut self, task: &Task<'_>, outgoing: &mut Outgoing) {
        while let Poll::Ready(message) = self
            .home
            .mailbox
            .poll_next(&mut self.batch, task, || Own::No)
        {
            outgoing.push(text(message.payload), message.missed);
        }
    }

    /// Hears nothing more.
    pub(super) fn close(&self) {
        drop(self.home.mailbox.clear(true));
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        // A broadcast under way may still hold the address; what it sends must not pile up.
        self.close();
    }
}
