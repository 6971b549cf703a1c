//! Links and monitors: every signal against a model of OTP's exit rules.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mesh_runtime::sim::Sim;
use mesh_runtime::{Address, Context, Event, ExitReason, Pid, Ref, Signal, System};

const ACTS: usize = 40;
/// A whole slice: who has spent it lets the others run.
const SLICE: u32 = mesh_runtime::limits::REDUCTIONS_PER_SLICE;

/// What an agent is told to do.
#[derive(Debug)]
enum Command {
    Link(Pid),
    Unlink(usize, Pid),
    Monitor(u32, Pid),
    Demonitor(u32),
    Trap(bool),
    End(ExitReason),
    Signal(Pid, ExitReason),
}

/// What an agent has seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    Exit(usize, String),
    Down(u32, String),
    Unlinked(usize),
    Demonitored(u32),
}

/// What the agents share with the test.
#[derive(Clone, Default)]
struct Board(Arc<Mutex<Shared>>);

#[derive(Default)]
struct Shared {
    index: HashMap<Pid, usize>,
    seen: Vec<(usize, Seen)>,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see(&self, agent: usize, seen: Seen) {
        self.lock().seen.push((agent, seen));
    }
}

async fn agent(number: usize, board: Board, mut cx: Context<Command>) -> ExitReason {
    let mut monitors: HashMap<u32, Ref> = HashMap::new();
    let mut numbers: HashMap<Ref, u32> = HashMap::new();
    loop {
        match cx.receive_event().await {
            Event::Message(Command::Link(pid)) => cx.link(pid),
            Event::Message(Command::Unlink(peer, pid)) => {
                // Whoever dies now is heard of while this one has already made up its mind.
                cx.consume_budget(SLICE).await;
                cx.unlink(pid);
                board.see(number, Seen::Unlinked(peer));
            }
            Event::Message(Command::Monitor(monitor, pid)) => {
                let reference = cx.monitor(pid);
                monitors.insert(monitor, reference);
                numbers.insert(reference, monitor);
            }
            Event::Message(Command::Demonitor(monitor)) => {
                cx.consume_budget(SLICE).await;
                if let Some(reference) = monitors.remove(&monitor) {
                    cx.demonitor(reference);
                }
                board.see(number, Seen::Demonitored(monitor));
            }
            Event::Message(Command::Trap(traps)) => {
                cx.trap_exit(traps);
            }
            Event::Message(Command::End(reason)) => return reason,
            Event::Message(Command::Signal(pid, reason)) => {
                cx.exit(pid, reason);
            }
            Event::Signal(Signal::Exit { from, reason }) => {
                let from = board.lock().index[&from];
                board.see(number, Seen::Exit(from, reason.to_string()));
            }
            Event::Signal(Signal::Down {
                reference, reason, ..
            }) => {
                board.see(number, Seen::Down(numbers[&reference], reason.to_string()));
            }
            Event::Signal(_) => {}
        }
    }
}

/// The exit rules as OTP's documentation has them.
#[derive(Default)]
struct Model {
    alive: Vec<bool>,
    traps: Vec<bool>,
    links: BTreeSet<(usize, usize)>,
    monitors: BTreeMap<u32, (usize, usize)>,
    expected: Vec<(usize, Seen)>,
}

fn pair(one: usize, other: usize) -> (usize, usize) {
    (one.min(other), one.max(other))
}

impl Model {
    fn living(&self) -> Vec<usize> {
        (0..self.alive.len())
            .filter(|agent| self.alive[*agent])
            .collect()
    }

    fn expect(&mut self, agent: usize, seen: Seen) {
        self.expected.push((agent, seen));
    }

    /// An agent ends, and with it those its reason reaches.
    fn end(&mut self, agent: usize, reason: &ExitReason) {
        if !std::mem::replace(&mut self.alive[agent], false) {
            return;
        }
        let told: Vec<(u32, usize)> = self
            .monitors
            .iter()
            .filter(|(_, (_, target))| *target == agent)
            .map(|(monitor, (watcher, _))| (*monitor, *watcher))
            .collect();
        for (monitor, watcher) in told {
            self.monitors.remove(&monitor);
            self.expect(watcher, Seen::Down(monitor, reason.to_string()));
        }
        self.monitors.retain(|_, (watcher, _)| *watcher != agent);
        let peers: Vec<usize> = (0..self.alive.len())
            .filter(|peer| self.links.remove(&pair(agent, *peer)))
            .collect();
        for peer in peers {
            self.exit_signal(agent, peer, reason);
        }
    }

