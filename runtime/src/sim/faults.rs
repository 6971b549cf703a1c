//! Faults: what may go wrong, with what probability or when, and which of it does under a seed.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use super::entropy::{Dice, Stream, derived};

/// What may go wrong in a laboratory. Nothing, unless said.
///
/// Probabilities are from 0 to 1. Those of `kill`, `panic` and `stall` are tried each time a process gets its turn, that of `delay` for each
/// sleep of a timer wheel and each piece of blocking work, that of `clock_step` each time the clock jumps.
///
/// ```
/// use std::time::Duration;
/// use mesh_runtime::sim::{Fault, Faults};
///
/// let faults = Faults::none()
///     .kill(0.01)
///     .stall(0.02, Duration::from_millis(1)..Duration::from_millis(50))
///     .only("Worker")
///     .at_most(10)
///     .at(Duration::from_secs(3), Fault::Kill("writer".into()));
/// # drop(faults);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Faults {
    kill: f64,
    panic: f64,
    stall: f64,
    stall_for: Range<Duration>,
    delay: f64,
    delay_by: Range<Duration>,
    clock_step: f64,
    clock_step_max: Duration,
    only: Vec<String>,
    count_max: Option<u32>,
    pub(super) planned: Vec<(Duration, Fault)>,
}

/// One fault at a time of one's choice. Processes are named as they are registered, in any system of the laboratory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The process is killed.
    Kill(String),
    /// The process panics where it next reads the time: between two messages, or when it begins to wait for a time.
    Panic(String),
    /// The process is not run for so long, as if it blocked.
    Stall(String, Duration),
    /// The wall clock of the named system jumps forward.
    ClockForward(String, Duration),
    /// The wall clock of the named system jumps back.
    ClockBack(String, Duration),
}

impl Faults {
    /// Nothing goes wrong.
    #[must_use]
    pub fn none() -> Faults {
        Faults::default()
    }

    /// A process is killed instead of run.
    #[must_use]
    pub fn kill(mut self, probability: f64) -> Faults {
        self.kill = probability;
        self
    }

    /// A process panics where it next reads the time: between two messages, or when it begins to wait for a time.
    #[must_use]
    pub fn panic(mut self, probability: f64) -> Faults {
        self.panic = probability;
        self
    }

    /// A process is not run for a while though it could, as if it blocked.
    #[must_use]
    pub fn stall(mut self, probability: f64, length: Range<Duration>) -> Faults {
        (self.stall, self.stall_for) = (probability, length);
        self
    }

    /// Timers fire, and blocking work begins, late.
    #[must_use]
    pub fn delay(mut self, probability: f64, by: Range<Duration>) -> Faults {
        (self.delay, self.delay_by) = (probability, by);
        self
    }

    /// A system's wall clock jumps, by at most so much, either way.
    #[must_use]
    pub fn clock_step(mut self, probability: f64, by_at_most: Duration) -> Faults {
        (self.clock_step, self.clock_step_max) = (probability, by_at_most);
        self
    }

    /// Only processes whose behaviour contains this text are killed, made to panic or stalled; may be said more than once. A behaviour is the
    /// actor's type, or the message type of a closure process. A `Probe` never is.
    #[must_use]
    pub fn only(mut self, behaviour: &str) -> Faults {
        self.only.push(behaviour.to_owned());
        self
    }

    /// No more than so many faults by probability.
    #[must_use]
    pub fn at_most(mut self, count: u32) -> Faults {
        self.count_max = Some(count);
        self
    }

    /// One fault when the virtual clock shows this time.
    #[must_use]
    pub fn at(mut self, time: Duration, fault: Fault) -> Faults {
        self.planned.push((time, fault));
        self
    }

    fn spares(&self, behaviour: &str) -> bool {
        behaviour == crate::probe::BEHAVIOUR
            || !(self.only.is_empty() || self.only.iter().any(|text| behaviour.contains(text)))
    }
}

/// What happens to a process that has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Harm {
    Kill,
    Panic,
    Stall(Duration),
}

/// Which chance of a fault it was. It stays the same fault when others are left out: that is what lets a schedule be shrunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FaultKey {
    /// The turn of a task.
    Turn(u32, u32),
    /// A sleep or a piece of blocking work of a system.
    Late(u32, u32),
    /// A jump of the clock.
    Jump(u32),
    /// One at a time of the user's choice.
    Planned(u32),
}

impl FaultKey {
    fn number(self) -> u64 {
        let pair = |kind: u64, left: u32, right: u32| {
            (kind << 62) | (u64::from(left) << 31) ^ u64::from(right)
        };
        match self {
            FaultKey::Turn(task, turn) => pair(0, task, turn),
            FaultKey::Late(system, sleep) => pair(1, system, sleep),
            FaultKey::Jump(jump) => pair(2, 0, jump),
            FaultKey::Planned(place) => pair(3, 0, place),
        }
    }
}

impl fmt::Display for FaultKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultKey::Turn(task, turn) => write!(formatter, "t{task}.{turn}"),
            FaultKey::Late(system, sleep) => write!(formatter, "l{system}.{sleep}"),
            FaultKey::Jump(jump) => write!(formatter, "j{jump}"),
            FaultKey::Planned(place) => write!(formatter, "p{place}"),
        }
    }
}

