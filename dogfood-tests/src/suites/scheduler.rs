//! R2 and R7: hogs, blockers and kills. Attacks A14, A15, A19, A11, F2, B4 and B5.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mesh_runtime::{
    Actor, Address, Capacity, Context, Event, ExitReason, Flow, ReplyTo, Signal, System,
};

use crate::stage::{Census, Counted, Stage, Tally, now, pause, until, within};

pub(super) fn play(stage: &Stage) {
    stage.scene(
        "hogs beside an interactive process on one worker",
        0,
        fairness,
    );
    stage.scene(
        "kills of busy and waiting processes",
        stage.workers(),
        kills,
    );
    stage.scene(
        "blocked threads beside a ticking process",
        stage.workers(),
        blocking,
    );
    stage.scene("one awake among many idle", stage.workers(), one_among_many);
}

/// 4000 reductions at 32 a message.
const MESSAGES_PER_TURN: u64 = 125;

async fn fairness(stage: Stage, system: System) {
    let rounds = stage.count(100, 100);
    let (messages, loops) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let counter = messages.clone();
    let hog = system.spawn_with(
        Capacity::unbounded(),
        async move |mut cx: Context<()>| -> ExitReason {
            let me = cx.address();
            loop {
                cx.receive().await;
                counter.fetch_add(1, Ordering::Relaxed);
                let _ = me.send(());
            }
        },
    );
    for _ in 0..1000 {
        hog.send(()).expect("an unbounded mailbox takes it");
    }
    let counter = loops.clone();
    system.spawn(async move |cx: Context<()>| -> ExitReason {
        loop {
            counter.fetch_add(1, Ordering::Relaxed);
            cx.consume_budget(32).await;
        }
    });
    let ping = system.spawn(async move |mut cx: Context<ReplyTo<()>>| -> ExitReason {
        loop {
            cx.receive().await.reply(());
        }
    });
    let (answers, taken) = (
        Tally::default(),
        Arc::new(std::sync::Mutex::new(Vec::new())),
    );
    let worst = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let (answered, times, most) = (answers.clone(), taken.clone(), worst.clone());
    let (hogged, looped) = (messages.clone(), loops.clone());
    let interactive = system.spawn(move |_cx: Context<()>| async move {
        // The hogs have their turns where the interactive side leaves room, so it goes on until they have had them.
        let goes_on = |hog: &AtomicU64| hog.load(Ordering::Relaxed) > 1000;
        let mut round = 0;
        while round < rounds || !goes_on(&hogged) || !goes_on(&looped) {
            round += 1;
            let before = (
                hogged.load(Ordering::Relaxed),
                looped.load(Ordering::Relaxed),
            );
            let start = now();
            if ping
                .call_timeout(Duration::from_secs(60), |to| to)
                .await
                .is_ok()
            {
                answered.add();
            }
            times
                .lock()
                .expect("no panic under this lock")
                .push(start.elapsed());
            let by_hog = hogged.load(Ordering::Relaxed) - before.0;
            let by_loop = looped.load(Ordering::Relaxed) - before.1;
            most[0].fetch_max(by_hog, Ordering::Relaxed);
            most[1].fetch_max(by_loop, Ordering::Relaxed);
        }
    });
    let ended = within(system.wait_for_exit(interactive.pid()))
        .await
        .is_some();
    let (by_hog, by_loop) = (
        worst[0].load(Ordering::Relaxed),
        worst[1].load(Ordering::Relaxed),
    );
    let took = std::mem::take(&mut *taken.lock().expect("no panic under this lock"));
    let asked = took.len();
    stage.durations("round trip beside two hogs", took);
    stage.row("messages of the hog in one round trip, at most", by_hog);
    stage.row("loops of the other hog in one round trip, at most", by_loop);
    // A round trip is two turns of the interactive side, and each hog has at most one turn between two of another's.
    let bound = MESSAGES_PER_TURN * 4;
    stage.judge(
        "B4",
        "a hog has no more than its budget between two turns of another",
        by_hog <= bound && by_loop <= bound,
        format!("{by_hog} messages and {by_loop} loops of at most {bound}"),
    );
    stage.judge(
        "B4",
        "an interactive process on the hogs' only worker is served, and the hogs go on",
        ended && asked >= rounds && answers.get() == asked as u64,
        format!("{} of {asked} answered", answers.get()),
    );
}

