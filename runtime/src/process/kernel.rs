//! What every process of one system shares: the doors, the wheel, the table, and the parts above that must hear of exits.

use std::any::{Any, TypeId};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::exit::ExitReason;
use crate::limits::BLOCKING_THREADS_MAX;
use crate::pid::Pid;
use crate::reference::Ref;
use crate::scheduler::Scheduler;
use crate::scheduler::blocking::Blocking;
use crate::signal::Signal;
use crate::telemetry::{Counters, count};
use crate::timer::{self, TimerRef, Timers, driver};

use super::storms::Panics;
use super::table::Table;
use super::{Ties, Watcher, current, exit_signal, monitors};

/// A concept above processes that holds something for them: names, rooms. Plugged in by `system`.
pub(crate) trait Part: Any + Send + Sync {
    /// A process is over; forget it. Told for those for which [`Kernel::hold_for`] was called.
    fn process_exited(&self, pid: Pid);
}

/// The shared heart of a system.
pub(crate) struct Kernel {
    name: Box<str>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    scheduler: Arc<dyn Scheduler>,
    timers: Arc<Timers>,
    table: Table,
    counters: Arc<Counters>,
    blocking: Blocking,
    panics: Panics,
    /// Whether the time each process is on a worker is measured.
    measures_busy: AtomicBool,
    parts: Vec<Box<dyn Part>>,
    /// Stands for the system itself: the parent of its trees, the sender of signals from outside.
    root: Pid,
}

impl Kernel {
    pub(crate) fn new(
        name: &str,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        scheduler: Arc<dyn Scheduler>,
        parts: Vec<Box<dyn Part>>,
    ) -> Arc<Kernel> {
        current::install_panic_hook();
        let counters = Arc::new(Counters::default());
        let timers = Arc::new(Timers::new(clock.clone(), counters.clone()));
        scheduler.spawn(Box::pin(driver::drive(
            Arc::downgrade(&timers),
            scheduler.clone(),
        )));
        let root = Pid::next();
        Arc::new(Kernel {
            name: name.into(),
            clock,
            entropy,
            scheduler,
            timers,
            table: Table::new(),
            counters,
            blocking: Blocking::new(BLOCKING_THREADS_MAX),
            panics: Panics::new(root),
            measures_busy: AtomicBool::new(false),
            parts,
            root,
        })
    }

    pub(crate) fn measure_busy(&self) {
        self.measures_busy.store(true, Ordering::Relaxed);
    }

