//! The trace: what happened, in order, in words that are the same for the same seed.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

use crate::limits::SIM_TRACE_LINES_MAX;
use crate::pid::Pid;

/// Lines shown on either side of a divergence.
const CONTEXT: usize = 6;

/// Who a task is. Numbers are counted in the laboratory, because pids are counted in the whole program.
#[derive(Clone, Debug)]
pub(super) enum Who {
    Body,
    Task(Arc<str>, u32),
    Process(Arc<str>, u32),
}

impl fmt::Display for Who {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Body => formatter.write_str("the body"),
            Who::Task(node, 1) => write!(formatter, "{node}'s timers"),
            Who::Task(node, number) => write!(formatter, "{node}'s task {number}"),
            Who::Process(node, number) => write!(formatter, "<{node}.{number}>"),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Spawned(usize, &'static str),
    Runs(usize),
    /// Somebody can run again, because of the one whose turn it is, if it is anybody's.
    Woken(usize, Option<usize>),
    Ended(usize, Box<str>),
    Jumped,
    /// Somebody, and what is said of them.
    Of(usize, Box<str>),
    Said(Box<str>),
}

/// Writes the trace.
#[derive(Debug)]
pub(super) struct Recorder {
    lines: VecDeque<(Duration, What)>,
    skipped: u64,
    fingerprint: u64,
    who: Vec<Who>,
    by_pid: HashMap<Pid, usize>,
    refs: HashMap<Box<str>, usize>,
}

impl Recorder {
    pub(super) fn new() -> Recorder {
        Recorder {
            lines: VecDeque::new(),
            skipped: 0,
            fingerprint: 0,
            who: Vec::new(),
            by_pid: HashMap::new(),
            refs: HashMap::new(),
        }
    }

    /// Names the task with the next number.
    pub(super) fn introduce(&mut self, who: Who, pid: Option<Pid>) {
        if let Some(pid) = pid {
            self.by_pid.insert(pid, self.who.len());
        }
        self.who.push(who);
    }

    pub(super) fn task_of(&self, pid: Pid) -> Option<usize> {
        self.by_pid.get(&pid).copied()
    }

    /// What the trace calls a process.
    pub(super) fn name_of(&self, pid: Pid) -> String {
        match self.by_pid.get(&pid) {
            Some(task) => self.who[*task].to_string(),
            None => "<?>".to_owned(),
        }
    }

    pub(super) fn write(&mut self, at: Duration, what: What) {
        let mut hasher = std::hash::DefaultHasher::new();
        hasher.write_u64(self.fingerprint);
        hasher.write_u128(at.as_nanos());
        let (kind, task, text): (u8, usize, &str) = match &what {
            What::Spawned(task, behaviour) => (0, *task, behaviour),
            What::Runs(task) => (1, *task, ""),
            What::Woken(task, by) => (6 + u8::from(by.is_some()), *task, ""),
            What::Ended(task, reason) => (2, *task, reason),
            What::Jumped => (3, 0, ""),
            What::Of(task, text) => (4, *task, text),
            What::Said(text) => (5, 0, text),
        };
        hasher.write_u8(kind);
        hasher.write_usize(task);
        hasher.write(text.as_bytes());
        if let What::Woken(_, Some(by)) = &what {
            hasher.write_usize(*by);
        }
        self.fingerprint = hasher.finish();
        if self.lines.len() == SIM_TRACE_LINES_MAX {
            self.lines.pop_front();
            self.skipped += 1;
        }
        self.lines.push_back((at, what));
    }

