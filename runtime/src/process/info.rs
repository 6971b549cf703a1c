//! A snapshot of one process, for inspection.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::pid::Pid;

use super::Process;

/// What a process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProcessStatus {
    /// On a worker, or about to be.
    Running,
    /// Waiting for a message, a timer or anything else.
    Waiting,
    /// Told to end; ends at its next suspension.
    Exiting,
}

/// One process as inspection shows it.
#[derive(Clone, Debug, serde::Serialize)]
#[non_exhaustive]
pub struct ProcessInfo {
    /// Its identity.
    pub pid: Pid,
    /// The process that started it.
    pub parent: Option<Pid>,
    /// Registered names, the oldest first.
    pub names: Vec<String>,
    /// What it calls itself, or its behaviour's type.
    pub label: String,
    /// The behaviour's type.
    pub behaviour: &'static str,
    /// What it is doing.
    pub status: ProcessStatus,
    /// Messages waiting.
    pub mailbox_len: usize,
    /// Most messages that ever waited.
    pub mailbox_high_water: usize,
    /// Messages the overflow policy dropped.
    pub mailbox_dropped: u64,
    /// Messages handled.
    pub messages_handled: u64,
    /// Reductions spent.
    pub reductions: u64,
    /// Microseconds on a worker; `None` unless the system was built with `SystemBuilder::measure_busy`.
    pub busy_us: Option<u64>,
    /// How often its supervisor has restarted it.
    pub restarts: u32,
    /// Linked processes.
    pub links: Vec<Pid>,
    /// Processes it monitors.
    pub monitors: Vec<Pid>,
    /// Milliseconds since this life began.
    pub uptime_ms: u64,
    /// Message and place of the panic that ended the last of its lives that panicked; `None` without a supervisor.
    pub last_panic: Option<String>,
}

/// The behaviour's type without its path.
fn short(behaviour: &'static str) -> &'static str {
    let head = behaviour.split('<').next().unwrap_or(behaviour);
    let start = head.rfind("::").map_or(0, |at| at + 2);
    &behaviour[start..]
}

pub(crate) fn label_of(process: &Process) -> String {
    let inner = process.inner.lock();
    let label = inner.ties.as_ref().and_then(|ties| ties.label.as_deref());
    label.unwrap_or(short(process.behaviour())).to_owned()
}

/// Looks at a process without disturbing it. Names are added by who knows them.
pub(crate) fn look(process: &Process, now: Duration, measures_busy: bool) -> ProcessInfo {
    let label = label_of(process);
    let mailbox = process.mailbox.numbers();
    let inner = process.inner.lock();
    let status = match (
        inner.over || inner.lane.interruption().is_some(),
        process.is_running(),
    ) {
        (true, _) => ProcessStatus::Exiting,
        (false, true) => ProcessStatus::Running,
        (false, false) => ProcessStatus::Waiting,
    };
    let (mut links, mut monitors) = (Vec::new(), Vec::new());
    let (mut restarts, mut last_panic) = (0, None);
    if let Some(ties) = &inner.ties {
        restarts = ties.restarts;
        last_panic = ties.last_panic.clone();
        ties.links.each(|pid, ()| links.push(*pid));
        ties.watching.each(|_, pid| monitors.push(*pid));
    }
    drop(inner);
    links.sort();
    monitors.sort();
    ProcessInfo {
        pid: process.pid,
        parent: process.parent,
        names: Vec::new(),
        label,
        behaviour: process.behaviour(),
        status,
        mailbox_len: mailbox.len,
        mailbox_high_water: mailbox.high_water,
        mailbox_dropped: mailbox.dropped,
        messages_handled: process.handled.load(Ordering::Relaxed),
        reductions: process.reductions.load(Ordering::Relaxed),
        busy_us: measures_busy.then(|| process.busy_us.load(Ordering::Relaxed)),
        restarts,
        links,
        monitors,
        uptime_ms: u64::try_from(now.saturating_sub(process.started()).as_millis())
            .unwrap_or(u64::MAX),
        last_panic: last_panic.map(|panic| panic.to_string()),
    }
}
