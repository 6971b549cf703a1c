//! `Home<M>`: the mailbox an address names, in the system it stands in. Outlives the lives behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::CallError;
use crate::exit::ExitReason;
use crate::mailbox::{Capacity, Mailbox, MailboxNumbers};
use crate::pid::Pid;
use crate::reply_to;

use super::kernel::Kernel;
use super::{MailboxView, run};

/// A mailbox and its system. Everything an address points to, in one allocation.
pub(crate) struct Home<M> {
    pub(crate) mailbox: Mailbox<M>,
    kernel: Arc<Kernel>,
    /// The current or last life; zero before the first.
    life: AtomicU64,
    /// Stands in for the pid until the first life begins.
    unborn: Pid,
}

impl<M: Send + 'static> Home<M> {
    pub(crate) fn new(kernel: &Arc<Kernel>, capacity: Capacity) -> Arc<Home<M>> {
        Arc::new(Home {
            mailbox: Mailbox::new(capacity),
            kernel: kernel.clone(),
            life: AtomicU64::new(0),
            unborn: kernel.root(),
        })
    }

    pub(crate) fn begin_life(&self, pid: Pid) {
        self.life.store(pid.get(), Ordering::Release);
    }

    /// Empties the mailbox: calls in it end as `Exited(reason)`, and whatever panics in being dropped is contained.
    pub(crate) fn clear(&self, reason: &ExitReason, close: bool) {
        let remains = self.mailbox.clear(close);
        reply_to::settling(CallError::Exited(reason.clone()), || {
            for message in remains.messages {
                let _ = run::contain(self.pid(), move || drop(message));
            }
        });
    }
}

impl<M> Home<M> {
    pub(crate) fn kernel(&self) -> &Arc<Kernel> {
        &self.kernel
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.life.load(Ordering::Acquire)).unwrap_or(self.unborn)
    }
}

impl<M: Send + 'static> MailboxView for Home<M> {
    fn numbers(&self) -> MailboxNumbers {
        self.mailbox.numbers()
    }
}
