//! `Signal`: what reaches a process beside its own messages, ahead of them.

use crate::exit::ExitReason;
use crate::pid::Pid;
use crate::reference::Ref;

/// What the runtime tells a process. Signals pass the messages that wait.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// An exit signal, seen only by a process that traps exits.
    Exit {
        /// The process that ended, or that asked this one to end.
        from: Pid,
        /// Why.
        reason: ExitReason,
    },
    /// A monitored process has ended. Exactly one per monitor.
    Down {
        /// The monitor, as returned when it was set.
        reference: Ref,
        /// The process that ended.
        pid: Pid,
        /// Why; `NoProcess` when it did not exist when the monitor was set.
        reason: ExitReason,
    },
}
