//! The doors a system of the laboratory gets: its scheduler, and the sleep of its timer wheel.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::exit::ExitReason;
use crate::pid::Pid;
use crate::scheduler::{Scheduler, Task};

use super::clock::Time;
use super::executor::Lab;
use super::state::Alarm;

/// Hands the tasks of one system to the laboratory. Once that is gone, tasks end unpolled.
pub(super) struct SimScheduler {
    lab: Weak<Lab>,
    node: usize,
}

impl SimScheduler {
    pub(super) fn new(lab: &Arc<Lab>, node: usize) -> SimScheduler {
        SimScheduler {
            lab: Arc::downgrade(lab),
            node,
        }
    }
}

impl fmt::Debug for SimScheduler {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SimScheduler")
    }
}

impl Scheduler for SimScheduler {
    fn spawn(&self, task: Task) {
        if let Some(lab) = self.lab.upgrade() {
            lab.spawn(self.node, None, task, None);
        }
    }

    fn spawn_process(&self, process: Pid, behaviour: &'static str, task: Task) {
        if let Some(lab) = self.lab.upgrade() {
            lab.spawn(self.node, Some((process, behaviour)), task, None);
        }
    }

    fn ended(&self, process: Pid, reason: &ExitReason) {
        if let Some(lab) = self.lab.upgrade() {
            lab.ended(process, reason);
        }
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send + 'static>) {
        if let Some(lab) = self.lab.upgrade() {
            let late = lab.state.lock().injector.delay(self.node);
            lab.spawn(self.node, None, Box::pin(async move { work() }), late);
        }
    }

    fn sleep(&self, duration: Duration) -> Task {
        let Some(lab) = self.lab.upgrade() else {
            return Box::pin(std::future::pending());
        };
        let late = lab.state.lock().injector.delay(self.node);
        if let Some(late) = late {
            lab.say(&format!("fault: a timer is late by {late:?}"));
        }
        let due = lab.now().saturating_add(duration);
        let due = due.saturating_add(late.unwrap_or_default());
        Box::pin(Sleep::new(self.lab.clone(), due))
    }
}

/// Waits for a virtual time; one that the clock cannot show never comes. Dropped, it keeps the clock from nothing.
pub(super) struct Sleep {
    lab: Weak<Lab>,
    due: Duration,
    alarm: Option<(Duration, u64)>,
}

impl Sleep {
    pub(super) fn new(lab: Weak<Lab>, due: Duration) -> Sleep {
        Sleep {
            lab,
            due,
            alarm: None,
        }
    }

    fn cancel(&mut self) {
        if let (Some(key), Some(lab)) = (self.alarm.take(), self.lab.upgrade()) {
            lab.cancel_alarm(key);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(lab) = self.lab.upgrade() else {
            return Poll::Pending;
        };
        self.cancel();
        if lab.now() >= self.due {
            return Poll::Ready(());
        }
        if self.due > Time::END {
            return Poll::Pending;
        }
        let waker = context.waker().clone();
        let key = lab.state.lock().alarm(self.due, Alarm::Wake(waker));
        self.alarm = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.cancel();
    }
}
