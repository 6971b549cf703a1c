//! Timers: never early, cancelled with the time left, dead with their target.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use mesh_runtime::{Address, Clock, Context, Elapsed, ExitReason, System, SystemClock, TimerRef};

use crate::support::{PATIENCE, Pen, journal, soon, until};

/// Enough that some are due just before and some just after a tick.
const TIMERS: u64 = 500;

const SHORT: Duration = Duration::from_millis(3);

#[tokio::test]
async fn timer_is_never_early() {
    let system = System::new();
    let (sender, mut seen) = journal();
    let inside = system.clone();
    system.spawn(move |mut cx: Context<Duration>| async move {
        let me = cx.address();
        for step in 0..TIMERS {
            let delay = Duration::from_micros(step * 137);
            let due = inside.clock().now() + delay;
            cx.send_after(&me, delay, due);
        }
        for _ in 0..TIMERS {
            let due = cx.receive().await;
            let _ = sender.send(inside.clock().now().checked_sub(due));
        }
    });
    for _ in 0..TIMERS {
        assert!(
            seen.next(&system).await.is_some(),
            "a timer fired before it was due"
        );
    }
}

#[tokio::test]
async fn sleep_is_never_early() {
    let system = System::new();
    for micros in [1, 500, 1_500, 10_001] {
        let due = system.clock().now() + Duration::from_micros(micros);
        soon(&system, system.sleep(Duration::from_micros(micros))).await;
        assert!(system.clock().now() >= due);
    }
}

#[tokio::test]
async fn timeout_gives_up_and_lets_go() {
    let system = System::new();
    assert_eq!(system.timeout(PATIENCE, async { 1 }).await, Ok(1));
    assert_eq!(
        system.timeout(SHORT, std::future::pending::<()>()).await,
        Err(Elapsed)
    );
    assert_eq!(
        system.timeout(Duration::ZERO, async { 1 }).await,
        Ok(1),
        "the future is polled first"
    );
    assert_eq!(system.inspect().counts.timers, 0);
}

#[tokio::test]
async fn cancel_tells_the_time_left() {
    let system = System::new();
    let process = system.spawn(|mut cx: Context<()>| async move { cx.receive().await });
    let timer = system.send_after(&process, PATIENCE, ());
    let left = system.cancel(timer).expect("it is pending");
    assert!(
        left > Duration::ZERO && left <= PATIENCE + Duration::from_millis(1),
        "{left:?}"
    );
    assert_eq!(system.cancel(timer), None, "once");
    let timer = system.send_after(&process, Duration::ZERO, ());
    soon(&system, system.wait_for_exit(process.pid())).await;
    assert_eq!(system.cancel(timer), None, "it has fired");
}

#[tokio::test]
async fn interval_repeats_until_it_is_cancelled() {
    let system = System::new();
    let (sender, mut seen) = journal();
    system.spawn(move |mut cx: Context<u8>| async move {
        let me = cx.address();
        let start = cx.system().clock().now();
        let timer = cx.send_interval(&me, SHORT, 1).unwrap();
        for turn in 1..=5_u32 {
            cx.receive().await;
            let _ = sender.send(cx.system().clock().now() >= start + SHORT * turn);
        }
        let _ = sender.send(cx.cancel(timer).is_some());
        // The test itself waits with one.
        let _ = sender.send(cx.system().inspect().counts.timers <= 1);
        cx.sleep(PATIENCE).await;
    });
    for what in [
        "turn",
        "turn",
        "turn",
        "turn",
        "turn",
        "cancel",
        "no timer left",
    ] {
        assert!(seen.next(&system).await, "{what}");
    }
}

#[tokio::test]
async fn timer_dies_with_its_target() {
    let system = System::new();
    let process = system.spawn(|mut cx: Context<()>| async move {
        let me = cx.address();
        cx.send_interval(&me, PATIENCE, ()).unwrap();
        cx.receive().await;
    });
    system.send_after(&process, PATIENCE, ());
    assert!(system.inspect().counts.timers > 0);
    let wait = system.wait_for_exit(process.pid());
    process.send(()).unwrap();
    soon(&system, wait).await;
    // Only the patience of `soon` may be left, and it is over.
    assert_eq!(system.inspect().counts.timers, 0);
    system.send_after(&process, PATIENCE, ());
    assert_eq!(
        system.inspect().counts.timers,
        0,
        "a timer for the dead is not kept"
    );
}

