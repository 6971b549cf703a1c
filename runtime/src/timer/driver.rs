//! The one task that sleeps until the next deadline and fires what is due.

use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use crate::scheduler::Scheduler;

use super::wheel::Due;
use super::{Payload, Timers, tick_at_or_after, tick_before, time_of};

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
            Some(Duration::ZERO) => yield_now().await,
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

/// Lets the other tasks of the executor run once.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Timers {
    /// Fires one batch; how long the driver may sleep, zero when there is more to fire, `None` when there is no timer.
    pub(super) fn fire_due(&self) -> Option<Duration> {
        let mut due = Vec::new();
        let mut wheel = self.wheel.lock();
        wheel.advance(tick_before(self.clock.now()), BATCH, &mut due);
        drop(wheel);
        for Due {
            key,
            owner,
            payload,
        } in due
        {
            match payload {
                Payload::Wake(waker) => {
                    self.wheel.lock().finish(key);
                    waker.wake();
                }
                Payload::Once(mut fire) => {
                    if self.wheel.lock().finish(key) {
                        fire.fire(owner);
                    }
                }
                Payload::Every(mut interval) => {
                    if !interval.fire.fire(owner) {
                        self.wheel.lock().finish(key);
                        continue;
                    }
                    interval.due = next_due(interval.due, interval.period, self.clock.now());
                    let tick = tick_at_or_after(interval.due);
                    let cancelled = self
                        .wheel
                        .lock()
                        .put_back(key, tick, Payload::Every(interval));
                    drop(cancelled);
                }
            }
        }
        let mut wheel = self.wheel.lock();
        let next = wheel.sleep_until();
        drop(wheel);
        Some(time_of(next?).saturating_sub(self.clock.now()))
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
    use std::time::Duration;

    use super::next_due;

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
