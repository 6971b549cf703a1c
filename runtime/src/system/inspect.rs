//! A read-only view of a system: its processes as a tree, its names and rooms, its counters; as data and as text.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
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
        .map(|process| info::look(process, now))
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
    let counts = SystemCounts {
        spawned: counters.spawned.load(Ordering::Relaxed),
        exited: counters.exited.load(Ordering::Relaxed),
        panicked: counters.panicked.load(Ordering::Relaxed),
        restarts: counters.restarts.load(Ordering::Relaxed),
        late_replies: counters.late_replies.load(Ordering::Relaxed),
        messages_dropped: counters.messages_dropped.load(Ordering::Relaxed),
        room_frames_missed: counters.room_frames_missed.load(Ordering::Relaxed),
        room_members_disconnected: counters.room_members_disconnected.load(Ordering::Relaxed),
        stuck: counters.stuck.load(Ordering::Relaxed),
        timers: kernel.timers().len() as u64,
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

impl fmt::Display for Inspection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{} up {} ms, {} processes",
            self.name,
            self.uptime_ms,
            self.processes.len()
        )?;
        let known: HashMap<Pid, &ProcessInfo> = self
            .processes
            .iter()
            .map(|process| (process.pid, process))
            .collect();
        let mut children: BTreeMap<Option<Pid>, Vec<&ProcessInfo>> = BTreeMap::new();
        for process in &self.processes {
            let parent = process.parent.filter(|parent| known.contains_key(parent));
            children.entry(parent).or_default().push(process);
        }
        let mut waiting: Vec<(usize, &ProcessInfo)> = Vec::new();
        waiting.extend(
            children
                .get(&None)
                .into_iter()
                .flatten()
                .rev()
                .map(|process| (0, *process)),
        );
        while let Some((depth, process)) = waiting.pop() {
            let label = process.names.first().unwrap_or(&process.label);
            write!(
                formatter,
                "{:indent$}{label} {} {:?}",
                "",
                process.pid,
                process.status,
                indent = depth * 2
            )?;
            writeln!(
                formatter,
                " mailbox {}/{} handled {} restarts {}",
                process.mailbox_len,
                process.mailbox_high_water,
                process.messages_handled,
                process.restarts
            )?;
            waiting.extend(
                children
                    .get(&Some(process.pid))
                    .into_iter()
                    .flatten()
                    .rev()
                    .map(|child| (depth + 1, *child)),
            );
        }
        Ok(())
    }
}
