//! Links: fate shared both ways.

use crate::exit::ExitReason;
use crate::pid::Pid;

use super::exit_signal;
use super::kernel::Kernel;
use super::{Inner, Process, Ties, run};

/// Links two processes. When `to` is gone, `from` gets a `NoProcess` exit signal at once.
pub(crate) fn link(kernel: &Kernel, from: Pid, to: Pid) {
    if from == to {
        return;
    }
    let Some(process) = kernel.table().get(from) else {
        return;
    };
    let settled = kernel.table().get(to).is_some_and(|peer| {
        both(&process, &peer, |own, other| {
            // Linked already; or the peer is ending, and its signal is on the way.
            if own.over || own.is_linked(to) {
                return true;
            }
            if other.ended {
                return false;
            }
            own.ties().links.insert(to, ());
            other.ties().links.insert(from, ());
            true
        })
    });
    if !settled {
        exit_signal::refuse_link(&process, to);
    }
}

/// Undoes a link, and takes back the exit signal it may have left.
pub(crate) fn unlink(kernel: &Kernel, process: &Process, peer: Pid) {
    process.forget_link(peer);
    if let Some(peer) = kernel.table().get(peer) {
        both(process, &peer, |own, other| {
            // The peer may have linked anew between the two steps; then this is that link.
            if !own.is_linked(peer.pid) {
                other.unlink(process.pid);
            }
        });
    }
}

/// Changes both sides at once, so that a link is never known to one of them alone. Locks in the order of the pids.
fn both<R>(
    process: &Process,
    peer: &Process,
    change: impl FnOnce(&mut Inner, &mut Inner) -> R,
) -> R {
    if process.pid < peer.pid {
        let mut own = process.inner.lock();
        let mut other = peer.inner.lock();
        change(&mut own, &mut other)
    } else {
        let mut other = peer.inner.lock();
        let mut own = process.inner.lock();
        change(&mut own, &mut other)
    }
}

impl Process {
    /// This side's half of `unlink`: under one lock, as the arrival of the signal is, so that it finds the link or the signal.
    fn forget_link(&self, peer: Pid) {
        self.with_lane(|inner| {
            inner.unlink(peer);
            inner.lane.forget_link(peer);
            ([None, None], ())
        });
    }

    /// Leaves the stage: takes no signal and holds nothing new from here on. Whether something was held for it.
    pub(crate) fn close(&self) -> bool {
        let mut inner = self.inner.lock();
        inner.over = true;
        let wakers = inner.lane.take_wakers();
        let questions = inner.lane.take_questions();
        let held = inner.held;
        drop(inner);
        drop(wakers);
        if let Some(questions) = questions {
            run::discard(self.pid, questions);
        }
        held
    }

    /// Something is held for it; `false` when it is over.
    pub(crate) fn hold(&self) -> bool {
        let mut inner = self.inner.lock();
        inner.held = true;
        !inner.over
    }

    /// Everything is let go. Hands out the witness, links, own monitors, and those who watch; nobody is added any more.
    pub(crate) fn farewell(&self, reason: &ExitReason) -> Option<Box<Ties>> {
        let mut inner = self.inner.lock();
        inner.ended = true;
        inner.reason = reason.clone();
        inner.ties.take()
    }
}

#[cfg(all(test, mesh_loom))]
mod every_order;