    fn exit_signal(&mut self, from: usize, to: usize, reason: &ExitReason) {
        if !self.alive[to] {
            return;
        }
        if self.traps[to] {
            self.expect(to, Seen::Exit(from, reason.to_string()));
        } else if !reason.is_normal() {
            self.end(to, reason);
        }
    }
}

struct World {
    sim: Sim,
    system: System,
    board: Board,
    agents: Vec<Address<Command>>,
    model: Model,
    monitors: u32,
}

pub(super) async fn play(sim: Sim) {
    let system = sim.system("links");
    let mut world = World {
        system: system.clone(),
        board: Board::default(),
        agents: Vec::new(),
        model: Model::default(),
        monitors: 0,
        sim,
    };
    for _ in 0..3 + world.sim.below(6) {
        world.spawn();
    }
    for _ in 0..ACTS {
        if world.model.living().len() < 2 {
            world.spawn();
            world.spawn();
        }
        match world.sim.below(20) {
            0 => world.race_of_unlink_and_death().await,
            1 => world.race_of_demonitor_and_death().await,
            2 => world.kill_two(),
            3 => world.spawn(),
            _ => world.act(),
        }
        world.sim.settle().await;
        world.compare();
    }
    system
        .shutdown(Duration::from_secs(1))
        .await
        .expect("nobody holds a worker");
}

impl World {
    fn spawn(&mut self) {
        let (number, board) = (self.agents.len(), self.board.clone());
        let address = self
            .system
            .spawn(move |cx: Context<Command>| agent(number, board, cx));
        self.board.lock().index.insert(address.pid(), number);
        self.agents.push(address);
        self.model.alive.push(true);
        self.model.traps.push(false);
    }

    fn tell(&self, agent: usize, command: Command) {
        self.sim.note(&format!("agent {agent}: {command:?}"));
        self.agents[agent].send(command).expect("it lives");
    }

    fn any(&self) -> usize {
        usize::try_from(self.sim.below(self.agents.len() as u64)).unwrap_or(0)
    }

    fn reason(&self) -> ExitReason {
        match self.sim.below(5) {
            0 => ExitReason::normal(),
            1 => ExitReason::shutdown(),
            2 => ExitReason::killed(),
            _ => ExitReason::error("on purpose"),
        }
    }

    fn act(&mut self) {
        let agent = self.sim.pick(&self.model.living());
        let other = self.any();
        let pid = self.agents[other].pid();
        let no_process = ExitReason::no_process();
        match self.sim.below(14) {
            0..=3 if agent == other => {
                // The one normal exit signal that is not ignored.
                self.tell(agent, Command::Signal(pid, ExitReason::normal()));
                if self.model.traps[agent] {
                    let seen = Seen::Exit(agent, ExitReason::normal().to_string());
                    self.model.expect(agent, seen);
                } else {
                    self.model.end(agent, &ExitReason::normal());
                }
            }
            _ if agent == other => {
                let traps = self.sim.chance(0.5);
                self.model.traps[agent] = traps;
                self.tell(agent, Command::Trap(traps));
            }
            0..=4 => {
                self.tell(agent, Command::Link(pid));
                if self.model.alive[other] {
                    self.model.links.insert(pair(agent, other));
                } else {
                    self.model.exit_signal(other, agent, &no_process);
                }
            }
            5 => {
                self.model.links.remove(&pair(agent, other));
                self.model.expect(agent, Seen::Unlinked(other));
                self.tell(agent, Command::Unlink(other, pid));
            }
            6..=8 => {
                self.monitors += 1;
                let monitor = self.monitors;
                self.tell(agent, Command::Monitor(monitor, pid));
                if self.model.alive[other] {
                    self.model.monitors.insert(monitor, (agent, other));
                } else {
                    self.model
                        .expect(agent, Seen::Down(monitor, no_process.to_string()));
                }
            }
            9 => {
                let own = self
                    .model
                    .monitors
                    .iter()
                    .find(|(_, (watcher, _))| *watcher == agent);
                if let Some(monitor) = own.map(|(monitor, _)| *monitor) {
                    self.model.monitors.remove(&monitor);
                    self.model.expect(agent, Seen::Demonitored(monitor));
                    self.tell(agent, Command::Demonitor(monitor));
                }
            }
            10 | 11 => {
                let reason = self.reason();
                self.tell(agent, Command::Signal(pid, reason.clone()));
                if reason == ExitReason::killed() {
                    self.model.end(other, &reason);
                } else {
                    self.model.exit_signal(agent, other, &reason);
                }
            }
            12 => {
                let reason = self.reason();
                self.tell(agent, Command::End(reason.clone()));
                self.model.end(agent, &reason);
            }
            _ => {
                self.system.kill(self.agents[agent].pid());
                self.model.end(agent, &ExitReason::killed());
            }
        }
    }