#[tokio::test]
async fn timers_of_one_deadline_fire_in_the_order_they_were_set() {
    const TURNS: u32 = 200;
    let system = System::new();
    let (sender, mut seen) = journal();
    system.spawn(move |mut cx: Context<u32>| async move {
        let me = cx.address();
        for turn in 0..TURNS {
            cx.send_after(&me, SHORT, turn);
        }
        for turn in 0..TURNS {
            let _ = sender.send((cx.receive().await, turn));
        }
    });
    for _ in 0..TURNS {
        let (came, turn) = seen.next(&system).await;
        assert_eq!(came, turn);
    }
}

/// The message of an interval that is cancelled just when it is fired.
struct Cancels {
    system: System,
    timer: Arc<OnceLock<TimerRef>>,
    told: Pen<bool>,
}

impl Clone for Cancels {
    fn clone(&self) -> Cancels {
        if let Some(timer) = self.timer.get() {
            let _ = self.told.send(self.system.cancel(*timer).is_some());
        }
        Cancels {
            system: self.system.clone(),
            timer: self.timer.clone(),
            told: self.told.clone(),
        }
    }
}

#[tokio::test]
async fn interval_cancelled_while_it_fires_is_not_delivered() {
    let system = System::new();
    let (told, mut cancelled) = journal();
    let (sender, mut seen) = journal();
    let inside = system.clone();
    let process = system.spawn(move |mut cx: Context<Option<Cancels>>| async move {
        let timer = Arc::new(OnceLock::new());
        let message = Cancels {
            system: inside,
            timer: timer.clone(),
            told,
        };
        let me = cx.address();
        // No await in between: on one thread the driver cannot come before the number is kept.
        let set = cx.send_interval(&me, SHORT, Some(message)).unwrap();
        let _ = timer.set(set);
        let first = cx.receive().await;
        let _ = sender.send(first.is_none());
    });
    assert!(cancelled.next(&system).await, "it was there to cancel");
    // Fired after what was being fired then.
    system.send_after(&process, Duration::ZERO, None);
    assert!(seen.next(&system).await, "it came though it was cancelled");
    assert!(cancelled.rest().is_empty(), "it was fired again");
}

/// Stands still until it is set, and counts who reads it.
#[derive(Debug, Default)]
struct Standing {
    ms: AtomicU64,
    read: AtomicU64,
}

