//! The executor: one thread, one task at a time, whose turn it is drawn from the seed; time moves a little with each turn and jumps when
//! nobody can run.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use crate::exit::ExitReason;
use crate::limits::{SIM_STEPS_MAX, SIM_TURN_COST_MAX};
use crate::pid::Pid;
use crate::process::run;
use crate::scheduler::{Task, budget};
use crate::system::System;

use super::SimError;
use super::clock::{SimClock, Time};
use super::entropy::{Dice, Stream};
use super::faults::{Fault, FaultKey, Injector};
use super::network::Net;
use super::replay::Replay;
use super::schedule::Order;
use super::state::{Alarm, BODY, End, Node, Slot, State, Step, Turn};
use super::trace::{Recorder, What, Who, without_paths};

/// The laboratory's inside.
pub(super) struct Lab {
    pub(super) replay: Replay,
    pub(super) time: Arc<Time>,
    pub(super) state: Mutex<State>,
    pub(super) net: Mutex<Net>,
}

struct TaskWaker {
    lab: Weak<Lab>,
    task: usize,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(lab) = self.lab.upgrade() {
            let now = lab.now();
            lab.state.lock().wake(now, self.task);
        }
    }
}

impl Lab {
    pub(super) fn new(replay: Replay) -> Arc<Lab> {
        let seed = replay.seed;
        Arc::new_cyclic(|lab: &Weak<Lab>| {
            let mut recorder = Recorder::new();
            recorder.introduce(Who::Body, None);
            let order = Order::new(seed, replay.choices);
            let body = Slot {
                task: None,
                waker: waker(lab, BODY),
                queued: true,
                over: false,
                process: None,
                node: 0,
                rank: order.rank(),
                turns: 0,
                panics: false,
            };
            Lab {
                time: Arc::default(),
                net: Mutex::new(Net::new(seed)),
                state: Mutex::new(State {
                    slots: vec![body],
                    ready: VecDeque::from([BODY]),
                    idle: Vec::new(),
                    alarms: BTreeMap::new(),
                    alarms_made: 0,
                    order,
                    injector: Injector::new(seed, replay.faults.clone()),
                    recorder,
                    program: Dice::new(seed, Stream::Program),
                    nodes: Vec::new(),
                    steps: 0,
                    steps_max: SIM_STEPS_MAX,
                    turn_cost_max: SIM_TURN_COST_MAX,
                    in_hand: None,
                    closed: false,
                }),
                replay,
            }
        })
    }

    pub(super) fn now(&self) -> Duration {
        self.time.now()
    }

    /// A place among the systems.
    pub(super) fn add_node(&self, name: &str, clock: Arc<SimClock>) -> usize {
        let mut state = self.state.lock();
        state.nodes.push(Node {
            name: name.into(),
            clock,
            system: None,
            tasks: 0,
            processes: 0,
        });
        state.nodes.len() - 1
    }