    /// Two at once: whichever goes first, the others hear the same.
    fn kill_two(&mut self) {
        let living = self.model.living();
        let both = [self.sim.pick(&living), self.sim.pick(&living)];
        for agent in both {
            self.system.kill(self.agents[agent].pid());
        }
        for agent in both {
            self.model.end(agent, &ExitReason::killed());
        }
    }

    /// One unlinks while the other dies: it may hear of it before, and not after.
    async fn race_of_unlink_and_death(&mut self) {
        let living = self.model.living();
        let (agent, other) = (self.sim.pick(&living), self.sim.pick(&living));
        if agent == other {
            return;
        }
        self.model.traps[agent] = true;
        self.tell(agent, Command::Trap(true));
        self.tell(agent, Command::Link(self.agents[other].pid()));
        self.model.links.insert(pair(agent, other));
        self.sim.settle().await;
        self.tell(agent, Command::Unlink(other, self.agents[other].pid()));
        self.system.kill(self.agents[other].pid());
        self.sim.settle().await;
        self.model.links.remove(&pair(agent, other));
        self.model.end(other, &ExitReason::killed());
        self.nothing_after(
            agent,
            &Seen::Unlinked(other),
            &Seen::Exit(other, ExitReason::killed().to_string()),
        );
    }

    /// One takes its monitor back while the other dies: it may hear of it before, and not after.
    async fn race_of_demonitor_and_death(&mut self) {
        let living = self.model.living();
        let (agent, other) = (self.sim.pick(&living), self.sim.pick(&living));
        if agent == other || self.model.links.contains(&pair(agent, other)) {
            return;
        }
        self.monitors += 1;
        let monitor = self.monitors;
        self.tell(agent, Command::Monitor(monitor, self.agents[other].pid()));
        self.sim.settle().await;
        self.tell(agent, Command::Demonitor(monitor));
        self.system.kill(self.agents[other].pid());
        self.sim.settle().await;
        self.model.end(other, &ExitReason::killed());
        self.nothing_after(
            agent,
            &Seen::Demonitored(monitor),
            &Seen::Down(monitor, ExitReason::killed().to_string()),
        );
    }

    /// Takes both out of what was seen, once the one did not come after the other.
    fn nothing_after(&self, agent: usize, last: &Seen, late: &Seen) {
        if !self.model.alive[agent] {
            return;
        }
        let mut shared = self.board.lock();
        let place = |seen: &Seen| {
            let found = |(who, what): &(usize, Seen)| *who == agent && what == seen;
            shared.seen.iter().position(found)
        };
        let (last_at, late_at) = (place(last), place(late));
        assert!(last_at.is_some(), "agent {agent} did as told: {last:?}");
        assert!(
            late_at.is_none_or(|late| Some(late) < last_at),
            "{late:?} came after {last:?}"
        );
        shared
            .seen
            .retain(|(who, what)| *who != agent || (what != last && what != late));
    }

    /// What the living have seen, and who lives, is what the model says.
    fn compare(&mut self) {
        let mut seen = std::mem::take(&mut self.board.lock().seen);
        let mut expected = std::mem::take(&mut self.model.expected);
        // One that ended may have seen its last signals, or not.
        seen.retain(|(agent, _)| self.model.alive[*agent]);
        expected.retain(|(agent, _)| self.model.alive[*agent]);
        seen.sort();
        expected.sort();
        assert_eq!(
            seen, expected,
            "what the agents saw, and what the model says"
        );
        let alive: Vec<bool> = self.agents.iter().map(Address::is_alive).collect();
        assert_eq!(
            alive, self.model.alive,
            "who lives, and who does in the model"
        );
        let processes = self.system.inspect().processes;
        assert_eq!(
            processes.len(),
            self.model.living().len(),
            "processes there are"
        );
        let links: usize = processes.iter().map(|process| process.links.len()).sum();
        assert_eq!(links, self.model.links.len() * 2, "ends of links there are");
    }
}
