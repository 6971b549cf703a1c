//! Calls: each ends once, with its own answer or the error its end calls for, in time; replies and late replies add up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mesh_runtime::sim::{Faults, Sim};
use mesh_runtime::{
    Actor, CallError, Capacity, ChildSpec, Context, ExitKind, ExitReason, Flow, Job, Overflow,
    ReplyTo, Strategy, Supervisor, System,
};

const CALLERS: u64 = 4;
const CALLS: u64 = 8;

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Now,
    Later(Duration),
    Busy(Duration),
    Handed,
    Dropped,
    Kept,
    Stopped,
    Panicked,
    Myself,
}

enum Message {
    Ask(Kind, u64, ReplyTo<u64>),
    Due(u64),
}

#[derive(Clone)]
struct Args {
    replies: Arc<AtomicU64>,
}

struct Service {
    args: Args,
    later: BTreeMap<u64, ReplyTo<u64>>,
    kept: Vec<ReplyTo<u64>>,
}

impl Args {
    fn reply(&self, to: ReplyTo<u64>, value: u64) {
        self.replies.fetch_add(1, Ordering::Relaxed);
        to.reply(value);
    }
}

impl Actor for Service {
    type Args = Args;
    type Message = Message;

    async fn init(args: Args, _cx: &mut Context<Message>) -> Result<Service, ExitReason> {
        Ok(Service {
            args,
            later: BTreeMap::new(),
            kept: Vec::new(),
        })
    }

    async fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Flow {
        let (kind, id, to) = match message {
            Message::Ask(kind, id, to) => (kind, id, to),
            Message::Due(id) => {
                if let Some(to) = self.later.remove(&id) {
                    self.args.reply(to, id);
                }
                return Flow::Continue;
            }
        };
        match kind {
            Kind::Now => self.args.reply(to, id),
            Kind::Later(delay) => {
                self.later.insert(id, to);
                cx.send_after(&cx.address(), delay, Message::Due(id));
            }
            Kind::Busy(length) => {
                cx.sleep(length).await;
                self.args.reply(to, id);
            }
            Kind::Handed => {
                let args = self.args.clone();
                cx.spawn(move |_: Context<()>| async move { args.reply(to, id) });
            }
            Kind::Dropped => drop(to),
            Kind::Kept => self.kept.push(to),
            Kind::Stopped => return Flow::Stop(ExitReason::error("told to stop")),
            Kind::Panicked => panic!("told to panic"),
            Kind::Myself => {
                let own = cx.address().call(|to| Message::Ask(Kind::Now, 0, to)).await;
                let right = own == Err(CallError::CallingSelf);
                self.args.reply(to, if right { id } else { u64::MAX });
            }
        }
        Flow::Continue
    }
}

/// What the callers have counted.
#[derive(Clone, Default)]
struct Tally {
    answered: Arc<AtomicU64>,
    cancelled: Arc<AtomicU64>,
}

struct Caller {
    sim: Sim,
    system: System,
    exact: bool,
    tally: Tally,
}

pub(super) async fn play(sim: Sim) {
    let system = sim.system("calls");
    if sim.chance(0.3) {
        one_by_one(&sim, &system).await;
        return;
    }
    let exact = sim.chance(0.5);
    if exact {
        sim.set_turn_cost_max(Duration::ZERO);
    }
    let args = Args {
        replies: Arc::default(),
    };
    let tree = Supervisor::new(sim.pick(&[Strategy::OneForOne, Strategy::OneForAll]))
        .intensity(u32::MAX, Duration::from_secs(1))
        .child(ChildSpec::worker::<Service>("plain", args.clone()))
        .child(ChildSpec::worker::<Service>("keeping", args.clone()).keep_mailbox());
    let handle = system
        .supervise(tree)
        .await
        .expect("no service fails to start");
    if sim.chance(0.4) {
        sim.set_faults(
            Faults::none()
                .kill(0.03)
                .panic(0.03)
                .only("Service")
                .at_most(5),
        );
    }
    let tally = Tally::default();
    let jobs: Vec<Job<()>> = (0..CALLERS)
        .map(|number| {
            let caller = Caller {
                sim: sim.clone(),
                system: system.clone(),
                exact,
                tally: tally.clone(),
            };
            Job::spawn(&system, async move { caller.work(number).await })
        })
        .collect();
    for job in jobs {
        job.await
            .unwrap_or_else(|error| panic!("a caller found something wrong: {error}"));
    }
    sim.set_faults(Faults::none());
    // Whatever is still to be answered is answered late.
    sim.sleep(Duration::from_secs(10)).await;
    let replies = args.replies.load(Ordering::Relaxed);
    let late = system.inspect().counts.late_replies;
    let answered = tally.answered.load(Ordering::Relaxed);
    let cancelled = tally.cancelled.load(Ordering::Relaxed);
    assert!(
        (answered + late..=answered + late + cancelled).contains(&replies),
        "{replies} replies: {answered} were received, {late} were late, {cancelled} calls were cancelled"
    );
    handle.stop().await.expect("the tree stops");
    sim.sleep(Duration::from_secs(1)).await;
    let counts = system.inspect();
    assert_eq!(
        (counts.processes.len(), counts.counts.timers),
        (0, 0),
        "processes and timers left behind"
    );
}

