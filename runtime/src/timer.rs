//! Timers: one hierarchical wheel per system, one task that drives it, no thread and no task per timer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::limits::TIMER_TICK;
use crate::pid::Pid;
use crate::sync::Mutex;
use crate::telemetry::Counters;

pub(crate) mod awaited;
pub(crate) mod driver;
mod level;
mod wheel;

use wheel::{Key, Wheel};

/// Names one timer; stays valid, and harmless, after it has fired.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimerRef(Key);

impl TimerRef {
    /// As a number, for whoever keeps it and knows no timers.
    pub(crate) fn to_raw(self) -> u64 {
        self.0.to_raw()
    }

    pub(crate) fn from_raw(raw: u64) -> TimerRef {
        TimerRef(Key::from_raw(raw))
    }
}

impl fmt::Debug for TimerRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TimerRef({:?})", self.0)
    }
}

/// A time limit passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("time limit passed")
    }
}

impl std::error::Error for Elapsed {}

/// What a timer does when it is due.
pub(crate) trait Fire: Send {
    /// Does it, for the life that owns the timer, if any. `false` ends an interval.
    fn fire(&mut self, owner: Option<Pid>) -> bool;
}

pub(crate) enum Payload {
    Wake(Waker),
    Once(Box<dyn Fire>),
    /// Due again a period after it was due, whenever it was fired; missed turns are skipped.
    Every(Box<Interval>),
}

pub(crate) struct Interval {
    fire: Box<dyn Fire>,
    period: Duration,
    due: Duration,
}

/// A system's timers.
pub(crate) struct Timers {
    wheel: Mutex<Wheel<Payload>>,
    /// Deadlines that are over before the wheel need know them.
    lists: awaited::Lists,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
    /// Tells the driver that an earlier deadline has come, or that the system is gone.
    earlier: Arc<Notify>,
}

/// The first tick at which `deadline` has passed. Rounded up, so that no timer is early.
fn tick_at_or_after(deadline: Duration) -> u64 {
    u64::try_from(deadline.as_nanos().div_ceil(TIMER_TICK.as_nanos())).unwrap_or(u64::MAX)
}

/// The last tick that is over at `now`.
fn tick_before(now: Duration) -> u64 {
    u64::try_from(now.as_nanos() / TIMER_TICK.as_nanos()).unwrap_or(u64::MAX)
}

/// When a tick is over: the time at which its timers may fire.
fn time_of(tick: u64) -> Duration {
    Duration::from_millis(tick)
}

impl Timers {
    pub(crate) fn new(clock: Arc<dyn Clock>, counters: Arc<Counters>) -> Timers {
        let start = tick_before(clock.now());
        Timers {
            wheel: Mutex::new(Wheel::new(start)),
            lists: awaited::Lists::default(),
            clock,
            counters,
            earlier: Arc::new(Notify::new()),
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.now()
    }

    fn insert(&self, deadline: Duration, owner: Option<Pid>, payload: Payload) -> TimerRef {
        let mut wheel = self.wheel.lock();
        let (key, first) = wheel.insert(tick_at_or_after(deadline), owner, payload);
        drop(wheel);
        if first {
            self.earlier.notify_one();
        }
        TimerRef(key)
    }

    /// Fires once after `delay`; forgotten when `owner` ends.
    pub(crate) fn after(
        &self,
        delay: Duration,
        owner: Option<Pid>,
        fire: Box<dyn Fire>,
    ) -> TimerRef {
        self.insert(
            self.clock.now().saturating_add(delay),
            owner,
            Payload::Once(fire),
        )
    }

    /// Fires every `period`, the first time after one; forgotten when `owner` ends.
    pub(crate) fn every(
        &self,
        period: Duration,
        owner: Option<Pid>,
        fire: Box<dyn Fire>,
    ) -> TimerRef {
        let period = period.max(TIMER_TICK);
        let due = self.clock.now().saturating_add(period);
        self.insert(
            due,
            owner,
            Payload::Every(Box::new(Interval { fire, period, due })),
        )
    }

    /// Cancels; the time that was left, or `None` when it has fired or was cancelled.
    pub(crate) fn cancel(&self, timer: TimerRef) -> Option<Duration> {
        let mut wheel = self.wheel.lock();
        let removed = wheel.remove(timer.0);
        drop(wheel);
        let (tick, _payload) = removed?;
        Some(time_of(tick).saturating_sub(self.clock.now()))
    }

    /// Cancels every timer of a process that has ended. The caller drops the payloads where a panic is contained.
    pub(crate) fn cancel_owned(&self, owner: Pid) -> Vec<Payload> {
        self.wheel.lock().remove_owned(owner)
    }

    /// Timers that are pending.
    pub(crate) fn len(&self) -> usize {
        let (waiting, looks) = self.awaited_len();
        (self.wheel.lock().len() + waiting).saturating_sub(looks)
    }

    /// A future that is ready after `duration`, never early.
    pub(crate) fn sleep(self: &Arc<Self>, duration: Duration) -> Sleep {
        let deadline = self.clock.now().saturating_add(duration);
        Sleep {
            timers: self.clone(),
            deadline,
            timer: None,
        }
    }
}

impl Drop for Timers {
    fn drop(&mut self) {
        self.earlier.notify_one();
    }
}

/// Waits on the wheel.
pub(crate) struct Sleep {
    timers: Arc<Timers>,
    deadline: Duration,
    timer: Option<TimerRef>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.timers.clock.now() >= self.deadline {
            return Poll::Ready(());
        }
        let known = match self.timer {
            Some(timer) => {
                let fresh = context.waker().clone();
                let mut wheel = self.timers.wheel.lock();
                let old = match wheel.get_mut(timer.0) {
                    Some(Payload::Wake(waker)) => Some(std::mem::replace(waker, fresh)),
                    _ => None,
                };
                drop(wheel);
                old.is_some()
            }
            None => false,
        };
        if !known {
            let payload = Payload::Wake(context.waker().clone());
            let timer = self.timers.insert(self.deadline, None, payload);
            self.timer = Some(timer);
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            let removed = self.timers.wheel.lock().remove(timer.0);
            drop(removed);
        }
    }
}

/// `future`, or [`Elapsed`] after `limit`.
pub(crate) async fn timeout<F: Future>(
    timers: &Arc<Timers>,
    limit: Duration,
    future: F,
) -> Result<F::Output, Elapsed> {
    let mut future = std::pin::pin!(future);
    let mut sleep = timers.sleep(limit);
    std::future::poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(&mut sleep).poll(context).map(|()| Err(Elapsed))
    })
    .await
}

#[cfg(all(test, mesh_loom))]
pub(crate) mod every_order;