/// How a process to be killed spends its time.
#[derive(Clone, Copy)]
enum Busy {
    Budget,
    Await,
    Receive,
    Sleep,
    Call,
}

const BUSY: [Busy; 5] = [
    Busy::Budget,
    Busy::Await,
    Busy::Receive,
    Busy::Sleep,
    Busy::Call,
];

struct Victim {
    _alive: Counted,
    terminated: Tally,
}

#[derive(Clone)]
struct VictimArgs {
    busy: Busy,
    census: Census,
    terminated: Tally,
    name: String,
    silent: Address<ReplyTo<()>>,
}

impl Actor for Victim {
    type Args = VictimArgs;
    type Message = VictimArgs;

    async fn init(args: VictimArgs, cx: &mut Context<VictimArgs>) -> Result<Victim, ExitReason> {
        cx.trap_exit(true);
        cx.register(&args.name).map_err(ExitReason::error)?;
        let victim = Victim {
            _alive: args.census.enter(),
            terminated: args.terminated.clone(),
        };
        if let Err(error) = cx.address().send(args) {
            return Err(ExitReason::error(error));
        }
        Ok(victim)
    }

    async fn handle(&mut self, args: VictimArgs, cx: &mut Context<VictimArgs>) -> Flow {
        match args.busy {
            Busy::Budget => loop {
                cx.consume_budget(100).await;
            },
            Busy::Await => std::future::pending().await,
            Busy::Sleep => cx.sleep(Duration::from_secs(3600)).await,
            Busy::Call => {
                let limit = Duration::from_secs(3600);
                let _ = args.silent.call_timeout(limit, |to| to).await;
            }
            Busy::Receive => {}
        }
        Flow::Continue
    }

    async fn terminate(&mut self, _reason: &ExitReason, _cx: &mut Context<VictimArgs>) {
        self.terminated.add();
    }
}

async fn kills(stage: Stage, system: System) {
    let count = stage.count(100, 100);
    let (census, terminated) = (Census::default(), Tally::default());
    let silent = system.spawn(async move |mut cx: Context<ReplyTo<()>>| -> ExitReason {
        let mut kept = Vec::new();
        loop {
            kept.push(cx.receive().await);
        }
    });
    let mut victims = Vec::new();
    for index in 0..count {
        let args = VictimArgs {
            busy: BUSY[index % BUSY.len()],
            census: census.clone(),
            terminated: terminated.clone(),
            name: format!("victim-{index}"),
            silent: silent.clone(),
        };
        victims.push(
            system
                .start::<Victim>(args)
                .await
                .expect("its init does nothing that fails"),
        );
    }
    let pids: Vec<_> = victims.iter().map(Address::pid).collect();
    let ready = Arc::new(AtomicBool::new(false));
    let tallies: [Tally; 4] = Default::default();
    let [downs, exits, wrong, twice] = tallies.clone();
    let (flag, watched) = (ready.clone(), pids.clone());
    let watcher = system.spawn(async move |mut cx: Context<()>| -> ExitReason {
        cx.trap_exit(true);
        let mut told = std::collections::HashSet::new();
        for pid in &watched {
            let _ = cx.monitor(*pid);
            cx.link(*pid);
        }
        flag.store(true, Ordering::Release);
        loop {
            let (kind, pid, reason) = match cx.receive_event().await {
                Event::Signal(Signal::Down { pid, reason, .. }) => {
                    downs.add();
                    (0, pid, reason)
                }
                Event::Signal(Signal::Exit { from, reason }) => {
                    exits.add();
                    (1, from, reason)
                }
                _ => continue,
            };
            if reason != ExitReason::killed() {
                wrong.add();
            }
            if !told.insert((kind, pid)) {
                twice.add();
            }
        }
    });
    let set = until(|| ready.load(Ordering::Acquire)).await;
    let mut order = pids.clone();
    let mut seed = stage.seed();
    let (mut stayed, mut named) = (0, 0);
    while !order.is_empty() {
        let at = usize::try_from(seed.below(order.len() as u64)).unwrap_or(0);
        let pid = order.swap_remove(at);
        let ended = system.wait_for_exit(pid);
        system.kill(pid);
        // Whoever hears of the death must find the name free.
        match within(ended).await {
            Some(_) => {
                let index = pids.iter().position(|other| *other == pid).unwrap_or(0);
                named += usize::from(system.whereis_pid(&format!("victim-{index}")) == Some(pid));
            }
            None => stayed += 1,
        }
    }
    let [downs, exits, wrong, twice] = tallies;
    let told = until(|| downs.get() == count as u64 && exits.get() == count as u64).await;
    system.kill(watcher.pid());
    stage.row("processes killed", count);
    stage.judge("A14", "a kill ends a busy, waiting, sleeping or calling process, whatever it traps, without terminate", set && stayed == 0 && terminated.get() == 0 && census.living() == 0, format!("{stayed} stayed, {} ran terminate, {} states left", terminated.get(), census.living()));
    stage.judge(
        "A11 A15",
        "each kill is told exactly once by monitor and once by link, as Killed",
        told && wrong.get() == 0 && twice.get() == 0,
        format!(
            "{} Downs, {} exits of {count}; {} with another reason, {} twice",
            downs.get(),
            exits.get(),
            wrong.get(),
            twice.get()
        ),
    );
    stage.judge(
        "A19 F2",
        "a name is free before the death is told",
        named == 0,
        format!("{named} names still held"),
    );
}

