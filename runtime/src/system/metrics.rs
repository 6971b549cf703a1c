//! Metrics through the `metrics` facade. Their names stand in `telemetry`.

use std::sync::{Arc, Weak};
use std::time::Duration;

use ::metrics::{counter, gauge};

use crate::limits::TIMER_TICK;
use crate::process::kernel::Kernel;

use super::inspect::{self, Inspection};
use super::{System, SystemBuilder};

impl SystemBuilder {
    /// Records the metrics every `period`, as [`System::record_metrics`] does. A period shorter than the wheel's tick of 1 ms is one tick.
    ///
    /// Needs the feature `metrics`.
    #[must_use]
    pub fn metrics_every(mut self, period: Duration) -> SystemBuilder {
        self.metrics_every = Some(period);
        self
    }
}

impl System {
    /// Tells the recorder of the `metrics` crate what this system counts. Looks at every process once, as [`System::inspect`] does: for a
    /// scrape, not for each event. The names are in [`telemetry`](crate::telemetry).
    ///
    /// Needs the feature `metrics`.
    pub fn record_metrics(&self) {
        record(&self.inspect());
    }
}

pub(super) fn record_every(kernel: &Arc<Kernel>, period: Duration) {
    let timers = kernel.timers().clone();
    let weak: Weak<Kernel> = Arc::downgrade(kernel);
    kernel.scheduler().spawn(Box::pin(async move {
        loop {
            timers.sleep(period.max(TIMER_TICK)).await;
            let Some(kernel) = weak.upgrade() else {
                return;
            };
            record(&inspect::inspect(&kernel));
        }
    }));
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the facade's gauges are floats; nobody counts to 2^53 here"
)]
fn record(seen: &Inspection) {
    let system = &seen.name;
    let waiting = seen.processes.iter().map(|process| process.mailbox_len);
    let gauges = [
        ("mesh_runtime_processes", seen.processes.len() as u64),
        (
            "mesh_runtime_mailbox_messages",
            waiting.clone().sum::<usize>() as u64,
        ),
        (
            "mesh_runtime_mailbox_messages_max",
            waiting.max().unwrap_or(0) as u64,
        ),
        ("mesh_runtime_timers", seen.counts.timers),
        ("mesh_runtime_rooms", seen.rooms.len() as u64),
    ];
    for (name, value) in gauges {
        gauge!(name, "system" => system.clone()).set(value as f64);
    }
    let counts = &seen.counts;
    let counters = [
        ("mesh_runtime_processes_spawned_total", counts.spawned),
        ("mesh_runtime_processes_exited_total", counts.exited),
        ("mesh_runtime_processes_panicked_total", counts.panicked),
        ("mesh_runtime_processes_stuck_total", counts.stuck),
        ("mesh_runtime_restarts_total", counts.restarts),
        (
            "mesh_runtime_room_frames_missed_total",
            counts.room_frames_missed,
        ),
        (
            "mesh_runtime_room_members_disconnected_total",
            counts.room_members_disconnected,
        ),
    ];
    for (name, value) in counters {
        counter!(name, "system" => system.clone()).absolute(value);
    }
    let letters = [
        ("overflow", counts.messages_dropped),
        ("unread", counts.messages_unread),
        ("late_reply", counts.late_replies),
    ];
    for (why, value) in letters {
        counter!("mesh_runtime_dead_letters_total", "system" => system.clone(), "why" => why)
            .absolute(value);
    }
}
