//! An inspection as an operator reads it: the totals, a tree in columns with what needs attention first, the rooms.

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::pid::Pid;
use crate::process::info::{ProcessInfo, ProcessStatus};

use super::inspect::Inspection;

/// Processes shown under one parent; the rest are summed up in one line.
const SIBLINGS_SHOWN_MAX: usize = 25;

/// The first so many columns, and the last, are words; the others are numbers.
const LEFT: usize = 3;

const HEADS: [&str; 14] = [
    "process",
    "pid",
    "status",
    "waiting",
    "most",
    "dropped",
    "handled",
    "reductions",
    "busy",
    "restarts",
    "links",
    "monitors",
    "up",
    "behaviour",
];

enum Line {
    Row(Box<[String; HEADS.len()]>),
    Note(String),
}

impl fmt::Display for Inspection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.totals(formatter)?;
        if !self.processes.is_empty() {
            writeln!(formatter)?;
            table(formatter, &Tree::of(&self.processes).lines())?;
        }
        if !self.rooms.is_empty() {
            writeln!(formatter)?;
        }
        for room in &self.rooms {
            writeln!(
                formatter,
                "room {}: {}",
                room.name,
                counted(room.members as u64, "member")
            )?;
        }
        Ok(())
    }
}

impl Inspection {
    fn totals(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.counts;
        let of = |status| {
            let is = |process: &&ProcessInfo| process.status == status;
            self.processes.iter().filter(is).count()
        };
        writeln!(
            formatter,
            "{} up {}: {} ({} running, {} waiting, {} exiting), {}, {}",
            self.name,
            age(self.uptime_ms),
            counted(self.processes.len() as u64, "process"),
            of(ProcessStatus::Running),
            of(ProcessStatus::Waiting),
            of(ProcessStatus::Exiting),
            counted(counts.timers, "timer"),
            counted(self.rooms.len() as u64, "room"),
        )?;
        writeln!(
            formatter,
            "since then: {} spawned, {} exited, {} panicked, {}, {} stuck",
            counts.spawned,
            counts.exited,
            counts.panicked,
            counted(counts.restarts, "restart"),
            counts.stuck,
        )?;
        writeln!(
            formatter,
            "lost: {} ({} dropped, {} unread, {}), {} missed, {} disconnected",
            counted(counts.dead_letters, "dead letter"),
            counts.messages_dropped,
            counts.messages_unread,
            match counts.late_replies {
                1 => "1 late reply".to_owned(),
                many => format!("{many} late replies"),
            },
            counted(counts.room_frames_missed, "room frame"),
            counted(counts.room_members_disconnected, "room member"),
        )
    }
}

/// The processes under those that started them. Siblings stand with the trees first, then by what waits for them and how often they crashed.
struct Tree<'a> {
    children: HashMap<Option<Pid>, Vec<&'a ProcessInfo>>,
}

impl<'a> Tree<'a> {
    fn of(processes: &'a [ProcessInfo]) -> Tree<'a> {
        let known: HashSet<Pid> = processes.iter().map(|process| process.pid).collect();
        let mut children: HashMap<Option<Pid>, Vec<&ProcessInfo>> = HashMap::new();
        for process in processes {
            let parent = process.parent.filter(|parent| known.contains(parent));
            children.entry(parent).or_default().push(process);
        }
        let parents: HashSet<Pid> = children.keys().copied().flatten().collect();
        for siblings in children.values_mut() {
            siblings.sort_by_key(|process| {
                let leaf = !parents.contains(&process.pid);
                let trouble = (process.mailbox_len, process.restarts);
                (leaf, std::cmp::Reverse(trouble), process.pid)
            });
        }
        Tree { children }
    }

    fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        // A stack, because a chain of processes may be longer than the machine's.
        let mut waiting = Vec::new();
        self.push_children(&mut waiting, None, "");
        while let Some(step) = waiting.pop() {
            let (process, branch, under) = match step {
                Step::Show {
                    process,
                    branch,
                    under,
                } => (process, branch, under),
                Step::Note(note) => {
                    lines.push(Line::Note(note));
                    continue;
                }
            };
            lines.push(Line::Row(Box::new(row(process, &branch))));
            if let Some(panic) = &process.last_panic {
                let stem = match self.children.contains_key(&Some(process.pid)) {
                    true => "│",
                    false => " ",
                };
                lines.push(Line::Note(format!("{under}{stem}    last {panic}")));
            }
            self.push_children(&mut waiting, Some(process.pid), &under);
        }
        lines
    }