impl Caller {
    async fn work(&self, number: u64) {
        for call in 0..CALLS {
            let id = number * 1_000 + call;
            let name = self.sim.pick(&["plain", "keeping"]);
            let millis = |sim: &Sim| Duration::from_millis(sim.below(30));
            let kind = match self.sim.below(20) {
                0..=4 => Kind::Now,
                5..=7 => Kind::Later(millis(&self.sim)),
                8..=10 => Kind::Busy(millis(&self.sim)),
                11 | 12 => Kind::Handed,
                13 | 14 => Kind::Dropped,
                15 => Kind::Kept,
                16 => Kind::Stopped,
                17 => Kind::Panicked,
                _ => Kind::Myself,
            };
            let limit = Duration::from_millis(1 + self.sim.below(40));
            let service = self
                .system
                .whereis::<Message>(name)
                .expect("a supervised name stays");
            let call = service.call_timeout(limit, move |to| Message::Ask(kind, id, to));
            let start = self.sim.now();
            if self.sim.chance(0.1) {
                let patience = Duration::from_millis(self.sim.below(5));
                match self.system.timeout(patience, call).await {
                    Ok(ended) => self.judge(kind, id, limit, start, ended),
                    Err(_) => drop(self.tally.cancelled.fetch_add(1, Ordering::Relaxed)),
                }
            } else {
                let ended = call.await;
                self.judge(kind, id, limit, start, ended);
            }
            self.sim.sleep(millis(&self.sim) / 4).await;
        }
    }

    fn judge(
        &self,
        kind: Kind,
        id: u64,
        limit: Duration,
        start: Duration,
        ended: Result<u64, CallError>,
    ) {
        let took = self.sim.now() - start;
        self.sim.note(&format!(
            "call {id}, {kind:?}, at most {limit:?}: {ended:?} after {took:?}"
        ));
        let may = match &ended {
            Ok(value) => {
                self.tally.answered.fetch_add(1, Ordering::Relaxed);
                assert_eq!(*value, id, "the answer to {kind:?}");
                !matches!(
                    kind,
                    Kind::Dropped | Kind::Kept | Kind::Stopped | Kind::Panicked
                )
            }
            Err(CallError::NoReply) => kind == Kind::Dropped,
            Err(CallError::Timeout) => took >= limit,
            Err(CallError::Exited(reason)) => match reason.kind() {
                ExitKind::Killed | ExitKind::Shutdown => true,
                ExitKind::Error(text) => &**text == "told to stop",
                ExitKind::Panic { message, .. } => {
                    ["told to panic", "a fault of the laboratory"].contains(&&**message)
                }
                _ => false,
            },
            Err(_) => false,
        };
        assert!(
            may,
            "{kind:?} ended as {ended:?} after {took:?} of at most {limit:?}"
        );
        // A tick, and for those who share the time, some turns.
        let slack = Duration::from_millis(if self.exact { 1 } else { 20 });
        assert!(
            took <= limit + slack,
            "{kind:?} took {took:?} and may take {limit:?}"
        );
    }
}

