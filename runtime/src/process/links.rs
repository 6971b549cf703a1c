//! Links: fate shared both ways.

use crate::exit::ExitReason;
use crate::pid::Pid;

use super::exit_signal;
use super::kernel::Kernel;
use super::{Farewell, Process};

/// Links two processes. When `to` is gone, `from` gets a `NoProcess` exit signal at once.
pub(crate) fn link(kernel: &Kernel, from: Pid, to: Pid) {
    if from == to {
        return;
    }
    let Some(process) = kernel.table().get(from) else {
        return;
    };
    {
        let mut inner = process.inner.lock();
        if inner.over || !inner.links.insert(to) {
            return;
        }
    }
    let linked = kernel.table().get(to).is_some_and(|peer| {
        let mut inner = peer.inner.lock();
        if !inner.over {
            inner.links.insert(from);
        }
        !inner.over
    });
    if !linked {
        exit_signal::arrive_by_link(&process, to, &ExitReason::no_process());
        return;
    }
    // `from` may have ended between the two steps and not known of the peer's half.
    if process.inner.lock().over
        && let Some(peer) = kernel.table().get(to)
    {
        exit_signal::arrive_by_link(&peer, from, &ExitReason::no_process());
    }
}

/// Undoes a link, and takes back the exit signal it may have left.
pub(crate) fn unlink(kernel: &Kernel, process: &Process, peer: Pid) {
    process.with_lane(|inner| {
        inner.links.remove(&peer);
        inner.lane.forget_link(peer);
        ([None, None], ())
    });
    if let Some(peer) = kernel.table().get(peer) {
        peer.inner.lock().links.remove(&process.pid);
    }
}

impl Process {
    /// Leaves the stage: nothing is added any more. Hands out links, own monitors, and those who watch.
    pub(crate) fn close(&self, reason: &ExitReason) -> Farewell {
        let mut inner = self.inner.lock();
        inner.over = true;
        inner.ended = Some(reason.clone());
        let wakers = [inner.lane.task.take(), inner.lane.receiver.take()];
        let farewell = (
            std::mem::take(&mut inner.links),
            std::mem::take(&mut inner.watching),
            std::mem::take(&mut inner.watchers),
        );
        drop(inner);
        drop(wakers);
        farewell
    }
}