    fn push_children(&self, waiting: &mut Vec<Step<'a>>, parent: Option<Pid>, under: &str) {
        let siblings = self.children.get(&parent).map_or(&[][..], Vec::as_slice);
        let (shown, rest) = siblings.split_at(siblings.len().min(SIBLINGS_SHOWN_MAX));
        let top = parent.is_none();
        if !rest.is_empty() {
            let stem = if top { "" } else { "└─ " };
            waiting.push(Step::Note(format!("{under}{stem}{}", summed_up(rest))));
        }
        for (at, process) in shown.iter().enumerate().rev() {
            let last = at + 1 == siblings.len();
            let (stem, below) = match (top, last) {
                (true, _) => ("", ""),
                (false, true) => ("└─ ", "   "),
                (false, false) => ("├─ ", "│  "),
            };
            waiting.push(Step::Show {
                process,
                branch: format!("{under}{stem}"),
                under: format!("{under}{below}"),
            });
        }
    }
}

enum Step<'a> {
    Show {
        process: &'a ProcessInfo,
        /// What stands before its name.
        branch: String,
        /// What stands before its children's branches.
        under: String,
    },
    Note(String),
}

fn summed_up(rest: &[&ProcessInfo]) -> String {
    let waiting: usize = rest.iter().map(|process| process.mailbox_len).sum();
    let restarts: u64 = rest.iter().map(|process| u64::from(process.restarts)).sum();
    format!(
        "… and {} more: {} waiting, {}",
        rest.len(),
        counted(waiting as u64, "message"),
        counted(restarts, "restart"),
    )
}

fn row(process: &ProcessInfo, branch: &str) -> [String; HEADS.len()] {
    let name = process.names.first().unwrap_or(&process.label);
    let status = match process.status {
        ProcessStatus::Running => "running",
        ProcessStatus::Waiting => "waiting",
        ProcessStatus::Exiting => "exiting",
    };
    [
        format!("{branch}{name}"),
        process.pid.to_string(),
        status.to_owned(),
        process.mailbox_len.to_string(),
        process.mailbox_high_water.to_string(),
        process.mailbox_dropped.to_string(),
        process.messages_handled.to_string(),
        process.reductions.to_string(),
        process
            .busy_us
            .map_or("–".to_owned(), |busy| age(busy / 1_000)),
        process.restarts.to_string(),
        process.links.len().to_string(),
        process.monitors.len().to_string(),
        age(process.uptime_ms),
        process.behaviour.to_owned(),
    ]
}

fn table(formatter: &mut fmt::Formatter<'_>, lines: &[Line]) -> fmt::Result {
    let mut widths = HEADS.map(str::len);
    for line in lines {
        if let Line::Row(cells) = line {
            for (width, cell) in widths.iter_mut().zip(cells.iter()) {
                *width = (*width).max(cell.chars().count());
            }
        }
    }
    let last = HEADS.len() - 1;
    let write = |formatter: &mut fmt::Formatter<'_>, cells: [&str; HEADS.len()]| {
        for (at, (cell, width)) in cells.into_iter().zip(widths).enumerate() {
            match at {
                _ if at == last => writeln!(formatter, "{cell}")?,
                _ if at < LEFT => write!(formatter, "{cell:<width$}  ")?,
                _ => write!(formatter, "{cell:>width$}  ")?,
            }
        }
        Ok(())
    };
    write(formatter, HEADS)?;
    for line in lines {
        match line {
            Line::Row(cells) => write(formatter, cells.each_ref().map(String::as_str))?,
            Line::Note(note) => writeln!(formatter, "{note}")?,
        }
    }
    Ok(())
}

/// A number and what it counts.
fn counted(number: u64, what: &str) -> String {
    match (number, what) {
        (1, _) => format!("1 {what}"),
        (_, "process") => format!("{number} processes"),
        _ => format!("{number} {what}s"),
    }
}

/// A length of time in the two units that matter.
fn age(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match () {
        () if seconds == 0 => format!("{ms} ms"),
        () if minutes == 0 => format!("{seconds}.{} s", ms % 1_000 / 100),
        () if hours == 0 => format!("{minutes} min {} s", seconds % 60),
        () if days == 0 => format!("{hours} h {} min", minutes % 60),
        () => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::{age, counted};

    #[test]
    fn ages_and_numbers_are_for_people() {
        let ages = [
            0,
            999,
            1_000,
            59_999,
            60_000,
            3_600_000,
            86_400_000 + 7_200_000,
        ];
        assert_eq!(
            ages.map(age),
            [
                "0 ms",
                "999 ms",
                "1.0 s",
                "59.9 s",
                "1 min 0 s",
                "1 h 0 min",
                "1 d 2 h"
            ]
        );
        assert_eq!(counted(1, "process"), "1 process");
        assert_eq!(counted(2, "process"), "2 processes");
        assert_eq!(counted(0, "timer"), "0 timers");
    }
}
