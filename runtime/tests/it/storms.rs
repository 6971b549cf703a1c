//! A crash storm does not bury the log: ten lines a second, and one with the number of the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use mesh_runtime::limits::{STORM_LINES_MAX, STORM_WITHIN};
use mesh_runtime::{
    ChildSpec, Clock, Context, ExitReason, Pid, Strategy, Supervisor, SupervisorHandle, System,
};

use crate::support::{Log, soon, until};

/// Goes when it is told to.
#[derive(Debug, Default)]
struct Hand(AtomicU64);

impl Hand {
    fn forward(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).expect("a test is short");
        self.0.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Clock for Hand {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}

/// A system whose seconds the test makes, and one by whose clock the test waits.
fn systems() -> (Arc<Hand>, System, System) {
    let hand = Arc::new(Hand::default());
    let system = System::builder().clock(hand.clone()).build();
    (hand, system, System::new())
}

const LINES: usize = STORM_LINES_MAX as usize;

/// Panics as often as is said, each time in a process of its own, at a place for each of the callers.
async fn panics(system: &System, outer: &System, times: usize, panic: fn()) -> Vec<Pid> {
    let mut pids = Vec::new();
    for _ in 0..times {
        let process = system.spawn(move |_cx: Context<()>| async move { panic() });
        let reason = soon(outer, system.wait_for_exit(process.pid())).await;
        // One that ended before it was asked for is told as well.
        assert!(!reason.is_normal());
        pids.push(process.pid());
    }
    pids
}

#[tokio::test]
async fn panics_at_one_place_are_told_ten_a_second_and_the_others_together() {
    let log = Log::of_all();
    let (hand, system, outer) = systems();
    let here: fn() = || panic!("a storm of panics");
    let words = ["a storm of panics", "process.label="];
    let sums = || log.lines(&["a storm of panics", "panic.count="]);
    let pids = panics(&system, &outer, LINES + 15, here).await;
    assert_eq!(log.lines(&words).len(), LINES);
    // What happens elsewhere is told all the same.
    panics(&system, &outer, 1, || panic!("beside the storm")).await;
    assert_eq!(log.lines(&["beside the storm"]).len(), 1);
    assert!(sums().is_empty());
    hand.forward(STORM_WITHIN);
    until(&outer, || !sums().is_empty()).await;
    let sum = sums().remove(0);
    let last = format!("process.pid={}", pids[pids.len() - 1]);
    for word in ["panic.count=15", "storms.rs:", &last] {
        assert!(sum.contains(word), "{word}: {sum}");
    }
    assert_eq!(system.inspect().counts.panicked, LINES as u64 + 16);
    // Then it is told line by line again.
    panics(&system, &outer, 1, here).await;
    assert_eq!((log.lines(&words).len(), sums().len()), (LINES + 1, 1));
}

#[tokio::test]
async fn a_system_that_ends_tells_what_it_has_counted() {
    let log = Log::of_all();
    let (_hand, system, outer) = systems();
    panics(&system, &outer, LINES + 3, || panic!("cut short")).await;
    assert_eq!(log.lines(&["cut short"]).len(), LINES);
    let ended = soon(&outer, system.shutdown(Duration::from_secs(5))).await;
    ended.expect("nobody is left");
    assert_eq!(log.lines(&["cut short", "panic.count=3"]).len(), 1);
}

/// A supervisor whose only child ends so often, each time in the same way, and then stays.
async fn falls(
    system: &System,
    outer: &System,
    name: &str,
    times: u64,
    most: u32,
) -> SupervisorHandle {
    let lives = Arc::new(AtomicU64::new(0));
    let stays = lives.clone();
    let body = move |mut cx: Context<()>| {
        let life = lives.fetch_add(1, Ordering::SeqCst);
        async move {
            if life == times {
                cx.receive().await;
            }
            ExitReason::error("it fell")
        }
    };
    let tree = Supervisor::new(Strategy::OneForOne)
        .intensity(most, Duration::from_secs(5))
        .child(ChildSpec::process::<(), _, _>(name, body));
    let tree = soon(outer, system.supervise(tree)).await;
    let tree = tree.expect("it starts");
    until(outer, || {
        stays.load(Ordering::SeqCst) > times || !tree.is_alive()
    })
    .await;
    tree
}

#[tokio::test]
async fn restarts_by_one_supervisor_are_told_ten_a_second_and_the_others_together() {
    let log = Log::of_all();
    let (hand, system, outer) = systems();
    let tree = falls(&system, &outer, "falls-often", LINES as u64 + 7, 1_000).await;
    let lines = |word: &str| log.lines(&["falls-often", "it fell", word]).len();
    assert_eq!(lines("child ended and is restarted"), LINES);
    hand.forward(STORM_WITHIN);
    until(&outer, || lines("restart.count=7") == 1).await;
    let children = soon(&outer, tree.which_children()).await;
    assert_eq!(children.expect("it answers")[0].restarts, LINES as u32 + 7);
    assert_eq!(system.inspect().counts.restarts, LINES as u64 + 7);
}

#[tokio::test]
async fn a_supervisor_that_gives_up_has_told_of_every_restart() {
    let log = Log::of_all();
    let (_hand, system, outer) = systems();
    let most = STORM_LINES_MAX + 4;
    falls(&system, &outer, "falls-to-the-end", 1_000, most).await;
    let lines = log.lines(&["falls-to-the-end", "it fell"]);
    assert_eq!(lines.len(), LINES + 2, "{lines:#?}");
    assert!(lines[LINES].contains("restart.count=4"), "{lines:#?}");
    assert!(lines[LINES + 1].contains("gives up"), "{lines:#?}");
}
