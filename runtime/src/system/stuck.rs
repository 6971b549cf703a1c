//! The watchdog: who has held a worker, or one message, from one look to the next.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::limits::TIMER_TICK;
use crate::pid::Pid;
use crate::process::info;
use crate::process::kernel::Kernel;
use crate::telemetry::{PROCESS_STUCK, count};

/// What a process may be stuck on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum On {
    Worker,
    Message,
}

/// Which poll or message each busy process was in at the last look, and whether it has been reported.
type Seen = HashMap<(Pid, On), (u64, bool)>;

/// Looks every `limit` for as long as the system lives. Nothing is measured in between, so that it costs a process nothing.
pub(super) fn watch(kernel: &Arc<Kernel>, limit: Duration) {
    let limit = limit.max(TIMER_TICK);
    let timers = kernel.timers().clone();
    let kernel: Weak<Kernel> = Arc::downgrade(kernel);
    let Some(scheduler) = kernel.upgrade() else {
        return;
    };
    scheduler.scheduler().spawn(Box::pin(async move {
        let mut seen = Seen::new();
        loop {
            timers.sleep(limit).await;
            let Some(kernel) = kernel.upgrade() else {
                return;
            };
            seen = look(&kernel, &seen, limit);
        }
    }));
}

fn look(kernel: &Kernel, before: &Seen, limit: Duration) -> Seen {
    let mut seen = Seen::new();
    let mut stuck = Vec::new();
    kernel.table().each(|process| {
        for (on, in_hand) in [
            (On::Worker, process.poll_in_hand()),
            (On::Message, process.message_in_hand()),
        ] {
            let Some(number) = in_hand else { continue };
            let key = (process.pid, on);
            let old = before.get(&key).filter(|(same, _)| *same == number);
            if old.is_some_and(|(_, reported)| !reported) {
                stuck.push(key);
            }
            seen.insert(key, (number, old.is_some()));
        }
    });
    for (pid, on) in stuck {
        report(kernel, pid, on, limit);
    }
    seen
}

fn report(kernel: &Kernel, pid: Pid, on: On, limit: Duration) {
    let Some(process) = kernel.table().get(pid) else {
        return;
    };
    count(&kernel.counters().stuck);
    let label = info::label_of(&process);
    let on = match on {
        On::Worker => "worker",
        On::Message => "message",
    };
    tracing::warn!(
        target: PROCESS_STUCK,
        {
            process.pid = %pid,
            process.label = %label,
            message.r#type = process.message_type(),
            stuck.on = on,
            stuck.limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)
        },
        "process is stuck"
    );
}
