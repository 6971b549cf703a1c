//! A read-only view of a system: its processes as a tree, its names and rooms, its counters; as data and as text.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use crate::pid::Pid;
use crate::process::info::{self, ProcessInfo};
use crate::process::kernel::Kernel;
use crate::registry::Registry;
use crate::room::Rooms;

/// A system at one moment. Serializes with serde; prints as a tree.
#[derive(Clone, Debug, serde::Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// The system's name.
    pub name: String,
    /// Milliseconds since the system started.
    pub uptime_ms: u64,
    /// Every process, by pid.
    pub processes: Vec<ProcessInfo>,
    /// Every room that has members, by name.
    pub rooms: Vec<RoomInfo>,
    /// What the system has counted since it started.
    pub counts: SystemCounts,
}

/// One room.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct RoomInfo {
    /// Its name.
    pub name: String,
    /// How many members it has.
    pub members: usize,
}

/// What a system has counted. All but `timers` only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct SystemCounts {
    /// Processes started.
    pub spawned: u64,
    /// Processes ended.
    pub exited: u64,
    /// Processes ended by a panic.
    pub panicked: u64,
    /// Restarts by supervisors.
    pub restarts: u64,
    /// Replies that came after their call was over.
    pub late_replies: u64,
    /// Messages dropped by an overflow policy, or by a timer that found a full mailbox.
    pub messages_dropped: u64,
    /// Messages that waited in a mailbox when its process ended.
    pub messages_unread: u64,
    /// Messages that were accepted and that nobody will handle: the sum of dropped, unread and late replies.
    pub dead_letters: u64,
    /// Room frames that members missed.
    pub room_frames_missed: u64,
    /// Members put out of a room because they were too slow and had joined with `RoomPolicy::Disconnect`.
    pub room_members_disconnected: u64,
    /// Processes that held a worker or one message too long, each time once; zero unless `SystemBuilder::stuck_after` was called.
    pub stuck: u64,
    /// Timers pending now.
    pub timers: u64,
}

pub(super) fn inspect(kernel: &Kernel) -> Inspection {
    let now = kernel.clock().now();
    let mut names: HashMap<Pid, Vec<String>> = HashMap::new();
    for (name, pid) in kernel.part::<Registry>().all() {
        names.entry(pid).or_default().push(name);
    }
    let mut processes: Vec<ProcessInfo> = kernel
        .table()
        .all()
        .iter()
        .map(|process| info::look(process, now, kernel.measures_busy()))
        .collect();
    for process in &mut processes {
        process.names = names.remove(&process.pid).unwrap_or_default();
    }
    let rooms = kernel
        .part::<Rooms>()
        .all()
        .into_iter()
        .map(|(name, members)| RoomInfo { name, members })
        .collect();
    let counters = kernel.counters();
    let dead = [
        &counters.messages_dropped,
        &counters.messages_unread,
        &counters.late_replies,
    ];
    let counts = SystemCounts {
        messages_unread: counters.messages_unread.load(Ordering::Relaxed),
        dead_letters: dead.map(|dead| dead.load(Ordering::Relaxed)).iter().sum(),
        spawned: counters.spawned.load(Ordering::Relaxed),
        exited: counters.exited.load(Ordering::Relaxed),
        panicked: counters.panicked.load(Ordering::Relaxed),
        restarts: counters.restarts.load(Ordering::Relaxed),
        late_replies: counters.late_replies.load(Ordering::Relaxed),
        messages_dropped: counters.messages_dropped.load(Ordering::Relaxed),
        room_frames_missed: counters.room_frames_missed.load(Ordering::Relaxed),
        room_members_disconnected: counters.room_members_disconnected.load(Ordering::Relaxed),
        stuck: counters.stuck.load(Ordering::Relaxed),
        timers: kernel.timers_len() as u64,
    };
    let uptime_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    Inspection {
        name: kernel.name().to_owned(),
        uptime_ms,
        processes,
        rooms,
        counts,
    }
}
