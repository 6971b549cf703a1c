//! `Home<M>`: the mailbox an address names, in the system it stands in. Outlives the lives behind it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::CallError;
use crate::exit::ExitReason;
use crate::mailbox::{Capacity, Mailbox, MailboxNumbers, Pending, Remains};
use crate::pid::Pid;
use crate::reply_to;
use crate::sync::{AtomicBool, AtomicU64};
use crate::telemetry::LostTo;
use crate::timer::{Held, TimerRef};

use super::kernel::Kernel;
use super::{MailboxView, run};

/// A mailbox and its system. Everything an address points to, in one allocation.
pub(crate) struct Home<M> {
    pub(crate) mailbox: Mailbox<M>,
    kernel: Arc<Kernel>,
    /// The current or last life; zero before the first.
    life: AtomicU64,
    /// Whether that life has not ended.
    living: AtomicBool,
}

impl<M: Send + 'static> Home<M> {
    pub(crate) fn new(kernel: &Arc<Kernel>, capacity: Capacity) -> Arc<Home<M>> {
        Arc::new(Home {
            mailbox: Mailbox::new(capacity),
            kernel: kernel.clone(),
            life: AtomicU64::new(0),
            living: AtomicBool::new(false),
        })
    }

    /// Whether this life is the first.
    pub(crate) fn begin_life(&self, pid: Pid) -> bool {
        let before = self.life.swap(pid.get(), Ordering::AcqRel);
        self.living.store(true, Ordering::Release);
        before == 0
    }

    /// The life is over: what is meant for it alone, its timers and its rooms, is not for the next.
    pub(crate) fn end_life(&self) {
        self.living.store(false, Ordering::Release);
    }

    /// Whether this life is behind the mailbox and has not ended. Asked under the mailbox's lock, the answer holds until the mailbox is
    /// cleared.
    pub(crate) fn is_life(&self, pid: Pid) -> bool {
        self.living.load(Ordering::Acquire) && self.life.load(Ordering::Acquire) == pid.get()
    }

    /// Empties the mailbox: calls in it end as `Exited(reason)`, and whatever panics in being dropped is contained. What waited for timers
    /// is handed out.
    pub(crate) fn clear(&self, reason: &ExitReason, close: bool) -> Pending<M> {
        let Remains { messages, pending } = self.mailbox.clear(close);
        if messages.is_empty() {
            return pending;
        }
        reply_to::settling(CallError::Exited(reason.clone()), || {
            for message in messages {
                let counters = self.kernel.counters();
                counters.dead_letter::<M>(Some(self.pid()), LostTo::Unread);
                run::discard(self.pid(), message);
            }
        });
        pending
    }

    /// Ends the timers of a life, and drops their messages: calls in them end as `Exited(reason)`.
    pub(crate) fn cancel(&self, mut pending: Pending<M>, reason: &ExitReason) {
        if pending.is_empty() {
            return;
        }
        reply_to::settling(CallError::Exited(reason.clone()), || {
            if let Some(look) = pending.take_look() {
                self.kernel.timers().forget(look);
            }
            for taken in pending.into_held() {
                if taken.tick.is_none() {
                    let timer = TimerRef::from_raw(taken.timer);
                    self.kernel.timers().forget(timer);
                }
                // Its drop is the user's.
                run::discard(self.pid(), taken.message);
            }
        });
    }
}

impl<M> Home<M> {
    pub(crate) fn kernel(&self) -> &Arc<Kernel> {
        &self.kernel
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.life.load(Ordering::Acquire)).unwrap_or_else(|| self.kernel.root())
    }
}

impl<M: Send + 'static> MailboxView for Home<M> {
    fn numbers(&self) -> MailboxNumbers {
        self.mailbox.numbers()
    }

    fn message_type(&self) -> &'static str {
        std::any::type_name::<M>()
    }

    fn cancel_timer(&self, life: Pid, held: Held) -> Option<u64> {
        let taken = self.mailbox.cancel_held(held, || self.is_life(life))?;
        // The wheel does not know it any more when it is being fired just now.
        let tick = taken.tick.unwrap_or_else(|| {
            let timer = TimerRef::from_raw(taken.timer);
            self.kernel.timers().forget(timer).unwrap_or_default()
        });
        // Dropped by whoever is at hand, which may be another process.
        if std::mem::needs_drop::<M>() {
            run::discard(life, taken.message);
        }
        Some(tick)
    }
}
