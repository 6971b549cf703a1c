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
pub struct TimerRef(Named);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Named {
    /// An entry of the wheel.
    Wheel(Key),
    /// A place in the mailbox of a life, and which of those that have had it.
    Mailbox(Pid, Held),
}

/// A place in a mailbox that keeps the message of a timer, and the number of the timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    pub(crate) place: u32,
    pub(crate) number: u32,
}

impl TimerRef {
    /// Of a timer that is over.
    pub(crate) fn none() -> TimerRef {
        TimerRef(Named::Wheel(Key::none()))
    }

    /// Of the message that waits in the mailbox of this life.
    pub(crate) fn held(life: Pid, held: Held) -> TimerRef {
        TimerRef(Named::Mailbox(life, held))
    }

    fn wheel(key: Key) -> TimerRef {
        TimerRef(Named::Wheel(key))
    }

    /// The life in whose mailbox its message waits, and where, unless it is one of the wheel alone.
    pub(crate) fn at(self) -> Option<(Pid, Held)> {
        match self.0 {
            Named::Wheel(_) => None,
            Named::Mailbox(life, held) => Some((life, held)),
        }
    }

    /// A timer of the wheel as a number, for whoever keeps it and knows no timers.
    pub(crate) fn to_raw(self) -> u64 {
        match self.0 {
            Named::Wheel(key) => key.to_raw(),
            Named::Mailbox(..) => Key::none().to_raw(),
        }
    }

    pub(crate) fn from_raw(raw: u64) -> TimerRef {
        TimerRef::wheel(Key::from_raw(raw))
    }

    fn key(self) -> Key {
        match self.0 {
            Named::Wheel(key) => key,
            Named::Mailbox(..) => Key::none(),
        }
    }
}

impl fmt::Debug for TimerRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Named::Wheel(key) => write!(formatter, "TimerRef({key:?})"),
            Named::Mailbox(life, held) => {
                write!(formatter, "TimerRef({life} {}/{})", held.place, held.number)
            }
        }
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
    fn fire(&mut self);
}

/// What an interval does whenever it is due.
pub(crate) trait Repeat: Send {
    /// Does it, if the timer still has its place in the mailbox. `false` ends the interval.
    fn fire(&mut self, place: u32, timer: TimerRef) -> bool;
}

/// A mailbox that keeps the messages of the timers that are set for the life behind it.
pub(crate) trait Target: Send + Sync {
    /// The first deadline of those that the mailbox alone knows has come: delivers what is due by this tick, and gives others to the wheel.
    /// `true` when it has not done with all.
    fn look(self: Arc<Self>, look: TimerRef, tick: u64) -> bool;
    /// The timer is due: its message is delivered, if it is still there.
    fn fire(self: Arc<Self>, place: u32, timer: TimerRef);
    /// The timer is cancelled: its message is dropped, if it is still there.
    fn forget(&self, place: u32, timer: TimerRef);
}

pub(crate) enum Payload {
    Wake(Waker),
    Once(Box<dyn Fire>),
    /// A message, which waits in its mailbox at this place.
    Deliver(Arc<dyn Target>, u32),
    /// A mailbox with deadlines of its own, at the first of them.
    Look(Arc<dyn Target>),
    /// Due again a period after it was due, whenever it was fired; missed turns are skipped.
    Every(Box<Interval>),
}

pub(crate) struct Interval {
    repeat: Box<dyn Repeat>,
    target: Arc<dyn Target>,
    place: u32,
    period: Duration,
    due: Duration,
}

