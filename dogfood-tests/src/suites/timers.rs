//! R1 and R6: a wheel full of timers, a hundred thousand sleepers, cancels and intervals. Attacks A4 and E1 to E6.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mesh_runtime::{Address, Capacity, Context, ExitReason, System, TimerRef};

use crate::machine;
use crate::stage::{Census, Counted, Stage, Tally, now, pause, until};

const RECEIVERS: usize = 16;
const FAR: Duration = Duration::from_secs(3600);

pub(super) fn play(stage: &Stage) {
    let workers = stage.workers();
    stage.scene(
        "timers that fire or are cancelled",
        workers,
        fire_and_cancel,
    );
    stage.scene("timers that wait", workers, wait_for_nothing);
    stage.scene("receive timeouts", workers, receive_timeouts);
    stage.scene("intervals and time limits", workers, intervals);
}

/// A timer's message: which one, and before when it is early.
struct Due {
    index: usize,
    earliest: Instant,
}

/// What the receivers saw.
#[derive(Clone)]
struct Seen {
    fired: Arc<[AtomicU8]>,
    early: Tally,
    all: Tally,
    late: Arc<Mutex<Vec<Duration>>>,
}

async fn receiver(mut cx: Context<Due>, seen: Seen) {
    loop {
        let due = cx.receive().await;
        let at = now();
        if at < due.earliest {
            seen.early.add();
        }
        seen.fired[due.index].fetch_add(1, Ordering::Relaxed);
        let late = at.saturating_duration_since(due.earliest);
        seen.late
            .lock()
            .expect("no panic under this lock")
            .push(late);
        seen.all.add();
    }
}

async fn fire_and_cancel(stage: Stage, system: System) {
    let count = stage.count(1, 100);
    let mut seed = stage.seed();
    let seen = Seen {
        fired: (0..count).map(|_| AtomicU8::new(0)).collect(),
        early: Tally::default(),
        all: Tally::default(),
        late: Arc::default(),
    };
    let receivers: Vec<Address<Due>> = (0..RECEIVERS)
        .map(|_| {
            let seen = seen.clone();
            system.spawn_with(Capacity::unbounded(), move |cx| receiver(cx, seen))
        })
        .collect();
    let threads_before = machine::threads();
    let mut threads_most = 0;
    // Far enough that most are pending together, near enough that some are cancelled while they fire.
    let spread = 500 + u64::try_from(count).unwrap_or(0) / 250;
    let started = now();
    let mut set: Vec<(usize, Duration, TimerRef)> = Vec::with_capacity(count);
    for index in 0..count {
        let delay = Duration::from_micros(seed.below(spread * 1000));
        let due = Due {
            index,
            earliest: now() + delay,
        };
        set.push((
            index,
            delay,
            system.send_after(&receivers[index % RECEIVERS], delay, due),
        ));
        if index % 4096 == 0 {
            stage.progress("timers that fire or are cancelled", index, count * 2);
            threads_most = threads_most.max(machine::threads());
        }
    }
    let inserted = started.elapsed();
    let pending = system.inspect().counts.timers;
    let (mut cancelled, mut contradictions, mut too_long) = (vec![false; count], 0, 0);
    for (index, delay, timer) in set.iter().filter(|_| seed.below(4) == 0) {
        if let Some(left) = system.cancel(*timer) {
            cancelled[*index] = true;
            // Rounded up to the next tick of a millisecond.
            too_long += usize::from(left > *delay + Duration::from_millis(2));
        }
        contradictions += usize::from(system.cancel(*timer).is_some());
    }
    let expected = count - cancelled.iter().filter(|it| **it).count();
    let all = until(|| {
        threads_most = threads_most.max(machine::threads());
        let done = usize::try_from(seen.all.get()).unwrap_or(0);
        stage.progress(
            "timers that fire or are cancelled",
            count + done.min(count),
            count * 2,
        );
        done >= expected
    })
    .await;
    // What was cancelled would have fired by now.
    pause(Duration::from_millis(20)).await;
    let times = |index: usize| seen.fired[index].load(Ordering::Relaxed);
    let twice = (0..count).filter(|index| times(*index) > 1).count();
    let lost = (0..count)
        .filter(|i| times(*i) == 0 && !cancelled[*i])
        .count();
    let ghosts = (0..count)
        .filter(|i| times(*i) > 0 && cancelled[*i])
        .count();
    stage.row("timers set", count);
    stage.row("pending after the last insert", pending);
    stage.row("inserts a second", rate(count, inserted));
    stage.row("cancelled in time", count - expected);
    stage.durations(
        "lateness",
        std::mem::take(&mut *seen.late.lock().expect("no panic under this lock")),
    );
    stage.judge(
        "E1",
        "no timer is early",
        seen.early.get() == 0,
        format!("{} early", seen.early.get()),
    );
    stage.judge(
        "E2",
        "every timer that is not cancelled fires exactly once",
        all && lost == 0 && twice == 0,
        format!("{lost} lost, {twice} twice"),
    );
    stage.judge("E3", "a cancelled timer never fires, and is cancelled once, with no more time left than it was given", ghosts == 0 && contradictions == 0 && too_long == 0, format!("{ghosts} fired, {contradictions} cancelled twice, {too_long} with too much time"));
    stage.judge(
        "E",
        "timers take no thread each",
        threads_most <= threads_before + 1,
        format!("{threads_before} threads before, {threads_most} at most"),
    );
}

fn rate(count: usize, taken: Duration) -> u64 {
    let micros = taken.as_micros().max(1);
    u64::try_from(count as u128 * 1_000_000 / micros).unwrap_or(u64::MAX)
}

