//! What the laboratory knows, under its one lock: who can run, who waits for when, and whose turn it is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::pid::Pid;
use crate::scheduler::Task;
use crate::system::System;

use super::clock::{SimClock, Time};
use super::entropy::Dice;
use super::faults::{Fault, Harm, Injector};
use super::network::Parcel;
use super::schedule::Order;
use super::trace::{Recorder, What};

/// The number of the body's task.
pub(super) const BODY: usize = 0;

/// Why the laboratory cannot go on.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Deadlock,
    TooManySteps,
}

/// What happens when the clock shows a time.
pub(super) enum Alarm {
    Wake(Waker),
    /// A task that was held back may go on.
    Resume(usize),
    Strike(Fault),
    Deliver(Parcel),
}

/// One task, the body included.
pub(super) struct Slot {
    pub(super) task: Option<Task>,
    pub(super) waker: Waker,
    /// In the queue of those who can run, or held back.
    pub(super) queued: bool,
    pub(super) over: bool,
    pub(super) process: Option<(Pid, &'static str)>,
    pub(super) node: usize,
    pub(super) rank: u64,
    pub(super) turns: u32,
    /// To panic at the next chance.
    pub(super) panics: bool,
}

/// One system of the laboratory.
pub(super) struct Node {
    pub(super) name: Arc<str>,
    pub(super) clock: Arc<SimClock>,
    pub(super) system: Option<System>,
    pub(super) tasks: u32,
    pub(super) processes: u32,
}

/// Everything under the one lock.
pub(super) struct State {
    pub(super) slots: Vec<Slot>,
    pub(super) ready: VecDeque<usize>,
    /// Those who wait for the moment in which nobody can run.
    pub(super) idle: Vec<Waker>,
    pub(super) alarms: BTreeMap<(Duration, u64), Alarm>,
    pub(super) alarms_made: u64,
    pub(super) order: Order,
    pub(super) injector: Injector,
    pub(super) recorder: Recorder,
    pub(super) program: Dice,
    pub(super) nodes: Vec<Node>,
    pub(super) steps: u64,
    pub(super) steps_max: u64,
    pub(super) turn_cost_max: Duration,
    /// Whose turn it is.
    pub(super) in_hand: Option<usize>,
    pub(super) closed: bool,
}

/// What is to be done next, outside the lock.
pub(super) enum Step {
    Wake(Vec<Waker>),
    Strike(Fault),
    Deliver(Parcel),
    Body(Waker),
    Run(Turn),
    Nothing,
    End(End),
}

pub(super) struct Turn {
    pub(super) number: usize,
    pub(super) task: Task,
    pub(super) waker: Waker,
    pub(super) panics: bool,
    /// To be killed before it runs.
    pub(super) kill: Option<(System, Pid)>,
}

impl State {
    pub(super) fn wake(&mut self, now: Duration, task: usize) {
        if let Some(slot) = self.slots.get_mut(task)
            && !slot.queued
            && !slot.over
        {
            slot.queued = true;
            self.ready.push_back(task);
            if !self.closed {
                self.recorder.write(now, What::Woken(task, self.in_hand));
            }
        }
    }

    pub(super) fn alarm(&mut self, at: Duration, alarm: Alarm) -> (Duration, u64) {
        self.alarms_made += 1;
        let key = (at, self.alarms_made);
        self.alarms.insert(key, alarm);
        key
    }

    /// The first thing that is due, if any.
    fn due(&mut self, now: Duration) -> Option<Step> {
        loop {
            let first = self.alarms.first_entry()?;
            if first.key().0 > now {
                return None;
            }
            return Some(match first.remove() {
                Alarm::Wake(waker) => Step::Wake(vec![waker]),
                Alarm::Strike(fault) => Step::Strike(fault),
                Alarm::Deliver(parcel) => Step::Deliver(parcel),
                Alarm::Resume(task) => {
                    self.resume(task);
                    continue;
                }
            });
        }
    }

    /// A task that was held back may go on; it may have been held back twice.
    fn resume(&mut self, task: usize) {
        if !self.slots[task].over && !self.ready.contains(&task) {
            self.slots[task].queued = true;
            self.ready.push_back(task);
        }
    }

    pub(super) fn next(&mut self, time: &Time) -> Step {
        loop {
            if let Some(step) = self.due(time.now()) {
                return step;
            }
            if !self.ready.is_empty() {
                return self.turn(time.now());
            }
            if !self.idle.is_empty() {
                return Step::Wake(std::mem::take(&mut self.idle));
            }
            let Some((&(at, _), _)) = self.alarms.first_key_value() else {
                return Step::End(End::Deadlock);
            };
            time.set(at);
            self.recorder.write(at, What::Jumped);
            if let Some((node, by_ms)) = self.injector.clock_step(self.nodes.len()) {
                self.step_wall(at, node, by_ms);
            }
        }
    }

    pub(super) fn step_wall(&mut self, now: Duration, node: usize, by_ms: i64) {
        let node = &self.nodes[node];
        node.clock.step_wall(by_ms);
        let text = format!("fault: the wall clock of {} jumps by {by_ms} ms", node.name);
        self.recorder.write(now, What::Said(text.into()));
    }

    /// Draws whose turn it is, and what becomes of it.
    fn turn(&mut self, now: Duration) -> Step {
        self.steps += 1;
        if self.steps > self.steps_max {
            return Step::End(End::TooManySteps);
        }
        let slots = &self.slots;
        let place = self.order.pick(&self.ready, |task| {
            slots.get(task).map_or(0, |slot| slot.rank)
        });
        let number = match place {
            0 => self.ready.pop_front(),
            place => self.ready.swap_remove_back(place),
        };
        let number = number.expect("the place was drawn from this queue");
        let rank = self.order.changes_rank().then(|| self.order.rank());
        let slot = &mut self.slots[number];
        slot.rank = rank.unwrap_or(slot.rank);
        slot.turns = slot.turns.wrapping_add(1);
        let mut kill = None;
        if let Some((pid, behaviour)) = slot.process {
            match self.injector.harm(number, slot.turns, behaviour) {
                Some(Harm::Stall(length)) => {
                    self.hold(now, number, length, "fault: is held back");
                    return Step::Nothing;
                }
                Some(Harm::Kill) => {
                    self.recorder
                        .write(now, What::Of(number, "fault: is killed".into()));
                    let system = self.nodes[slot.node].system.clone();
                    kill = system.map(|system| (system, pid));
                }
                Some(Harm::Panic) => slot.panics = true,
                None => {}
            }
        }
        slot.queued = false;
        self.in_hand = Some(number);
        self.recorder.write(now, What::Runs(number));
        if number == BODY {
            return Step::Body(slot.waker.clone());
        }
        Step::Run(Turn {
            number,
            task: slot.task.take().expect("a task that is over is not queued"),
            waker: slot.waker.clone(),
            panics: slot.panics,
            kill,
        })
    }

    /// Keeps a task, which stands in no queue, from running.
    pub(super) fn hold(&mut self, now: Duration, task: usize, length: Duration, why: &str) {
        let text = format!("{why} for {length:?}");
        self.recorder.write(now, What::Of(task, text.into()));
        self.alarm(now.saturating_add(length), Alarm::Resume(task));
    }
}