    pub(crate) fn measures_busy(&self) -> bool {
        self.measures_busy.load(Ordering::Relaxed)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub(crate) fn entropy(&self) -> &dyn Entropy {
        &*self.entropy
    }

    pub(crate) fn scheduler(&self) -> &dyn Scheduler {
        &*self.scheduler
    }

    pub(crate) fn timers(&self) -> &Arc<Timers> {
        &self.timers
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    pub(crate) fn panics(&self) -> &Panics {
        &self.panics
    }

    pub(crate) fn blocking(&self) -> &Blocking {
        &self.blocking
    }

    pub(crate) fn root(&self) -> Pid {
        self.root
    }

    /// A part, by its type.
    pub(crate) fn part<T: Part>(&self) -> &T {
        let found = self.parts.iter().find_map(|part| {
            let part: &dyn Any = &**part;
            if part.type_id() == TypeId::of::<T>() {
                part.downcast_ref::<T>()
            } else {
                None
            }
        });
        found.expect("system plugs in every part before the first process")
    }

    pub(crate) fn is_alive(&self, pid: Pid) -> bool {
        self.table
            .get(pid)
            .is_some_and(|process| !process.inner.lock().over)
    }

    /// A part holds something for a process now, and must hear of its end. `false` when it has ended already, and the part must let go itself.
    pub(crate) fn hold_for(&self, pid: Pid) -> bool {
        self.table.get(pid).is_some_and(|process| process.hold())
    }

    /// Sends an exit signal. `Killed` cannot be trapped, as OTP's `kill`.
    pub(crate) fn exit(&self, from: Pid, to: Pid, reason: ExitReason) -> bool {
        match self.table.get(to) {
            Some(process) => exit_signal::send(&process, from, reason),
            None => false,
        }
    }

    /// Ends a process whatever it traps.
    pub(crate) fn kill(&self, pid: Pid) -> bool {
        match self.table.get(pid) {
            Some(process) => exit_signal::kill(&process),
            None => false,
        }
    }

    /// Waits until a process is over; `NoProcess` when there is none. A monitor for those outside processes, set by the call itself.
    pub(crate) fn wait_for_exit(
        &self,
        pid: Pid,
    ) -> impl Future<Output = ExitReason> + Send + 'static + use<> {
        let watch = self.watch_from_outside(pid);
        async move {
            match watch {
                Ok((receiver, _unwatch)) => receiver.await.unwrap_or_else(|_| ExitReason::killed()),
                Err(reason) => reason,
            }
        }
    }

    fn watch_from_outside(
        &self,
        pid: Pid,
    ) -> Result<(oneshot::Receiver<ExitReason>, monitors::Unwatch), ExitReason> {
        let process = self.table.get(pid).ok_or_else(ExitReason::no_process)?;
        let (sender, receiver) = oneshot::channel();
        let reference = Ref::next();
        match process.add_watcher(reference, Watcher::Outside(sender)) {
            Ok(()) => Ok((receiver, monitors::Unwatch { process, reference })),
            // Nobody is refused before the reason is known.
            Err(_) => Err(process.inner.lock().reason.clone()),
        }
    }

    /// The end of a life, after its state is gone and its mailbox is settled: names, rooms, timers, then monitors and links.
    pub(crate) fn bury(
        &self,
        process: &super::Process,
        end_timers: &mut dyn FnMut(),
        reason: &ExitReason,
    ) {
        let pid = process.pid;
        self.scheduler.ended(pid, reason);
        if process.close() {
            for part in &self.parts {
                part.process_exited(pid);
            }
        }
        end_timers();
        count(&self.counters.exited);
        let ties = process.farewell(reason);
        self.table.remove(pid);
        let Some(ties) = ties else {
            return;
        };
        let Ties {
            witness,
            links,
            watching,
            watchers,
            ..
        } = *ties;
        for (reference, watched) in watching.into_entries() {
            if let Some(watched) = self.table.get(watched) {
                drop(watched.remove_watcher(reference));
            }
        }
        for notice in exit_signal::notices(witness, links, watchers) {
            match notice {
                exit_signal::Notice::Linked(peer) => {
                    if let Some(peer) = self.table.get(peer) {
                        exit_signal::arrive_by_link(&peer, pid, reason);
                    }
                }
                exit_signal::Notice::Down(watcher, reference) => {
                    if let Some(watcher) = self.table.get(watcher) {
                        watcher.deliver_down(
                            Signal::Down {
                                reference,
                                pid,
                                reason: reason.clone(),
                            },
                            reference,
                        );
                    }
                }
                exit_signal::Notice::Tell(sender) => drop(sender.send(reason.clone())),
                exit_signal::Notice::Kill(dependent) => {
                    self.kill(dependent);
                }
            }
        }
    }

    /// Cancels a timer; the time that was left, or `None` when it has fired.
    pub(crate) fn cancel_timer(&self, timer: TimerRef) -> Option<Duration> {
        let Some((life, held)) = timer.at() else {
            return self.timers.cancel(timer);
        };
        let process = self.table.get(life)?;
        let tick = process.mailbox.cancel_timer(life, held)?;
        Some(timer::left(tick, self.clock.now()))
    }

    /// Timers that are pending, those that only a mailbox knows with them.
    pub(crate) fn timers_len(&self) -> usize {
        let (mut listed, mut looks) = (0, 0);
        self.table.each(|process| {
            let timers = process.mailbox.numbers().timers;
            listed += timers.0;
            looks += timers.1;
        });
        (self.timers.len() + listed).saturating_sub(looks)
    }

    /// Time left of a deadline.
    pub(crate) fn until(&self, deadline: Duration) -> Duration {
        deadline.saturating_sub(self.clock.now())
    }
}