impl Payload {
    /// The timer is over, and fires no more.
    fn forget(self, timer: TimerRef) {
        match self {
            Payload::Deliver(target, place) => target.forget(place, timer),
            Payload::Every(interval) => interval.target.forget(interval.place, timer),
            Payload::Wake(_) | Payload::Once(_) | Payload::Look(_) => {}
        }
    }
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

/// In the numbers that a `Duration` is made of, because dividing 128 bits is slow.
const NANOS_PER_TICK: u32 = TIMER_TICK.subsec_nanos();
const TICKS_PER_SECOND: u64 = 1_000_000_000 / NANOS_PER_TICK as u64;

/// The first tick at which `deadline` has passed. Rounded up, so that no timer is early.
fn tick_at_or_after(deadline: Duration) -> u64 {
    let ticks = deadline.as_secs().saturating_mul(TICKS_PER_SECOND);
    ticks.saturating_add(deadline.subsec_nanos().div_ceil(NANOS_PER_TICK).into())
}

/// The last tick that is over at `now`.
fn tick_before(now: Duration) -> u64 {
    let ticks = now.as_secs().saturating_mul(TICKS_PER_SECOND);
    ticks.saturating_add((now.subsec_nanos() / NANOS_PER_TICK).into())
}

/// When a tick is over: the time at which its timers may fire.
fn time_of(tick: u64) -> Duration {
    Duration::from_millis(tick)
}

/// How long it is until a tick is over.
pub(crate) fn left(tick: u64, now: Duration) -> Duration {
    time_of(tick).saturating_sub(now)
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

    fn insert(&self, deadline: Duration, payload: Payload) -> TimerRef {
        let (timer, first) = self.set(deadline, payload);
        if first {
            self.wake_driver();
        }
        timer
    }

    /// Sets a timer. Also tells whether the driver must be woken for it, which the caller does once it holds no lock.
    fn set(&self, deadline: Duration, payload: Payload) -> (TimerRef, bool) {
        self.set_at(tick_at_or_after(deadline), payload)
    }

    /// Sets a timer that nobody cancels.
    pub(crate) fn once(&self, deadline: Duration, fire: Box<dyn Fire>) {
        self.insert(deadline, Payload::Once(fire));
    }

    fn set_at(&self, tick: u64, payload: Payload) -> (TimerRef, bool) {
        let (key, first) = self.wheel.lock().insert(tick, payload);
        (TimerRef::wheel(key), first)
    }

    /// The tick at which something may happen after `delay`. Reads the clock.
    pub(crate) fn tick_after(&self, delay: Duration) -> u64 {
        tick_at_or_after(self.now().saturating_add(delay))
    }

    /// Sets a timer for a message that waits at a place of its mailbox.
    pub(crate) fn deliver(&self, tick: u64, target: Arc<dyn Target>, place: u32) -> TimerRef {
        self.set_at(tick, Payload::Deliver(target, place)).0
    }

    /// Sets the one timer of a mailbox with deadlines of its own, in place of a later one; see [`Timers::set`].
    pub(crate) fn look_for(
        &self,
        tick: u64,
        target: impl FnOnce() -> Arc<dyn Target>,
        later: Option<TimerRef>,
    ) -> (TimerRef, bool) {
        let mut wheel = self.wheel.lock();
        let known = later.and_then(|later| wheel.remove(later.key()));
        let payload = match known {
            Some((_, Some(payload))) => payload,
            _ => Payload::Look(target()),
        };
        let (key, first) = wheel.insert(tick, payload);
        (TimerRef::wheel(key), first)
    }

    /// The period of an interval, no shorter than a tick, and when it is due for the first time.
    pub(crate) fn beat(&self, period: Duration) -> (Duration, Duration) {
        let period = period.max(TIMER_TICK);
        (period, self.now().saturating_add(period))
    }

    /// Sets a timer that fires every period, the first time when it is due, as long as its place in a mailbox is kept; see [`Timers::set`].
    pub(crate) fn every(
        &self,
        (period, due): (Duration, Duration),
        repeat: Box<dyn Repeat>,
        target: Arc<dyn Target>,
        place: u32,
    ) -> (TimerRef, bool) {
        let interval = Interval {
            repeat,
            target,
            place,
            period,
            due,
        };
        self.set(due, Payload::Every(Box::new(interval)))
    }

    /// An earlier deadline has come.
    pub(crate) fn wake_driver(&self) {
        self.earlier.notify_one();
    }

    /// Cancels; the time that was left, or `None` when it has fired or was cancelled.
    pub(crate) fn cancel(&self, timer: TimerRef) -> Option<Duration> {
        let (tick, payload) = self.remove(timer)?;
        if let Some(payload) = payload {
            payload.forget(timer);
        }
        Some(left(tick, self.clock.now()))
    }

    /// Cancels a timer whose place is gone from its mailbox; when it was due, unless it has fired.
    pub(crate) fn forget(&self, timer: TimerRef) -> Option<u64> {
        self.remove(timer).map(|(tick, _)| tick)
    }

    /// Takes a timer out of the wheel: its tick and, unless it is being fired just now, its payload.
    fn remove(&self, timer: TimerRef) -> Option<(u64, Option<Payload>)> {
        self.wheel.lock().remove(timer.key())
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
                let old = match wheel.get_mut(timer.key()) {
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
            let timer = self.timers.insert(self.deadline, payload);
            self.timer = Some(timer);
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            self.timers.forget(timer);
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
