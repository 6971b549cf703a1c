//! `Address<M>`: names a mailbox, and gives the right to send `M` to it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{CallError, SendError};
use crate::exit::ExitReason;
use crate::mailbox::{Capacity, Push};
use crate::pid::Pid;
use crate::process::context::Context;
use crate::process::home::Home;
use crate::process::kernel::Kernel;
use crate::process::{Birth, run, spawn};
use crate::reference::Ref;
use crate::reply_to;
use crate::telemetry::LostTo;
use crate::timer::{Repeat, Target, TimerRef};

/// Names a mailbox; cheap to clone. For a supervised child it stays good across restarts.
pub struct Address<M>(Arc<Home<M>>);

impl<M> Clone for Address<M> {
    fn clone(&self) -> Address<M> {
        Address(self.0.clone())
    }
}

impl<M> fmt::Debug for Address<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Address({})", self.0.pid())
    }
}

/// Two addresses are equal when they name the same mailbox.
impl<M> PartialEq for Address<M> {
    fn eq(&self, other: &Address<M>) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<M> Eq for Address<M> {}

impl<M: Send + 'static> Address<M> {
    pub(crate) fn of(home: Arc<Home<M>>) -> Address<M> {
        Address(home)
    }

    pub(crate) fn home(&self) -> &Arc<Home<M>> {
        &self.0
    }

    pub(crate) fn kernel(&self) -> &Arc<Kernel> {
        self.0.kernel()
    }

    /// The current life behind this mailbox, or the last one.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.0.pid()
    }

    /// Whether a life is behind this mailbox just now.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.kernel().is_alive(self.pid())
    }

    /// Messages waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.mailbox.len()
    }

    /// Whether no message waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sends; never blocks.
    ///
    /// # Errors
    /// The message comes back: `Full` when the mailbox is at its bound, `Gone` when nobody is or will be behind it.
    pub fn send(&self, message: M) -> Result<(), SendError<M>> {
        self.settle_push(self.0.mailbox.push(message))
    }

    fn settle_push(&self, pushed: Push<M>) -> Result<(), SendError<M>> {
        match pushed {
            Push::Queued => Ok(()),
            Push::Full(message) => Err(SendError::Full(message)),
            Push::Gone(message) => Err(SendError::Gone(message)),
            Push::Evicted(dropped) => {
                let counters = self.kernel().counters();
                counters.dead_letter::<M>(Some(self.pid()), LostTo::Overflow);
                // The dropped message is the user's: its calls end as Full, its panic is not the sender's.
                reply_to::settling(CallError::Full, || run::discard(self.pid(), dropped));
                Ok(())
            }
        }
    }

    /// Sends, waiting for room where the mailbox's policy is [`Overflow::Wait`](crate::Overflow::Wait).
    ///
    /// # Errors
    /// `Full` when there was no room before the deadline, or at once under another policy; `Gone` as [`Address::send`].
    ///
    /// Cancel safety: a dropped future has not sent; its message is dropped.
    pub async fn send_wait(&self, message: M, deadline: Duration) -> Result<(), SendError<M>> {
        let mut message = message;
        let timers = self.kernel().timers().clone();
        let end = timers.now().saturating_add(deadline);
        loop {
            let Some(space) = self.0.mailbox.space() else {
                return self.send(message);
            };
            let room = space.notified();
            let mut room = std::pin::pin!(room);
            room.as_mut().enable();
            message = match self.send(message) {
                Err(SendError::Full(message)) => message,
                result => return result,
            };
            let left = self.kernel().until(end);
            if crate::timer::timeout(&timers, left, room).await.is_err() {
                return self.send(message);
            }
        }
    }
}

impl<M: Send + 'static> Target for Home<M> {
    fn look(self: Arc<Self>, look: TimerRef, tick: u64) -> bool {
        // Read before: a message is there only as long as the life it was for.
        let life = self.pid();
        let timers = self.kernel().timers();
        let mut due = Vec::new();
        let deliver = |place, tick| timers.deliver(tick, self.clone(), place);
        let more = self.mailbox.unlist(look, tick, deliver, &mut due);
        for message in due {
            let pushed = self.mailbox.push_if(message, || self.is_life(life));
            settle(&self, life, pushed);
        }
        more
    }

    fn fire(self: Arc<Self>, place: u32, timer: TimerRef) {
        // Read before: the message is there only as long as the life it was for.
        let life = self.pid();
        if let Some(Some(message)) = self.mailbox.take_held(place, timer.to_raw()) {
            let pushed = self.mailbox.push_if(message, || self.is_life(life));
            settle(&self, life, pushed);
        }
    }

    fn forget(&self, place: u32, timer: TimerRef) {
        let message = self.mailbox.take_held(place, timer.to_raw());
        // Dropped by whoever is at hand: the driver, which must not fall, or another process.
        if std::mem::needs_drop::<M>() {
            run::discard(self.pid(), message);
        }
    }
}

/// A full mailbox loses the tick, and says so in the counters; the driver serves all and waits for none. One whose life has ended
/// meanwhile is not for the next.
fn settle<M: Send + 'static>(target: &Arc<Home<M>>, life: Pid, pushed: Push<M>) {
    let target = Address(target.clone());
    if let Err(lost) = target.settle_push(pushed) {
        let counters = target.kernel().counters();
        counters.dead_letter::<M>(Some(life), LostTo::Timer);
        let error = match lost {
            SendError::Full(_) => CallError::Full,
            _ => CallError::NoProcess,
        };
        reply_to::settling(error, || run::discard(life, lost));
    }
}

struct Repeated<M> {
    target: Arc<Home<M>>,
    life: Pid,
    /// Taken only to be dropped.
    message: Option<M>,
}

