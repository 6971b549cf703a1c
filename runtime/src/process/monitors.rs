//! Monitors: watching one way, exactly one `Down` each.

use std::sync::Arc;

use crate::exit::ExitReason;
use crate::pid::Pid;
use crate::reference::Ref;
use crate::signal::Signal;

use super::kernel::Kernel;
use super::{Process, Watcher};

/// `watcher` watches `pid`; the `Down` comes at once when there is no such process.
pub(crate) fn watch_as(kernel: &Kernel, watcher: Pid, pid: Pid, reference: Ref) {
    let Some(process) = kernel.table().get(watcher) else {
        return;
    };
    {
        let mut inner = process.inner.lock();
        if inner.over {
            return;
        }
        inner.ties().watching.insert(reference, pid);
    }
    let watched = kernel.table().get(pid).is_some_and(|watched| {
        watched
            .add_watcher(reference, Watcher::Process(watcher))
            .is_ok()
    });
    if !watched {
        process.deliver_down(
            Signal::Down {
                reference,
                pid,
                reason: ExitReason::no_process(),
            },
            reference,
        );
    }
}

/// Takes a monitor back, with the `Down` it may have left.
pub(crate) fn unwatch(kernel: &Kernel, process: &Process, reference: Ref) {
    let watched = process.with_lane(|inner| {
        inner.lane.forget_monitor(reference);
        ([None, None], inner.unwatch(reference))
    });
    if let Some(watched) = watched.flatten().and_then(|pid| kernel.table().get(pid)) {
        drop(watched.remove_watcher(reference));
    }
}

/// `process` must not outlive `owner`; it is killed at once when `owner` is gone.
pub(crate) fn depend(kernel: &Kernel, process: &Arc<Process>, owner: Pid) {
    let reference = Ref::next();
    process.with_lane(|inner| ([None, None], inner.ties().watching.insert(reference, owner)));
    let pid = process.pid;
    let owned = kernel.table().get(owner).is_some_and(|owner| {
        owner
            .add_watcher(reference, Watcher::Dependent(pid))
            .is_ok()
    });
    if !owned {
        super::exit_signal::kill(process);
    }
}

impl Process {
    /// Queues a `Down` unless the monitor was taken back.
    pub(crate) fn deliver_down(&self, signal: Signal, reference: Ref) {
        self.with_lane(|inner| {
            let wanted = inner.unwatch(reference).is_some();
            if wanted {
                (inner.lane.push(signal, false), ())
            } else {
                ([None, None], ())
            }
        });
    }

    /// Adds a watcher; gives it back when those who watch have been told.
    pub(crate) fn add_watcher(&self, reference: Ref, watcher: Watcher) -> Result<(), Watcher> {
        let mut inner = self.inner.lock();
        if inner.ended {
            return Err(watcher);
        }
        inner.ties().watchers.insert(reference, watcher);
        Ok(())
    }

    pub(crate) fn remove_watcher(&self, reference: Ref) -> Option<Watcher> {
        let mut inner = self.inner.lock();
        inner.ties.as_mut()?.watchers.remove(&reference)
    }
}

/// Ends a watch from outside when whoever waits is gone.
pub(crate) struct Unwatch {
    pub(crate) process: Arc<Process>,
    pub(crate) reference: Ref,
}

impl Drop for Unwatch {
    fn drop(&mut self) {
        drop(self.process.remove_watcher(self.reference));
    }
}