impl FromStr for FaultKey {
    type Err = ();

    fn from_str(text: &str) -> Result<FaultKey, ()> {
        let number = |text: &str| text.parse::<u32>().map_err(drop);
        let pair = |text: &str| -> Result<(u32, u32), ()> {
            let (left, right) = text.split_once('.').ok_or(())?;
            Ok((number(left)?, number(right)?))
        };
        match text.split_at_checked(1).ok_or(())? {
            ("t", rest) => pair(rest).map(|(task, turn)| FaultKey::Turn(task, turn)),
            ("l", rest) => pair(rest).map(|(system, sleep)| FaultKey::Late(system, sleep)),
            ("j", rest) => number(rest).map(FaultKey::Jump),
            ("p", rest) => number(rest).map(FaultKey::Planned),
            _ => Err(()),
        }
    }
}

/// Decides which faults strike. Each chance has dice of its own, so that leaving one fault out changes no other.
#[derive(Debug)]
pub(super) struct Injector {
    plan: Faults,
    seed: u64,
    jumps: u32,
    /// Sleeps and blocking work so far, by system.
    late: Vec<u32>,
    planned: u32,
    drawn: Vec<FaultKey>,
    by_chance: u32,
    keep: Option<BTreeSet<FaultKey>>,
}

impl Injector {
    pub(super) fn new(seed: u64, keep: Option<BTreeSet<FaultKey>>) -> Injector {
        Injector {
            plan: Faults::none(),
            seed: derived(seed, Stream::Faults),
            jumps: 0,
            late: Vec::new(),
            planned: 0,
            drawn: Vec::new(),
            by_chance: 0,
            keep,
        }
    }

    pub(super) fn set_plan(&mut self, plan: Faults) {
        self.plan = plan;
        self.by_chance = 0;
    }

    /// Faults drawn so far, those left out included.
    pub(super) fn drawn(&self) -> &[FaultKey] {
        &self.drawn
    }

    fn dice(&self, key: FaultKey) -> Dice {
        Dice::plain(self.seed ^ key.number())
    }

    fn draw(&mut self, key: FaultKey, dice: &Dice, probability: f64) -> bool {
        if probability <= 0.0 || !dice.chance(probability) {
            return false;
        }
        if self
            .plan
            .count_max
            .is_some_and(|most| self.by_chance >= most)
        {
            return false;
        }
        self.by_chance += 1;
        self.strikes(key)
    }

    /// Notes a fault that is due; whether it strikes.
    fn strikes(&mut self, key: FaultKey) -> bool {
        self.drawn.push(key);
        self.keep.as_ref().is_none_or(|keep| keep.contains(&key))
    }

    /// Whether the next fault at a time of the user's choice strikes.
    pub(super) fn planned_strikes(&mut self) -> bool {
        self.planned += 1;
        self.strikes(FaultKey::Planned(self.planned))
    }

    /// What happens to a process of this behaviour instead of its turn.
    pub(super) fn harm(&mut self, task: usize, turn: u32, behaviour: &str) -> Option<Harm> {
        let plan = &self.plan;
        let (kill, panic, stall) = (plan.kill, plan.panic, plan.stall);
        if kill + panic + stall <= 0.0 || plan.spares(behaviour) {
            return None;
        }
        let key = FaultKey::Turn(u32::try_from(task).unwrap_or(u32::MAX), turn);
        let dice = self.dice(key);
        // One of the three at most: the first whose dice fall, struck or left out.
        if dice.chance(kill) {
            return self.draw(key, &dice, 1.0).then_some(Harm::Kill);
        }
        if dice.chance(panic) {
            return self.draw(key, &dice, 1.0).then_some(Harm::Panic);
        }
        if self.draw(key, &dice, stall) {
            return Some(Harm::Stall(dice.within(&self.plan.stall_for)));
        }
        None
    }

    /// How late a sleep of this system ends, or a piece of its blocking work begins.
    pub(super) fn delay(&mut self, system: usize) -> Option<Duration> {
        if self.plan.delay <= 0.0 {
            return None;
        }
        if self.late.len() <= system {
            self.late.resize(system + 1, 0);
        }
        self.late[system] += 1;
        let key = FaultKey::Late(u32::try_from(system).unwrap_or(u32::MAX), self.late[system]);
        let dice = self.dice(key);
        self.draw(key, &dice, self.plan.delay)
            .then(|| dice.within(&self.plan.delay_by))
    }

    /// Which of so many wall clocks jumps, and by how many milliseconds.
    pub(super) fn clock_step(&mut self, systems: usize) -> Option<(usize, i64)> {
        self.jumps += 1;
        if systems == 0 || self.plan.clock_step <= 0.0 {
            return None;
        }
        let key = FaultKey::Jump(self.jumps);
        let dice = self.dice(key);
        if !self.draw(key, &dice, self.plan.clock_step) {
            return None;
        }
        let most = u64::try_from(self.plan.clock_step_max.as_millis()).unwrap_or(0);
        let by = i64::try_from(dice.below(most.saturating_add(1))).unwrap_or(0);
        let sign = if dice.chance(0.5) { 1 } else { -1 };
        Some((dice.index(systems), sign * by))
    }
}