impl<M> Drop for Repeated<M> {
    fn drop(&mut self) {
        run::discard(self.life, self.message.take());
    }
}

impl<M: Clone + Send + 'static> Repeat for Repeated<M> {
    fn fire(&mut self, place: u32, timer: TimerRef) -> bool {
        let Ok(message) = run::contain(self.life, || self.message.clone()) else {
            return false;
        };
        let Some(message) = message else {
            return false;
        };
        let lives = || self.target.is_life(self.life);
        let mailbox = &self.target.mailbox;
        match mailbox.push_held(message, place, timer.to_raw(), lives) {
            // Cancelled, or for one that has ended: this turn is none.
            Push::Gone(message) => {
                run::discard(self.life, message);
                false
            }
            pushed => {
                settle(&self.target, self.life, pushed);
                true
            }
        }
    }
}

/// Sends `message` to the life now behind `target` after `delay`; the timer dies with that life.
pub(crate) fn send_after<N: Send + 'static>(
    target: &Address<N>,
    delay: Duration,
    message: N,
) -> TimerRef {
    let home = &target.0;
    let life = home.pid();
    let timers = home.kernel().timers();
    let tick = timers.tick_after(delay);
    let look = |later| timers.look_for(tick, || home.clone(), later);
    match home
        .mailbox
        .hold(message, tick, || home.is_life(life), look)
    {
        Ok((held, first)) => {
            if first {
                timers.wake_driver();
            }
            TimerRef::held(life, held)
        }
        Err(message) => {
            run::discard(life, message);
            TimerRef::none()
        }
    }
}

/// Sends a copy of `message` every `period`; see [`send_after`].
pub(crate) fn send_interval<N: Clone + Send + 'static>(
    target: &Address<N>,
    period: Duration,
    message: N,
) -> TimerRef {
    let life = target.pid();
    let timers = target.kernel().timers();
    // The clock, which may be another's, is read before the mailbox is locked.
    let beat = timers.beat(period);
    let repeated = Box::new(Repeated {
        target: target.0.clone(),
        life,
        message: Some(message),
    });
    let home = &target.0;
    let set = home.mailbox.hold_interval(
        || home.is_life(life),
        |place, tick| timers.deliver(tick, home.clone(), place),
        |place| timers.every(beat, repeated, home.clone(), place),
    );
    // For a life that has ended there is none.
    let Some(((timer, first), look)) = set else {
        return TimerRef::none();
    };
    if let Some(look) = look {
        timers.forget(look);
    }
    if first {
        timers.wake_driver();
    }
    timer
}

impl<M: Send + 'static> Context<M> {
    /// This process's own address.
    #[must_use]
    pub fn address(&self) -> Address<M> {
        Address(self.home().clone())
    }

    /// Sends `message` after `delay`, never early. The timer dies with the life it was set for.
    pub fn send_after<N: Send + 'static>(
        &mut self,
        target: &Address<N>,
        delay: Duration,
        message: N,
    ) -> TimerRef {
        send_after(target, delay, message)
    }

    /// Sends a copy of `message` every `period`, the first after one period, without drift; missed turns are skipped. A period shorter
    /// than the wheel's tick of 1 ms is one tick.
    ///
    /// # Errors
    /// `NoPeriod` gives the message back when the period is zero.
    pub fn send_interval<N: Clone + Send + 'static>(
        &mut self,
        target: &Address<N>,
        period: Duration,
        message: N,
    ) -> Result<TimerRef, SendError<N>> {
        if period.is_zero() {
            return Err(SendError::NoPeriod(message));
        }
        Ok(send_interval(target, period, message))
    }

    /// Starts a closure process with its own mailbox; this process is its parent. For one that never returns, see [`System::spawn`](crate::System::spawn).
    pub fn spawn<N, F, Fut>(&mut self, body: F) -> Address<N>
    where
        N: Send + 'static,
        F: FnOnce(Context<N>) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Into<ExitReason>,
    {
        let birth = Birth {
            parent: Some(self.pid()),
            ..Birth::default()
        };
        spawn_closure(self.home().kernel(), Capacity::default(), birth, body)
    }

    /// As [`Context::spawn`], linked from the first moment.
    pub fn spawn_link<N, F, Fut>(&mut self, body: F) -> Address<N>
    where
        N: Send + 'static,
        F: FnOnce(Context<N>) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Into<ExitReason>,
    {
        let birth = Birth {
            parent: Some(self.pid()),
            linked: true,
            ..Birth::default()
        };
        spawn_closure(self.home().kernel(), Capacity::default(), birth, body)
    }

    /// As [`Context::spawn`], monitored from the first moment.
    pub fn spawn_monitor<N, F, Fut>(&mut self, body: F) -> (Address<N>, Ref)
    where
        N: Send + 'static,
        F: FnOnce(Context<N>) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Into<ExitReason>,
    {
        let reference = Ref::next();
        let birth = Birth {
            parent: Some(self.pid()),
            monitor: Some(reference),
            ..Birth::default()
        };
        (
            spawn_closure(self.home().kernel(), Capacity::default(), birth, body),
            reference,
        )
    }
}

/// A closure process: `body` is called with its context and runs until it returns.
pub(crate) fn spawn_closure<M, F, Fut>(
    kernel: &Arc<Kernel>,
    capacity: Capacity,
    birth: Birth,
    body: F,
) -> Address<M>
where
    M: Send + 'static,
    F: FnOnce(Context<M>) -> Fut + Send + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: Into<ExitReason>,
{
    let home = Home::new(kernel, capacity);
    let birth = Birth {
        behaviour: birth.behaviour.or(Some(std::any::type_name::<M>)),
        ..birth
    };
    spawn(&home, birth, body);
    Address(home)
}

#[cfg(all(test, mesh_loom))]
mod every_order;