impl Clock for Standing {
    fn now(&self) -> Duration {
        self.read.fetch_add(1, Ordering::Relaxed);
        Duration::from_millis(self.ms.load(Ordering::Relaxed))
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}

#[tokio::test]
async fn interval_takes_its_turn_among_timers_of_one_deadline() {
    let clock = Arc::new(Standing::default());
    let system = System::builder().clock(clock.clone()).build();
    let (sender, mut seen) = journal();
    system.spawn(move |mut cx: Context<u32>| async move {
        let me = cx.address();
        let far = cx.send_after(&me, SHORT * 2, 9);
        cx.send_after(&me, SHORT, 0);
        cx.send_after(&me, SHORT, 1);
        let interval = cx.send_interval(&me, SHORT, 2).unwrap();
        cx.send_after(&me, SHORT, 3);
        cx.send_after(&me, SHORT, 4);
        clock.ms.store(4, Ordering::Relaxed);
        for _ in 0..5 {
            let _ = sender.send(cx.receive().await);
        }
        let left = cx.cancel(far).map(|left| left.as_millis());
        assert_eq!(left, Some(2), "what the wheel has got is found there");
        assert!(cx.cancel(interval).is_some());
        let _ = sender.send(5);
    });
    // Of another system: time stands in this one.
    let patient = System::new();
    for due in 0..6 {
        assert_eq!(seen.next(&patient).await, due);
    }
    assert_eq!(system.inspect().counts.timers, 0);
}

#[tokio::test]
async fn cancels_in_a_row_share_a_reading_of_the_clock_and_those_of_another_slice_do_not() {
    const CANCELS: u64 = 64;
    let clock = Arc::new(Standing::default());
    let system = System::builder().clock(clock.clone()).build();
    let (sender, mut seen) = journal();
    system.spawn(move |mut cx: Context<()>| async move {
        let me = cx.address();
        for now in [0, 10] {
            clock.ms.store(now, Ordering::Relaxed);
            // The end of a slice is the end of its readings.
            tokio::task::yield_now().await;
            let set = |_| cx.send_after(&me, PATIENCE, ());
            let timers: Vec<_> = (0..CANCELS).map(set).collect();
            let before = clock.read.load(Ordering::Relaxed);
            for timer in timers {
                assert_eq!(cx.cancel(timer), Some(PATIENCE));
            }
            let _ = sender.send(clock.read.load(Ordering::Relaxed) - before);
            let [timer, other] = [(); 2].map(|()| cx.send_after(&me, PATIENCE, ()));
            assert_eq!(cx.cancel(other), Some(PATIENCE));
            clock.ms.store(now + 1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            let left = cx.cancel(timer).unwrap();
            assert_eq!(left, PATIENCE - Duration::from_millis(1));
        }
    });
    let patient = System::new();
    for _ in 0..2 {
        let readings = seen.next(&patient).await;
        assert!(readings <= CANCELS / 32 + 1, "{readings} readings");
    }
    until(&patient, || system.inspect().processes.is_empty()).await;
    assert_eq!(system.inspect().counts.panicked, 0);
}

/// Looks into a mailbox whenever it is asked.
#[derive(Debug, Default)]
struct Looks {
    at: OnceLock<Address<()>>,
    clock: SystemClock,
}

impl Clock for Looks {
    fn now(&self) -> Duration {
        self.at.get().map(Address::len);
        self.clock.now()
    }

    fn wall(&self) -> SystemTime {
        self.clock.wall()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clock_is_asked_under_no_lock_of_a_mailbox() {
    let clock = Arc::new(Looks::default());
    let system = System::builder().clock(clock.clone()).build();
    let (pen, mut done) = journal();
    system.spawn(move |mut cx: Context<()>| async move {
        let me = cx.address();
        let _ = clock.at.set(me.clone());
        let timer = cx.send_interval(&me, PATIENCE, ()).unwrap();
        cx.cancel(timer);
        let timer = cx.send_after(&me, PATIENCE, ());
        cx.cancel(timer);
        let _ = pen.send(());
    });
    // Of another system: the one in question hangs when it fails.
    done.next(&System::new()).await;
}

#[tokio::test]
async fn receive_timeout_fires_in_an_idle_process() {
    let system = System::new();
    let (sender, mut seen) = journal();
    system.spawn(move |mut cx: Context<()>| async move {
        let _ = sender.send(cx.receive_timeout(SHORT).await.is_none());
        cx.address().send(()).expect("alive");
        let _ = sender.send(cx.receive_timeout(PATIENCE).await.is_some());
    });
    assert!(seen.next(&system).await);
    assert!(seen.next(&system).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receive_timeout_fires_in_very_many_idle_processes() {
    let system = System::new();
    let count = 20_000;
    for _ in 0..count {
        system.spawn(|mut cx: Context<()>| async move {
            match cx.receive_timeout(Duration::from_millis(50)).await {
                None => ExitReason::normal(),
                Some(()) => ExitReason::error("nobody sends"),
            }
        });
    }
    until(&system, || system.inspect().counts.exited == count).await;
    assert_eq!(system.inspect().counts.timers, 0);
}

/// Panics when it is copied and when it is dropped.
struct Mine;

impl Clone for Mine {
    fn clone(&self) -> Mine {
        panic!("no copies")
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("no end");
        }
    }
}

#[tokio::test]
async fn message_that_panics_does_not_stop_the_timers() {
    let system = System::new();
    system.spawn(|mut cx: Context<Mine>| async move {
        let me = cx.address();
        cx.send_interval(&me, SHORT, Mine).unwrap();
        cx.sleep(PATIENCE).await;
    });
    until(&system, || system.inspect().counts.timers == 2).await;
    // Only the patience of `soon`, the sleeper and this sleep are left once the interval has failed.
    soon(&system, system.sleep(SHORT * 3)).await;
    soon(&system, system.sleep(SHORT)).await;
}

#[tokio::test]
async fn messages_of_pending_timers_may_panic_in_their_drop() {
    let system = System::new();
    let process = system.spawn(|mut cx: Context<Option<Mine>>| async move {
        cx.receive().await;
    });
    for _ in 0..3 {
        system.send_after(&process, PATIENCE, Some(Mine));
    }
    let cancelled = system.send_after(&process, PATIENCE, Some(Mine));
    assert!(system.cancel(cancelled).is_some());
    let ended = system.wait_for_exit(process.pid());
    process.send(None).unwrap();
    let reason = soon(&system, ended).await;
    assert!(reason.is_normal(), "{reason:?}");
}
