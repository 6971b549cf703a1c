//! `Home<M>`: the mailbox an address names, in the system it stands in. Outlives the lives behind it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::CallError;
use crate::exit::ExitReason;
use crate::mailbox::{Capacity, Mailbox, MailboxNumbers};
use crate::pid::Pid;
use crate::reply_to;
use crate::sync::{AtomicBool, AtomicU64};
use crate::telemetry::LostTo;

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
    /// Whether a timer was ever set for a life behind it.
    timed: AtomicBool,
}

impl<M: Send + 'static> Home<M> {
    pub(crate) fn new(kernel: &Arc<Kernel>, capacity: Capacity) -> Arc<Home<M>> {
        Arc::new(Home {
            mailbox: Mailbox::new(capacity),
            kernel: kernel.clone(),
            life: AtomicU64::new(0),
            living: AtomicBool::new(false),
            timed: AtomicBool::new(false),
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
        // Sequentially consistent, as are `timed` and the look at both: one who sets a timer sees the end, or the end sees the timer.
        self.living.store(false, Ordering::SeqCst);
    }

    /// A timer is about to be set for a life behind it.
    pub(crate) fn expect_timer(&self) {
        if !self.timed.load(Ordering::Acquire) {
            self.timed.store(true, Ordering::SeqCst);
        }
    }

    /// Whether a life behind it may have timers.
    pub(crate) fn may_have_timers(&self) -> bool {
        self.timed.load(Ordering::SeqCst)
    }

    /// Whether this life is behind the mailbox and has not ended. Asked under the mailbox's lock, the answer holds until the mailbox is
    /// cleared.
    pub(crate) fn is_life(&self, pid: Pid) -> bool {
        self.living.load(Ordering::SeqCst) && self.life.load(Ordering::Acquire) == pid.get()
    }

    /// Empties the mailbox: calls in it end as `Exited(reason)`, and whatever panics in being dropped is contained.
    pub(crate) fn clear(&self, reason: &ExitReason, close: bool) {
        let remains = self.mailbox.clear(close);
        if remains.messages.is_empty() {
            return;
        }
        reply_to::settling(CallError::Exited(reason.clone()), || {
            for message in remains.messages {
                let counters = self.kernel.counters();
                counters.dead_letter::<M>(Some(self.pid()), LostTo::Unread);
                run::discard(self.pid(), message);
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
}
