//! Names, rooms and groups under churn: who holds what and who heard what, against maps anybody would write.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use mesh_runtime::sim::{Faults, Sim};
use mesh_runtime::{Context, NameError, Probe, RoomMessage, System};

const ACTS: usize = 60;
const NAMES: [&str; 4] = ["one", "two", "three", "four"];

#[derive(Debug)]
enum Heard {
    Room(RoomMessage),
    Work(u64),
}

struct World {
    sim: Sim,
    system: System,
    agents: Vec<Option<Probe<Heard>>>,
    names: BTreeMap<&'static str, usize>,
    rooms: BTreeMap<&'static str, BTreeSet<usize>>,
    groups: BTreeMap<&'static str, BTreeSet<usize>>,
    frames: u64,
}

pub(super) async fn play(sim: Sim) {
    if sim.chance(0.3) {
        churn(&sim).await;
        return;
    }
    let system = sim.system("names");
    let mut world = World {
        agents: (0..4).map(|_| Some(Probe::start(&system))).collect(),
        system,
        sim,
        names: BTreeMap::new(),
        rooms: BTreeMap::new(),
        groups: BTreeMap::new(),
        frames: 0,
    };
    for _ in 0..ACTS {
        match world.sim.below(16) {
            0..=2 => world.register(),
            3 => world.unregister(),
            4 | 5 => world.join_room(),
            6 => world.leave_room(),
            7 | 8 => world.broadcast().await,
            9 | 10 => world.join_group(),
            11 => world.leave_group(),
            12 | 13 => world.pick_from_group().await,
            14 => world.die().await,
            _ => world.agents.push(Some(Probe::start(&world.system))),
        }
        world.compare();
    }
}

impl World {
    /// Somebody who lives; there always is.
    fn anybody(&mut self) -> usize {
        let living: Vec<usize> = (0..self.agents.len())
            .filter(|agent| self.agents[*agent].is_some())
            .collect();
        if living.is_empty() {
            self.agents.push(Some(Probe::start(&self.system)));
            return self.agents.len() - 1;
        }
        self.sim.pick(&living)
    }

    fn agent(&mut self, agent: usize) -> &mut Probe<Heard> {
        self.agents[agent].as_mut().expect("it lives")
    }

    fn register(&mut self) {
        let (agent, name) = (self.anybody(), self.sim.pick(&NAMES));
        let address = self.agent(agent).address();
        let expected = match self.names.get(name) {
            Some(holder) if *holder != agent => Err(NameError::Taken),
            _ => Ok(()),
        };
        assert_eq!(
            self.system.register(name, &address),
            expected,
            "{name} for agent {agent}"
        );
        self.names.entry(name).or_insert(agent);
    }

    fn unregister(&mut self) {
        let name = self.sim.pick(&NAMES);
        let held = self.names.remove(name).is_some();
        assert_eq!(self.system.unregister(name), held, "{name} was there");
    }

    fn join_room(&mut self) {
        let (agent, room) = (self.anybody(), self.sim.pick(&NAMES));
        let address = self.agent(agent).address();
        self.system
            .rooms()
            .join(room, &address, Heard::Room)
            .expect("it lives");
        self.rooms.entry(room).or_default().insert(agent);
    }

    fn leave_room(&mut self) {
        let (agent, room) = (self.anybody(), self.sim.pick(&NAMES));
        let pid = self.agent(agent).pid();
        let was = self
            .rooms
            .get_mut(room)
            .is_some_and(|members| members.remove(&agent));
        assert_eq!(
            self.system.rooms().leave(room, pid),
            was,
            "agent {agent} was in {room}"
        );
    }

    /// Each member hears it once, and nobody else.
    async fn broadcast(&mut self) {
        let (room, except) = (self.sim.pick(&NAMES), self.anybody());
        self.frames += 1;
        let payload = Bytes::from(self.frames.to_le_bytes().to_vec());
        let mut members = self.rooms.get(room).cloned().unwrap_or_default();
        let report = if self.sim.chance(0.5) {
            members.remove(&except);
            let pid = self.agent(except).pid();
            self.system
                .rooms()
                .broadcast_except(room, payload.clone(), pid)
        } else {
            self.system.rooms().broadcast(room, payload.clone())
        };
        assert_eq!(
            report.delivered,
            members.len(),
            "members of {room} that took the frame"
        );
        for agent in 0..self.agents.len() {
            let Some(probe) = &mut self.agents[agent] else {
                continue;
            };
            let heard: Vec<Heard> = probe.drain().await;
            let right = match heard.as_slice() {
                [] => !members.contains(&agent),
                [Heard::Room(RoomMessage { payload: seen, .. })] => {
                    members.contains(&agent) && seen.as_ptr() == payload.as_ptr()
                }
                _ => false,
            };
            assert!(
                right,
                "agent {agent}, member: {}, heard {heard:?}",
                members.contains(&agent)
            );
        }
    }

    fn join_group(&mut self) {
        let (agent, group) = (self.anybody(), self.sim.pick(&NAMES));
        let address = self.agent(agent).address();
        self.system
            .groups()
            .join(group, &address)
            .expect("it lives");
        self.groups.entry(group).or_default().insert(agent);
    }

    fn leave_group(&mut self) {
        let (agent, group) = (self.anybody(), self.sim.pick(&NAMES));
        let pid = self.agent(agent).pid();
        let was = self
            .groups
            .get_mut(group)
            .is_some_and(|members| members.remove(&agent));
        assert_eq!(
            self.system.groups().leave(group, pid),
            was,
            "agent {agent} was in {group}"
        );
    }

