//! The rules of exit signals: who hears of an exit, and what an arriving signal does.

use std::task::Waker;

use tokio::sync::oneshot;

use crate::exit::{ExitKind, ExitReason};
use crate::pid::Pid;
use crate::reference::Ref;
use crate::signal::Signal;

use super::ties::Few;
use super::{Inner, Process, Watcher};

/// One thing to tell when a process has ended.
pub(crate) enum Notice {
    Linked(Pid),
    Down(Pid, Ref),
    Tell(oneshot::Sender<ExitReason>),
    Kill(Pid),
}

/// What an exit signal does to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing: a normal exit does not concern a process that does not trap.
    Ignored,
    /// It becomes a `Signal::Exit`.
    Trapped,
    /// The process ends with the reason.
    Fatal,
}

/// The rule of OTP: trapped signals are messages; otherwise only an abnormal or shutdown reason is fatal.
pub(crate) fn effect(traps_exits: bool, reason: &ExitReason) -> Effect {
    match (traps_exits, reason.is_normal()) {
        (true, _) => Effect::Trapped,
        (false, true) => Effect::Ignored,
        (false, false) => Effect::Fatal,
    }
}

/// Whom to tell: the witness, then monitors before links, each as they were set up. A dependent is killed before anybody is told, so that
/// whoever hears of the exit finds its jobs gone or going.
pub(crate) fn notices(
    witness: Option<oneshot::Sender<ExitReason>>,
    links: Few<Pid, ()>,
    watchers: Few<Ref, Watcher>,
) -> Vec<Notice> {
    let mut watchers = watchers.into_entries();
    watchers.sort_by_key(|(reference, watcher)| {
        (!matches!(watcher, Watcher::Dependent(_)), *reference)
    });
    let others = watchers.partition_point(|(_, watcher)| matches!(watcher, Watcher::Dependent(_)));
    let mut notices: Vec<_> = watchers
        .into_iter()
        .map(|(reference, watcher)| match watcher {
            Watcher::Process(pid) => Notice::Down(pid, reference),
            Watcher::Outside(sender) => Notice::Tell(sender),
            Watcher::Dependent(pid) => Notice::Kill(pid),
        })
        .collect();
    if let Some(witness) = witness {
        notices.insert(others, Notice::Tell(witness));
    }
    let mut links = links.into_entries();
    links.sort_unstable();
    notices.extend(links.into_iter().map(|(pid, ())| Notice::Linked(pid)));
    notices
}

/// An exit signal that somebody sent.
pub(crate) fn send(process: &Process, from: Pid, reason: ExitReason) -> bool {
    if matches!(reason.kind(), ExitKind::Killed) {
        return kill(process);
    }
    if from == process.pid && reason.is_normal() {
        // As OTP: a normal exit signal is ignored, unless it is one's own.
        let trapped = process.with_lane(|inner| match inner.traps_exits {
            true => (inner.lane.push(Signal::Exit { from, reason }, false), ()),
            false => (inner.lane.interrupt(reason), ()),
        });
        return trapped.is_some();
    }
    deliver(process, from, reason, false)
}

/// The exit signal of a linked process that ended. Ignored when the link is gone: `unlink` leaves nothing behind.
pub(crate) fn arrive_by_link(process: &Process, from: Pid, reason: &ExitReason) {
    // One lock for both: an `unlink` in between would find neither the link nor the signal it has to flush.
    process.with_lane(|inner| {
        let wakers = if inner.unlink(from) {
            receive(inner, from, reason.clone(), true)
        } else {
            [None, None]
        };
        (wakers, ())
    });
}

/// The exit signal of a link that could not be made.
pub(crate) fn refuse_link(process: &Process, to: Pid) {
    deliver(process, to, ExitReason::no_process(), true);
}

fn deliver(process: &Process, from: Pid, reason: ExitReason, by_link: bool) -> bool {
    let delivered = process.with_lane(|inner| (receive(inner, from, reason, by_link), ()));
    delivered.is_some()
}

/// What an exit signal does to its receiver; whom to wake for it.
fn receive(inner: &mut Inner, from: Pid, reason: ExitReason, by_link: bool) -> [Option<Waker>; 2] {
    match effect(inner.traps_exits, &reason) {
        Effect::Ignored => [None, None],
        Effect::Trapped => inner.lane.push(Signal::Exit { from, reason }, by_link),
        Effect::Fatal => inner.lane.interrupt(reason),
    }
}

/// Ends a process: cannot be trapped, takes effect at its next suspension.
pub(crate) fn kill(process: &Process) -> bool {
    process
        .with_lane(|inner| (inner.lane.interrupt(ExitReason::killed()), ()))
        .is_some()
}

#[cfg(test)]
mod tests {
    use super::{Effect, effect};
    use crate::exit::ExitReason;

    #[test]
    fn trap_rule_is_otps() {
        let cases = [
            (true, ExitReason::normal(), Effect::Trapped),
            (true, ExitReason::error("x"), Effect::Trapped),
            (false, ExitReason::normal(), Effect::Ignored),
            (false, ExitReason::shutdown(), Effect::Fatal),
            (false, ExitReason::killed(), Effect::Fatal),
            (false, ExitReason::error("x"), Effect::Fatal),
        ];
        for (traps, reason, expected) in cases {
            assert_eq!(
                effect(traps, &reason),
                expected,
                "traps {traps}, reason {reason}"
            );
        }
    }
}