    /// Rewrites pids and references as the laboratory counts them.
    pub(super) fn neutral(&mut self, text: &str) -> Box<str> {
        if !text.contains('<') {
            return text.into();
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(open) = rest.find('<') {
            let (before, from) = rest.split_at(open);
            out.push_str(before);
            let close = from.find('>').map_or(from.len(), |at| at + 1);
            let tag = &from[..close];
            let inside = tag.trim_start_matches('<').trim_end_matches('>');
            let is_number =
                |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            if before.ends_with("#Ref") && is_number(inside) {
                let known = self.refs.len() + 1;
                let number = *self.refs.entry(inside.into()).or_insert(known);
                out.push_str(&format!("<{number}>"));
            } else if let Some(serial) = inside.strip_prefix("0.").filter(|text| is_number(text)) {
                let pid = serial.parse().ok().and_then(Pid::from_raw);
                out.push_str(&pid.map_or_else(|| tag.to_owned(), |pid| self.name_of(pid)));
            } else {
                // Not one of ours: only the bracket is behind us, there may be a pid further inside.
                out.push('<');
                rest = &from[1..];
                continue;
            }
            rest = &from[close..];
        }
        out.push_str(rest);
        out.into()
    }

    pub(super) fn trace(&self) -> Trace {
        let lines = self.lines.iter().map(|(at, what)| self.line(*at, what));
        Trace {
            lines: lines.collect(),
            skipped: self.skipped,
            fingerprint: self.fingerprint,
        }
    }

    fn line(&self, at: Duration, what: &What) -> String {
        let stamp = format!("{:>6}.{:09}", at.as_secs(), at.subsec_nanos());
        match what {
            What::Spawned(task, behaviour) => {
                format!(
                    "{stamp}  {} begins: {}",
                    self.who[*task],
                    without_paths(behaviour)
                )
            }
            What::Runs(task) => format!("{stamp}  {} runs", self.who[*task]),
            What::Woken(task, None) => format!("{stamp}    {} can go on", self.who[*task]),
            What::Woken(task, Some(by)) => {
                format!("{stamp}    {} wakes {}", self.who[*by], self.who[*task])
            }
            What::Ended(task, reason) => format!("{stamp}  {} ends: {reason}", self.who[*task]),
            What::Jumped => format!("{stamp}  nobody can run: the clock jumps here"),
            What::Of(task, text) => format!("{stamp}  {} {text}", self.who[*task]),
            What::Said(text) => format!("{stamp}  {text}"),
        }
    }
}

/// A type's name without the paths.
pub(super) fn without_paths(name: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    for letter in name.chars() {
        match letter {
            ':' => word.clear(),
            letter if letter.is_alphanumeric() || letter == '_' => word.push(letter),
            other => {
                out.push_str(&word);
                word.clear();
                out.push(other);
            }
        }
    }
    out + &word
}

/// What happened in a laboratory: one line for each turn, spawn, end, jump of the clock, fault, packet and note.
///
/// The same seed, program and faults give the same trace, in this program and in the next: processes are counted in the laboratory and named
/// after their system, `<shop.3>`. The last lines are kept; the fingerprint covers all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    lines: Vec<String>,
    skipped: u64,
    fingerprint: u64,
}

impl Trace {
    /// The lines that were kept: virtual time, who, what.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// How many lines went before those.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// A number in which every line counts.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Where this trace and another part, or `None` when they are the same.
    #[must_use]
    pub fn diff(&self, other: &Trace) -> Option<Divergence> {
        let same = self.fingerprint == other.fingerprint && self.lines == other.lines;
        if same && self.skipped == other.skipped {
            return None;
        }
        let parted = self
            .lines
            .iter()
            .zip(&other.lines)
            .position(|(left, right)| left != right)
            .unwrap_or(self.lines.len().min(other.lines.len()));
        let after = |lines: &[String]| -> Vec<String> {
            lines.iter().skip(parted).take(CONTEXT).cloned().collect()
        };
        Some(Divergence {
            line: self.skipped + parted as u64 + 1,
            before: self.lines[parted.saturating_sub(CONTEXT)..parted].to_vec(),
            left: after(&self.lines),
            right: after(&other.lines),
        })
    }

    /// The last lines.
    pub(super) fn tail(&self, lines: usize) -> &[String] {
        &self.lines[self.lines.len().saturating_sub(lines)..]
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.skipped > 0 {
            writeln!(formatter, "… {} lines before these", self.skipped)?;
        }
        for line in &self.lines {
            writeln!(formatter, "{line}")?;
        }
        Ok(())
    }
}

/// The first place in which two traces differ.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Divergence {
    /// The number of the first line that differs, from one.
    pub line: u64,
    /// The last lines both have.
    pub before: Vec<String>,
    /// How the first trace goes on.
    pub left: Vec<String>,
    /// How the other does.
    pub right: Vec<String>,
}

impl fmt::Display for Divergence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "the traces part at line {}", self.line)?;
        for (mark, lines) in [(' ', &self.before), ('-', &self.left), ('+', &self.right)] {
            for line in lines {
                writeln!(formatter, "{mark} {line}")?;
            }
        }
        Ok(())
    }
}