async fn blocking(stage: Stage, system: System) {
    let blockers = stage.workers() * 4;
    let (open, entered, ended) = (
        Arc::new(AtomicBool::new(false)),
        Tally::default(),
        Tally::default(),
    );
    for _ in 0..blockers {
        let (open, entered, ended) = (open.clone(), entered.clone(), ended.clone());
        system.spawn(move |cx: Context<()>| async move {
            let result = cx
                .blocking(move || {
                    entered.add();
                    while !open.load(Ordering::Acquire) {
                        std::thread::park_timeout(Duration::from_millis(1));
                    }
                })
                .await;
            if result.is_ok() {
                ended.add();
            }
        });
    }
    let inside = until(|| entered.get() == blockers as u64).await;
    let ticks = Tally::default();
    let ticked = ticks.clone();
    system.spawn(async move |mut cx: Context<()>| -> ExitReason {
        let me = cx.address();
        cx.send_interval(&me, Duration::from_millis(1), ())
            .expect("the period is not zero");
        loop {
            cx.receive().await;
            ticked.add();
        }
    });
    let ticking = until(|| ticks.get() >= 20).await;
    let still = ended.get() == 0;
    open.store(true, Ordering::Release);
    let over = until(|| ended.get() == blockers as u64).await;
    stage.judge(
        "B5",
        "more blocked closures than workers do not stop a ticking process",
        inside && ticking && still && over,
        format!("{blockers} blocked, {} ticks meanwhile", ticks.get()),
    );
    let panicked = system.blocking(|| panic!("in a blocking closure")).await;
    let refused =
        matches!(&panicked, Err(mesh_runtime::JobError::Exited(reason)) if reason.is_panic());
    stage.judge(
        "B5",
        "the panic of a blocking closure is a value",
        refused,
        format!("{panicked:?}").chars().take(60).collect::<String>(),
    );
}

async fn one_among_many(stage: Stage, system: System) {
    let count = stage.count(1, 100);
    let idle: Vec<Address<ReplyTo<usize>>> = (0..count)
        .map(|index| {
            system.spawn(async move |mut cx: Context<ReplyTo<usize>>| -> ExitReason {
                loop {
                    cx.receive().await.reply(index);
                }
            })
        })
        .collect();
    let mut seed = stage.seed();
    let (mut taken, mut wrong) = (Vec::new(), 0);
    for _ in 0..1000 {
        let index = usize::try_from(seed.below(count as u64)).unwrap_or(0);
        let start = now();
        let answer = idle[index]
            .call_timeout(Duration::from_secs(60), |to| to)
            .await;
        taken.push(start.elapsed());
        wrong += usize::from(answer != Ok(index));
    }
    stage.row("idle processes", count);
    stage.durations("call to one of them", taken);
    stage.judge(
        "C1",
        "one process among very many idle ones answers",
        wrong == 0,
        format!("{wrong} of 1000 wrong"),
    );
    pause(Duration::from_millis(1)).await;
}