/// A message nobody is to see, counted while it exists.
struct Never(#[expect(dead_code, reason = "held to be dropped")] Counted);

async fn wait_for_nothing(stage: Stage, system: System) {
    let count = stage.count(1, 100);
    let sleepers = stage.count(100, 100);
    let census = Census::default();
    let received = Tally::default();
    let targets: Vec<Address<Never>> = (0..RECEIVERS)
        .map(|_| {
            let received = received.clone();
            system.spawn(async move |mut cx: Context<Never>| -> ExitReason {
                loop {
                    cx.receive().await;
                    received.add();
                }
            })
        })
        .collect();
    for _ in 0..sleepers {
        system.spawn(|cx: Context<()>| async move { cx.sleep(FAR).await });
    }
    let (resident, threads) = (machine::resident_bytes(), machine::threads());
    for index in 0..count {
        system.send_after(&targets[index % RECEIVERS], FAR, Never(census.enter()));
    }
    let each = machine::resident_bytes().saturating_sub(resident) / count as u64;
    let all_wait = until(|| system.inspect().counts.timers >= (count + sleepers) as u64).await;
    let (start, cpu) = (now(), machine::cpu_seconds());
    pause(Duration::from_millis(500)).await;
    let share = (machine::cpu_seconds() - cpu) / start.elapsed().as_secs_f64();
    stage.row("resident bytes a timer, message and all", each);
    stage.row(
        "processor share with all of them idle",
        (share * 100.0).round() / 100.0,
    );
    stage.judge(
        "E",
        "pending timers and sleepers spin on no processor",
        all_wait && share < 0.5,
        format!(
            "{count} timers and {sleepers} sleepers took {:.0} % of one",
            share * 100.0
        ),
    );
    let threads_now = machine::threads();
    stage.judge(
        "E",
        "pending timers take no thread",
        threads_now <= threads + 1,
        format!("{threads} threads before, {threads_now} with {count} pending"),
    );
    for target in &targets {
        system.kill(target.pid());
    }
    let gone = until(|| census.living() == 0).await;
    let left = system.inspect().counts.timers;
    stage.judge(
        "E4",
        "timers die with their target, messages and all",
        gone && received.get() == 0 && left <= sleepers as u64,
        format!(
            "{} messages and {left} timers left, {sleepers} sleepers among them",
            census.living()
        ),
    );
}

async fn receive_timeouts(stage: Stage, system: System) {
    let count = stage.count(10, 500);
    let (early, done, wrong) = (Tally::default(), Tally::default(), Tally::default());
    let late = Arc::new(Mutex::new(Vec::with_capacity(count)));
    let mut seed = stage.seed();
    let mut kept = Vec::with_capacity(count);
    for _ in 0..count {
        let limit = Duration::from_micros(1 + seed.below(800_000));
        let (early, done, wrong, late) = (early.clone(), done.clone(), wrong.clone(), late.clone());
        kept.push(system.spawn(move |mut cx: Context<()>| async move {
            let start = now();
            if cx.receive_timeout(limit).await.is_some() {
                wrong.add();
            }
            let taken = start.elapsed();
            if taken < limit {
                early.add();
            }
            late.lock()
                .expect("no panic under this lock")
                .push(taken.saturating_sub(limit));
            done.add();
        }));
    }
    let all = until(|| done.get() == count as u64).await;
    stage.durations(
        "lateness of receive timeouts",
        std::mem::take(&mut *late.lock().expect("no panic under this lock")),
    );
    stage.judge(
        "A4",
        "receive_timeout fires in every idle process",
        all && wrong.get() == 0,
        format!(
            "{} of {count} fired, {} with a message nobody sent",
            done.get(),
            wrong.get()
        ),
    );
    stage.judge(
        "E1",
        "no receive timeout is early",
        early.get() == 0,
        format!("{} early", early.get()),
    );
}

async fn intervals(stage: Stage, system: System) {
    let count = stage.count(1000, 20);
    const TURNS: u32 = 12;
    let (early, done, after_cancel) = (Tally::default(), Tally::default(), Tally::default());
    let mut seed = stage.seed();
    for _ in 0..count {
        let period = Duration::from_millis(5 + seed.below(20));
        let (early, done, after_cancel) = (early.clone(), done.clone(), after_cancel.clone());
        system.spawn(move |mut cx: Context<u8>| async move {
            let start = now();
            let me = cx.address();
            let timer = cx
                .send_interval(&me, period, 1)
                .expect("the period is not zero");
            for turn in 1..=TURNS {
                cx.receive().await;
                if start.elapsed() < period * turn {
                    early.add();
                }
            }
            let pending = cx.cancel(timer).is_some();
            // What was already on its way may still be there; nothing new comes.
            while !me.is_empty() {
                cx.receive().await;
            }
            if pending && cx.receive_timeout(period * 3).await.is_some() {
                after_cancel.add();
            }
            done.add();
        });
    }
    let all = until(|| done.get() == count as u64).await;
    stage.judge(
        "E5",
        "turn n of an interval is not before n periods, and none comes after cancel",
        all && early.get() == 0 && after_cancel.get() == 0,
        format!(
            "{count} intervals, {} early, {} after cancel",
            early.get(),
            after_cancel.get()
        ),
    );
    let mut wrong = 0;
    for _ in 0..count {
        let limit = Duration::from_millis(seed.below(5));
        let start = now();
        let result = system.timeout(limit, std::future::pending::<()>()).await;
        wrong += usize::from(result.is_ok() || start.elapsed() < limit);
    }
    let let_go = until(|| system.inspect().counts.timers == 0).await;
    stage.judge(
        "E6",
        "a time limit that passes lets go of its timer",
        wrong == 0 && let_go,
        format!(
            "{wrong} wrong, {} timers left",
            system.inspect().counts.timers
        ),
    );
}