    /// A key keeps its member; turns go round; the idle are found.
    async fn pick_from_group(&mut self) {
        let group = self.sim.pick(&NAMES);
        let members = self.groups.get(group).cloned().unwrap_or_default();
        let groups = self.system.groups();
        let pids: BTreeSet<_> = members
            .iter()
            .filter_map(|agent| Some(self.agents[*agent].as_ref()?.pid()))
            .collect();
        if members.is_empty() {
            assert_eq!(
                groups.round_robin::<Heard>(group).err(),
                Some(NameError::NotFound),
                "{group} is empty"
            );
            return;
        }
        let mut seen = BTreeSet::new();
        for _ in 0..members.len() {
            seen.insert(
                groups
                    .round_robin::<Heard>(group)
                    .expect("it has members")
                    .pid(),
            );
        }
        assert_eq!(seen, pids, "a round goes through {group}");
        let key = self.sim.below(100);
        let first = groups.by_key::<Heard>(group, &key).expect("it has members");
        assert_eq!(
            groups.by_key::<Heard>(group, &key).as_ref(),
            Ok(&first),
            "a key keeps its member"
        );
        assert!(pids.contains(&first.pid()), "the member for a key is one");
        if members.len() > 1 {
            first.send(Heard::Work(key)).expect("it lives");
            let idle = groups.least_busy::<Heard>(group).expect("it has members");
            assert_ne!(
                idle, first,
                "the one with a message waiting is not the least busy"
            );
            for agent in self
                .agents
                .iter_mut()
                .flatten()
                .filter(|agent| agent.pid() == first.pid())
            {
                assert!(
                    matches!(agent.drain().await.as_slice(), [Heard::Work(seen)] if *seen == key)
                );
            }
        }
    }

    /// Whoever hears of a death finds nothing of the dead.
    async fn die(&mut self) {
        let agent = self.anybody();
        let pid = self.agent(agent).pid();
        let mut witness = Probe::<()>::start(&self.system);
        witness.monitor(pid);
        self.agents[agent] = None;
        assert_eq!(
            witness.expect_down().await,
            mesh_runtime::ExitReason::killed()
        );
        self.names.retain(|_, holder| *holder != agent);
        for members in self.rooms.values_mut().chain(self.groups.values_mut()) {
            members.remove(&agent);
        }
        // Before anybody else has run: the names are free when the death is told.
        self.compare();
    }

    fn pid(&self, agent: usize) -> Option<mesh_runtime::Pid> {
        Some(self.agents[agent].as_ref()?.pid())
    }

    fn compare(&self) {
        let names: BTreeMap<String, _> = self.system.names().into_iter().collect();
        let expected: BTreeMap<String, _> = self
            .names
            .iter()
            .filter_map(|(name, agent)| Some(((*name).to_owned(), self.pid(*agent)?)))
            .collect();
        assert_eq!(names, expected, "names and their holders");
        for name in NAMES {
            let expected: BTreeSet<_> = self
                .rooms
                .get(name)
                .into_iter()
                .flatten()
                .filter_map(|agent| self.pid(*agent))
                .collect();
            let members: BTreeSet<_> = self.system.rooms().members(name).into_iter().collect();
            assert_eq!(members, expected, "members of room {name}");
            let expected: BTreeSet<_> = self
                .groups
                .get(name)
                .into_iter()
                .flatten()
                .filter_map(|agent| self.pid(*agent))
                .collect();
            let members = self
                .system
                .groups()
                .members::<Heard>(name)
                .expect("one type of member");
            let members: BTreeSet<_> = members.iter().map(mesh_runtime::Address::pid).collect();
            assert_eq!(members, expected, "members of group {name}");
        }
    }
}

/// A process that takes what it can get until it is killed.
struct Churner;

async fn churner(mut cx: Context<u8>, sim: Sim) {
    let _type = Churner;
    for _ in 0..20 {
        let (name, system) = (sim.pick(&NAMES), cx.system());
        let address = cx.address();
        match sim.below(4) {
            0 => drop(cx.register(name)),
            1 => drop(system.rooms().join(name, &address, |_| 0)),
            2 => drop(system.groups().join(name, &address)),
            _ => drop(system.rooms().broadcast(name, Bytes::from_static(b"x"))),
        }
        cx.sleep(Duration::from_millis(sim.below(3))).await;
        let _ = cx.receive_timeout(Duration::from_millis(1)).await;
    }
}

/// Many at once, killed at any moment: at the end nothing of them is left.
async fn churn(sim: &Sim) {
    let system = sim.system("churn");
    sim.set_faults(
        Faults::none()
            .kill(0.02)
            .panic(0.02)
            .stall(0.05, Duration::from_millis(1)..Duration::from_millis(5)),
    );
    let mut ends = Vec::new();
    for _ in 0..10 {
        let own = sim.clone();
        let process = system.spawn(move |cx: Context<u8>| churner(cx, own));
        ends.push((process.pid(), system.wait_for_exit(process.pid())));
        sim.sleep(Duration::from_millis(sim.below(4))).await;
        for (name, pid) in system.names() {
            let holder = system.whereis_pid(&name);
            assert_eq!(holder, Some(pid), "{name} has one holder");
        }
    }
    for (pid, end) in ends {
        end.await;
        assert!(
            system.names().iter().all(|(_, holder)| *holder != pid),
            "a name of the dead"
        );
        for name in NAMES {
            assert!(
                !system.rooms().members(name).contains(&pid),
                "a member that is dead"
            );
        }
    }
    assert!(
        system.names().is_empty() && system.rooms().all().is_empty(),
        "somebody is left"
    );
    assert_eq!(system.inspect().counts.timers, 0, "timers left behind");
}