    /// Takes a task in; it can run at once, or after a delay.
    pub(super) fn spawn(
        self: &Arc<Lab>,
        node: usize,
        process: Option<(Pid, &'static str)>,
        task: Task,
        after: Option<Duration>,
    ) {
        let mut state = self.state.lock();
        if state.closed {
            drop(state);
            drop(task);
            return;
        }
        let number = state.slots.len();
        let place = &mut state.nodes[node];
        let (who, behaviour) = match process {
            Some((_, behaviour)) => {
                place.processes += 1;
                (Who::Process(place.name.clone(), place.processes), behaviour)
            }
            None => {
                place.tasks += 1;
                (Who::Task(place.name.clone(), place.tasks), "task")
            }
        };
        state.recorder.introduce(who, process.map(|(pid, _)| pid));
        let rank = state.order.rank();
        state.slots.push(Slot {
            task: Some(task),
            waker: waker(&Arc::downgrade(self), number),
            queued: true,
            over: false,
            process,
            node,
            rank,
            turns: 0,
            panics: false,
        });
        let now = self.now();
        state.recorder.write(now, What::Spawned(number, behaviour));
        match after {
            Some(delay) => state.hold(now, number, delay, "fault: begins late,"),
            None => state.ready.push_back(number),
        }
    }

    pub(super) fn ended(&self, pid: Pid, reason: &ExitReason) {
        let text = reason.to_string();
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        if let Some(task) = state.recorder.task_of(pid) {
            let text = state.recorder.neutral(&text);
            let now = self.now();
            state.recorder.write(now, What::Ended(task, text));
        }
    }

    pub(super) fn say(&self, text: &str) {
        let mut state = self.state.lock();
        let text = state.recorder.neutral(text);
        let now = self.now();
        state.recorder.write(now, What::Said(text));
    }

    pub(super) fn cancel_alarm(&self, key: (Duration, u64)) {
        let alarm = self.state.lock().alarms.remove(&key);
        drop(alarm);
    }

    pub(super) fn wake_when_idle(&self, waker: Waker) {
        self.state.lock().idle.push(waker);
    }

    /// Faults drawn and choices made so far.
    pub(super) fn decisions(&self) -> (Vec<FaultKey>, u64) {
        let state = self.state.lock();
        (state.injector.drawn().to_vec(), state.order.choices())
    }

    /// Runs everybody until the body is done, then ends everybody.
    pub(super) fn run<T>(self: &Arc<Lab>, body: impl Future<Output = T>) -> Result<T, SimError> {
        let mut body = Box::pin(tokio::task::unconstrained(body));
        let result = loop {
            // Told apart from the match, or the lock would be held through it.
            let step = self.state.lock().next(&self.time);
            match step {
                Step::Wake(wakers) => wakers.into_iter().for_each(Waker::wake),
                Step::Strike(fault) => self.strike(&fault),
                Step::Deliver(parcel) => self.deliver(parcel),
                Step::Nothing => {}
                Step::Body(waker) => {
                    let mut context = Context::from_waker(&waker);
                    match run::outside(|| body.as_mut().poll(&mut context)) {
                        Ok(Poll::Pending) => self.pass(),
                        Ok(Poll::Ready(output)) => break Ok(output),
                        Err(reason) => break Err(SimError::panicked(&reason)),
                    }
                }
                Step::Run(turn) => {
                    if let Err(reason) = self.take_turn(turn) {
                        break Err(SimError::panicked(&reason));
                    }
                }
                Step::End(end) => break Err(self.explain(end)),
            }
        };
        // What the body holds goes first; it is the user's, and its panics are too.
        let dropped = run::outside(|| drop(body));
        self.close();
        match (result, dropped) {
            (Ok(_), Err(reason)) => Err(SimError::panicked(&reason)),
            (result, _) => result,
        }
    }

    /// A turn has cost a little time.
    fn pass(&self) {
        let mut state = self.state.lock();
        state.in_hand = None;
        let most = u64::try_from(state.turn_cost_max.as_nanos()).unwrap_or(u64::MAX);
        let cost = state.order.cost(most);
        drop(state);
        self.time.set(self.now() + Duration::from_nanos(cost));
    }

    fn take_turn(&self, turn: Turn) -> Result<(), ExitReason> {
        let Turn {
            number,
            mut task,
            waker,
            panics,
            kill,
        } = turn;
        if let Some((system, pid)) = kill {
            system.kill(pid);
        }
        if panics {
            self.time.arm();
            budget::time_first_message(true);
        }
        let polled = run::outside(|| {
            let mut context = Context::from_waker(&waker);
            pin!(tokio::task::unconstrained(task.as_mut())).poll(&mut context)
        });
        budget::time_first_message(false);
        let still_panics = self.time.disarm();
        let mut state = self.state.lock();
        let slot = &mut state.slots[number];
        slot.panics = still_panics;
        if matches!(polled, Ok(Poll::Pending)) && !slot.over {
            slot.task = Some(task);
            drop(state);
        } else {
            slot.over = true;
            if slot.queued {
                // It woke itself in its last turn.
                state.ready.retain(|ready| *ready != number);
            }
            drop(state);
            drop(task);
        }
        self.pass();
        polled.map(|_| ())
    }

    /// A fault at a time of the user's choice.
    fn strike(&self, fault: &Fault) {
        let mut state = self.state.lock();
        if !state.injector.planned_strikes() {
            return;
        }
        let now = self.now();
        match fault {
            Fault::ClockForward(name, by) | Fault::ClockBack(name, by) => {
                let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
                let by = if matches!(fault, Fault::ClockBack(..)) {
                    -by
                } else {
                    by
                };
                if let Some(node) = state.nodes.iter().position(|node| *node.name == **name) {
                    state.step_wall(now, node, by);
                }
            }
            Fault::Kill(name) | Fault::Panic(name) | Fault::Stall(name, _) => {
                let systems: Vec<System> = state
                    .nodes
                    .iter()
                    .filter_map(|node| node.system.clone())
                    .collect();
                drop(state);
                let found = systems
                    .iter()
                    .find_map(|system| Some((system, system.whereis_pid(name)?)));
                if let Some((system, pid)) = found {
                    self.strike_process(system, pid, fault);
                }
            }
        }
    }

    fn strike_process(&self, system: &System, pid: Pid, fault: &Fault) {
        let now = self.now();
        let mut state = self.state.lock();
        let Some(task) = state.recorder.task_of(pid) else {
            return;
        };
        let text = format!("fault: {fault:?}");
        state.recorder.write(now, What::Of(task, text.into()));
        match fault {
            Fault::Panic(_) => {
                state.slots[task].panics = true;
                state.wake(now, task);
            }
            Fault::Stall(_, length) => {
                state.ready.retain(|ready| *ready != task);
                state.slots[task].queued = true;
                state.alarm(now.saturating_add(*length), Alarm::Resume(task));
            }
            _ => {
                drop(state);
                system.kill(pid);
            }
        }
    }

    /// Ends everybody who is left.
    pub(super) fn close(&self) {
        loop {
            let mut state = self.state.lock();
            state.closed = true;
            let alarms = std::mem::take(&mut state.alarms);
            let idle = std::mem::take(&mut state.idle);
            let tasks: Vec<Task> = state
                .slots
                .iter_mut()
                .filter_map(|slot| {
                    slot.over = true;
                    slot.task.take()
                })
                .collect();
            drop(state);
            drop((alarms, idle));
            if tasks.is_empty() {
                break;
            }
            for task in tasks {
                // A panic in dropping what is left is nobody's any more.
                drop(run::outside(|| drop(task)));
            }
        }
        self.net.lock().close();
    }

    fn explain(&self, end: End) -> SimError {
        let state = self.state.lock();
        let systems: Vec<(Arc<str>, System)> = state
            .nodes
            .iter()
            .filter_map(|node| Some((node.name.clone(), node.system.clone()?)))
            .collect();
        let steps = state.steps_max;
        drop(state);
        let at = self.now();
        let mut waiting = vec!["the body".to_owned()];
        for (_, system) in systems {
            let processes = system.inspect().processes;
            let state = self.state.lock();
            for process in processes {
                let name = state.recorder.name_of(process.pid);
                let label = process.names.first().unwrap_or(&process.label);
                waiting.push(format!(
                    "{name} {} ({:?}, {} in its mailbox)",
                    without_paths(label),
                    process.status,
                    process.mailbox_len
                ));
            }
        }
        match end {
            End::Deadlock => SimError::Deadlock { at, waiting },
            End::TooManySteps => SimError::TooManySteps { at, steps, waiting },
        }
    }
}

fn waker(lab: &Weak<Lab>, task: usize) -> Waker {
    Waker::from(Arc::new(TaskWaker {
        lab: lab.clone(),
        task,
    }))
}
