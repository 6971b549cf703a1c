//! The one task that sleeps until the next deadline and fires what is due.

use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::scheduler::Scheduler;

use super::wheel::Due;
use super::{Payload, TimerRef, Timers, tick_at_or_after, tick_before, time_of};

/// Timers fired between two looks at the lock, so that a burst does not hold it.
const BATCH: usize = 256;

/// Drives a system's wheel until the system is gone. Idle, it waits for the first insert and costs nothing.
pub(crate) async fn drive(timers: Weak<Timers>, scheduler: Arc<dyn Scheduler>) {
    let Some(earlier) = timers.upgrade().map(|timers| timers.earlier.clone()) else {
        return;
    };
    loop {
        let pause = match timers.upgrade() {
            Some(timers) => timers.fire_due(),
            None => return,
        };
        let notified = pin!(earlier.notified());
        match pause {
            None => notified.await,
            Some(Duration::ZERO) => yield_by(Waker::wake_by_ref).await,
            Some(pause) => {
                let mut notified = notified;
                let mut sleep = scheduler.sleep(pause);
                std::future::poll_fn(|context| {
                    if notified.as_mut().poll(context).is_ready() {
                        return Poll::Ready(());
                    }
                    sleep.as_mut().poll(context)
                })
                .await;
            }
        }
    }
}

/// Lets other tasks of the executor run, and goes on when `wake` has had this one woken.
pub(crate) async fn yield_by(wake: impl FnOnce(&Waker)) {
    let mut wake = Some(wake);
    std::future::poll_fn(|context| match wake.take() {
        None => Poll::Ready(()),
        Some(wake) => {
            wake(context.waker());
            Poll::Pending
        }
    })
    .await;
}

impl Timers {
    /// Fires one batch; how long the driver may sleep, zero when there is more to fire, `None` when there is no timer.
    pub(super) fn fire_due(&self) -> Option<Duration> {
        let now = tick_before(self.clock.now());
        let mut due = Vec::new();
        let mut left = BATCH;
        loop {
            // What a mailbox gives to the wheel comes before what is due later.
            let is_look = |payload: &Payload| matches!(payload, Payload::Look(_));
            self.wheel.lock().advance(now, left, is_look, &mut due);
            left -= due.len();
            if due.is_empty() || !self.fire(&mut due) {
                break;
            }
        }
        let mut wheel = self.wheel.lock();
        let next = wheel.sleep_until();
        drop(wheel);
        Some(time_of(next?).saturating_sub(self.clock.now()))
    }

    /// Fires a batch. `false` when that has led to as much work as is good for one turn of the driver.
    fn fire(&self, due: &mut Vec<Due<Payload>>) -> bool {
        let mut goes_on = true;
        for Due { key, tick, payload } in due.drain(..) {
            match payload {
                Payload::Look(target) => {
                    if target.clone().look(TimerRef::wheel(key), tick) {
                        let look = Payload::Look(target);
                        let cancelled = self.wheel.lock().put_back(key, tick, look);
                        drop(cancelled);
                        goes_on = false;
                    } else {
                        self.wheel.lock().finish(key);
                    }
                }
                Payload::Deliver(target, place) => {
                    let timer = TimerRef::wheel(key);
                    if self.wheel.lock().finish(key) {
                        target.fire(place, timer);
                    } else {
                        target.forget(place, timer);
                    }
                }
                Payload::Wake(waker) => {
                    self.wheel.lock().finish(key);
                    waker.wake();
                }
                Payload::Once(mut fire) => {
                    if self.wheel.lock().finish(key) {
                        fire.fire();
                    }
                }
                Payload::Every(mut interval) => {
                    let (place, timer) = (interval.place, TimerRef::wheel(key));
                    // Whoever cancels it meanwhile finds its place in the mailbox through this, and takes it.
                    let found = Payload::Deliver(interval.target.clone(), place);
                    if !self.wheel.lock().hold(key, found) {
                        Payload::Every(interval).forget(timer);
                        continue;
                    }
                    if !interval.repeat.fire(place, timer) {
                        self.wheel.lock().finish(key);
                        Payload::Every(interval).forget(timer);
                        continue;
                    }
                    interval.due = next_due(interval.due, interval.period, self.clock.now());
                    let tick = tick_at_or_after(interval.due);
                    let cancelled = self
                        .wheel
                        .lock()
                        .put_back(key, tick, Payload::Every(interval));
                    if let Some(cancelled) = cancelled {
                        cancelled.forget(timer);
                    }
                }
            }
        }
        goes_on
    }
}

/// When an interval is due next: a whole number of periods after it was due, later than now. What was missed is skipped.
pub(super) fn next_due(due: Duration, period: Duration, now: Duration) -> Duration {
    let next = due.saturating_add(period);
    if next > now {
        return next;
    }
    let missed = (now - due).as_nanos() / period.as_nanos();
    let skipped = period.saturating_mul(u32::try_from(missed + 1).unwrap_or(u32::MAX));
    due.saturating_add(skipped)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, OnceLock};
    use std::time::{Duration, SystemTime};

    use crate::clock::Clock;
    use crate::telemetry::Counters;
    use crate::timer::{Repeat, Target, TimerRef, Timers};

    use super::next_due;

    #[derive(Debug, Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::Relaxed))
        }

        fn wall(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }
    }

    struct Nowhere;

    impl Target for Nowhere {
        fn look(self: Arc<Self>, _look: TimerRef, _tick: u64) -> bool {
            false
        }

        fn fire(self: Arc<Self>, _place: u32, _timer: TimerRef) {}

        fn forget(&self, _place: u32, _timer: TimerRef) {}
    }

    /// Cancels another interval when it is fired.
    struct Cancels {
        timers: Arc<Timers>,
        other: Arc<OnceLock<TimerRef>>,
        fired: Arc<AtomicU64>,
    }

    impl Repeat for Cancels {
        fn fire(&mut self, _place: u32, _timer: TimerRef) -> bool {
            self.fired.fetch_add(1, Ordering::Relaxed);
            let other = self.other.get().expect("both are set");
            assert!(self.timers.cancel(*other).is_some(), "it is still there");
            false
        }
    }

    #[test]
    fn interval_cancelled_between_due_and_fired_is_not_fired() {
        let clock = Arc::new(Hand::default());
        let timers = Arc::new(Timers::new(clock.clone(), Arc::new(Counters::default())));
        let fired = Arc::new(AtomicU64::new(0));
        let [left, right] = [(); 2].map(|()| Arc::new(OnceLock::new()));
        for (own, other) in [(&left, &right), (&right, &left)] {
            let cancels = Box::new(Cancels {
                timers: timers.clone(),
                other: other.clone(),
                fired: fired.clone(),
            });
            let beat = timers.beat(Duration::from_millis(5));
            let (timer, _) = timers.every(beat, cancels, Arc::new(Nowhere), 0);
            own.set(timer).expect("it is set once");
        }
        clock.0.store(7, Ordering::Relaxed);
        while timers.fire_due().is_some() {}
        assert_eq!(fired.load(Ordering::Relaxed), 1, "one cancelled the other");
        assert_eq!(timers.len(), 0);
    }

    #[test]
    fn interval_skips_what_it_missed_and_keeps_its_beat() {
        let millis = Duration::from_millis;
        let period = millis(10);
        for (now, next) in [
            (10, 20),
            (11, 20),
            (19, 20),
            (20, 30),
            (25, 30),
            (99, 100),
            (100, 110),
        ] {
            assert_eq!(
                next_due(millis(10), period, millis(now)),
                millis(next),
                "fired at {now}"
            );
        }
    }
}