/// One call at a time and no faults: how it ends is known beforehand.
async fn one_by_one(sim: &Sim, system: &System) {
    sim.set_turn_cost_max(Duration::ZERO);
    let replies = Arc::new(AtomicU64::new(0));
    let args = Args {
        replies: replies.clone(),
    };
    let tree = Supervisor::new(Strategy::OneForOne)
        .intensity(u32::MAX, Duration::from_secs(1))
        .child(ChildSpec::worker::<Service>("service", args));
    system.supervise(tree).await.expect("the service starts");
    let service = system
        .whereis::<Message>("service")
        .expect("it has started");
    let (mut answered, mut late) = (0, 0);
    for id in 0..20_u64 {
        let delay = Duration::from_millis(1 + sim.below(30));
        let limit = Duration::from_millis(1 + sim.below(30));
        let in_time = delay < limit;
        let told = |text: &str| Err(CallError::Exited(ExitReason::error(text)));
        let (kind, expected) = match sim.below(9) {
            // Which of two that are due in one tick comes first is nobody's promise.
            0 if delay != limit => (
                Kind::Later(delay),
                in_time.then_some(id).ok_or(CallError::Timeout),
            ),
            1 if delay != limit => (
                Kind::Busy(delay),
                in_time.then_some(id).ok_or(CallError::Timeout),
            ),
            2 => (Kind::Handed, Ok(id)),
            3 => (Kind::Dropped, Err(CallError::NoReply)),
            4 => (Kind::Kept, Err(CallError::Timeout)),
            5 => (Kind::Stopped, told("told to stop")),
            6 => (Kind::Panicked, told("told to panic")),
            7 => (Kind::Myself, Ok(id)),
            _ => (Kind::Now, Ok(id)),
        };
        let ended = service
            .call_timeout(limit, move |to| Message::Ask(kind, id, to))
            .await;
        sim.note(&format!(
            "call {id}, {kind:?}, at most {limit:?}: {ended:?}"
        ));
        match (&ended, kind) {
            // The location of a panic is not what is asked.
            (Err(CallError::Exited(reason)), Kind::Panicked) => {
                assert!(reason.is_panic(), "{ended:?}")
            }
            _ => assert_eq!(ended, expected, "{kind:?}, at most {limit:?}"),
        }
        answered += u64::from(ended.is_ok());
        late += u64::from(ended == Err(CallError::Timeout) && kind != Kind::Kept);
        sim.sleep(Duration::from_millis(100)).await;
        assert_eq!(
            system.inspect().counts.late_replies,
            late,
            "late replies after call {id}"
        );
    }
    assert_eq!(
        replies.load(Ordering::Relaxed),
        answered + late,
        "replies sent"
    );
    refused(sim, system).await;
    queued(sim, system).await;
}

/// What waits while the service dies is for the next life, or dies with this one.
async fn queued(sim: &Sim, system: &System) {
    let args = Args {
        replies: Arc::default(),
    };
    let keeps = sim.chance(0.5);
    let spec = ChildSpec::worker::<Service>("queue", args);
    let spec = if keeps { spec.keep_mailbox() } else { spec };
    let tree = Supervisor::new(Strategy::OneForOne).child(spec);
    system.supervise(tree).await.expect("the service starts");
    let service = system.whereis::<Message>("queue").expect("it has started");
    let mut jobs = Vec::new();
    for (id, kind) in [
        (1, Kind::Busy(Duration::from_millis(20))),
        (2, Kind::Stopped),
        (3, Kind::Now),
    ] {
        let service = service.clone();
        let call = async move { service.call(move |to| Message::Ask(kind, id, to)).await };
        jobs.push(Job::spawn(system, call));
        // One after the other into the queue.
        sim.settle().await;
    }
    let mut ends = Vec::new();
    for job in jobs {
        ends.push(job.await.expect("a caller does not panic"));
    }
    let told = || Err(CallError::Exited(ExitReason::error("told to stop")));
    let last = if keeps { Ok(3) } else { told() };
    assert_eq!(ends, [Ok(1), told(), last], "keeps its mailbox: {keeps}");
}

/// Calls that find nobody, or no room.
async fn refused(sim: &Sim, system: &System) {
    let policies = [
        Overflow::Reject,
        Overflow::Wait,
        Overflow::DropNewest,
        Overflow::DropOldest,
    ];
    let (policy, bound) = (
        sim.pick(&policies),
        1 + usize::try_from(sim.below(3)).unwrap_or(0),
    );
    let deaf = system.spawn_with(
        Capacity::bounded(bound).overflow(policy),
        |cx: Context<ReplyTo<u64>>| async move {
            cx.sleep(Duration::from_secs(3600)).await;
        },
    );
    let limit = Duration::from_secs(1);
    let waiting: Vec<Job<Result<u64, CallError>>> = (0..bound)
        .map(|_| {
            let deaf = deaf.clone();
            Job::spawn(
                system,
                async move { deaf.call_timeout(limit, |to| to).await },
            )
        })
        .collect();
    sim.settle().await;
    let last = deaf.call_timeout(limit, |to| to).await;
    let oldest = policy == Overflow::DropOldest;
    let expected = if oldest {
        CallError::Timeout
    } else {
        CallError::Full
    };
    assert_eq!(last, Err(expected), "a call to a full mailbox, {policy:?}");
    let mut ends = Vec::new();
    for job in waiting {
        ends.push(job.await.expect("a caller does not panic"));
    }
    let full = ends
        .iter()
        .filter(|end| **end == Err(CallError::Full))
        .count();
    let timed_out = ends
        .iter()
        .filter(|end| **end == Err(CallError::Timeout))
        .count();
    assert_eq!(
        (full, timed_out),
        (usize::from(oldest), bound - usize::from(oldest)),
        "{policy:?}: {ends:?}"
    );
    let pid = deaf.pid();
    system.kill(pid);
    let _ = system.wait_for_exit(pid).await;
    assert_eq!(
        deaf.call(|to| to).await,
        Err(CallError::NoProcess),
        "a call to the dead"
    );
}
