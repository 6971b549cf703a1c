//! `System`: the value that owns everything. No globals; several may live in one program.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::actor::{self, Actor};
use crate::address::{self, Address};
use crate::clock::{Clock, SystemClock};
use crate::entropy::{Entropy, OsEntropy};
use crate::error::{NameError, StartError};
use crate::exit::ExitReason;
use crate::group::Groups;
use crate::job::{self, JobError};
use crate::mailbox::Capacity;
use crate::pid::Pid;
use crate::process::Birth;
use crate::process::context::Context;
use crate::process::home::Home;
use crate::process::kernel::{Kernel, Part};
use crate::registry::Registry;
use crate::room::Rooms;
use crate::scheduler::{Scheduler, TokioScheduler};
use crate::supervisor::{Supervisor, SupervisorHandle, start_tree};
use crate::telemetry::DeadLetters;
use crate::timer::{self, Elapsed, TimerRef};

mod inspect;
#[cfg(feature = "metrics")]
mod metrics;
mod root;
mod stop;
mod stuck;
mod text;

pub use inspect::{Inspection, RoomInfo, SystemCounts};
use root::Trees;
pub use stop::ShutdownTimeout;

/// A world of processes. Cheap to clone; every clone is the same system.
#[derive(Clone)]
pub struct System {
    kernel: Arc<Kernel>,
}

impl fmt::Debug for System {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("System")
            .field("name", &self.kernel.name())
            .finish_non_exhaustive()
    }
}

/// Builds a [`System`]; each door has a default.
#[derive(Debug, Default)]
pub struct SystemBuilder {
    name: Option<String>,
    clock: Option<Arc<dyn Clock>>,
    entropy: Option<Arc<dyn Entropy>>,
    scheduler: Option<Arc<dyn Scheduler>>,
    stuck_after: Option<Duration>,
    measures_busy: bool,
    #[cfg(feature = "metrics")]
    metrics_every: Option<Duration>,
}

impl SystemBuilder {
    /// A name for inspection and logs.
    #[must_use]
    pub fn name(mut self, name: &str) -> SystemBuilder {
        self.name = Some(name.to_owned());
        self
    }

    /// Where time comes from.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> SystemBuilder {
        self.clock = Some(clock);
        self
    }

    /// Where chance comes from.
    #[must_use]
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> SystemBuilder {
        self.entropy = Some(entropy);
        self
    }

    /// What runs the processes.
    #[must_use]
    pub fn scheduler(mut self, scheduler: Arc<dyn Scheduler>) -> SystemBuilder {
        self.scheduler = Some(scheduler);
        self
    }

    /// Reports, in the log and in the counts, a process that holds a worker, or works on one message, longer than `limit` (and no longer
    /// unnoticed than twice that). The one who looks needs a worker itself: on a runtime with one worker, a process that holds it is not
    /// seen. A limit shorter than the wheel's tick of 1 ms is one tick.
    #[must_use]
    pub fn stuck_after(mut self, limit: Duration) -> SystemBuilder {
        self.stuck_after = Some(limit);
        self
    }

    /// Measures how long each process is on a worker, for [`ProcessInfo::busy_us`](crate::ProcessInfo::busy_us). Costs two looks at the clock
    /// each time a process runs; OTP's microstate accounting.
    #[must_use]
    pub fn measure_busy(mut self) -> SystemBuilder {
        self.measures_busy = true;
        self
    }

    /// Builds the system.
    ///
    /// # Panics
    /// Outside a tokio runtime, unless a scheduler was given.
    #[must_use]
    pub fn build(self) -> System {
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let entropy = self.entropy.unwrap_or_else(|| Arc::new(OsEntropy::new()));
        let scheduler = self
            .scheduler
            .unwrap_or_else(|| Arc::new(TokioScheduler::current()));
        let parts: Vec<Box<dyn Part>> = vec![
            Box::new(Registry::default()),
            Box::new(Rooms::new()),
            Box::new(Groups::new()),
            Box::new(Trees::default()),
        ];
        let name = self.name.as_deref().unwrap_or("system");
        let kernel = Kernel::new(name, clock, entropy, scheduler, parts);
        if let Some(limit) = self.stuck_after {
            stuck::watch(&kernel, limit);
        }
        if self.measures_busy {
            kernel.measure_busy();
        }
        #[cfg(feature = "metrics")]
        if let Some(period) = self.metrics_every {
            metrics::record_every(&kernel, period);
        }
        System { kernel }
    }
}

impl Default for System {
    fn default() -> System {
        System::new()
    }
}

impl System {
    /// A system on the tokio runtime this is called in, multi-threaded or current-thread.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn new() -> System {
        System::builder().build()
    }

    /// A system with doors of your own.
    #[must_use]
    pub fn builder() -> SystemBuilder {
        SystemBuilder::default()
    }

    pub(crate) fn kernel(&self) -> &Arc<Kernel> {
        &self.kernel
    }

    /// The system's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.kernel.name()
    }

    /// Starts a closure process. It ends when the closure returns, and what it returns is its exit reason: `()`, an [`ExitReason`], or a
    /// `Result<(), ExitReason>`.
    ///
    /// One that never returns has the type `!`, which is none of these. Say so with an `async` closure and its type:
    ///
    /// ```
    /// # use mesh_runtime::{Context, ExitReason, System};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let system = System::new();
    /// let echo = system.spawn(async move |mut cx: Context<String>| -> ExitReason {
    ///     loop {
    ///         println!("{}", cx.receive().await);
    ///     }
    /// });
    /// # assert!(echo.is_alive());
    /// # }
    /// ```
    pub fn spawn<M, F, Fut>(&self, body: F) -> Address<M>
    where
        M: Send + 'static,
        F: FnOnce(Context<M>) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Into<ExitReason>,
    {
        self.spawn_with(Capacity::default(), body)
    }

    /// As [`System::spawn`], with a mailbox of your own choice.
    pub fn spawn_with<M, F, Fut>(&self, capacity: Capacity, body: F) -> Address<M>
    where
        M: Send + 'static,
        F: FnOnce(Context<M>) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Into<ExitReason>,
    {
        address::spawn_closure(&self.kernel, capacity, Birth::default(), body)
    }

    /// Starts an actor without supervisor, and waits for its `init`.
    ///
    /// # Errors
    /// `Failed` with what `init` returned, or how it ended.
    pub async fn start<A: Actor>(&self, args: A::Args) -> Result<Address<A::Message>, StartError> {
        let home = Home::new(&self.kernel, A::mailbox());
        actor::start::<A>(&home, Birth::default(), args)
            .finish()
            .await?;
        Ok(Address::of(home))
    }

    /// Starts a tree that hangs on the system, and waits until all its children have started.
    ///
    /// # Errors
    /// Why the first child that failed did; those started before it have been stopped.
    pub async fn supervise(&self, tree: Supervisor) -> Result<SupervisorHandle, StartError> {
        let handle = start_tree(&self.kernel, tree).await?;
        let (trees, pid) = (self.kernel.part::<Trees>(), handle.pid());
        trees.add(pid);
        // It may have ended before it was there to be forgotten.
        if !self.kernel.hold_for(pid) {
            trees.process_exited(pid);
        }
        Ok(handle)
    }

    /// The supervisor with this name: a child id, or what `Supervisor::named` said.
    ///
    /// # Errors
    /// `NotFound`, or `WrongType` when the name is no supervisor's.
    pub fn supervisor(&self, name: &str) -> Result<SupervisorHandle, NameError> {
        self.whereis(name).map(SupervisorHandle::of)
    }

    /// Names the process behind an address. The name is released when it ends, for any cause.
    ///
    /// # Errors
    /// `Taken`, `Invalid`, or `Gone` when the process has ended.
    pub fn register<M: Send + 'static>(
        &self,
        name: &str,
        address: &Address<M>,
    ) -> Result<(), NameError> {
        self.registry().register(&self.kernel, name, address)
    }

    /// Takes a name away; whether it was there.
    #[expect(
        clippy::must_use_candidate,
        reason = "an act; its answer may be ignored"
    )]
    pub fn unregister(&self, name: &str) -> bool {
        self.registry().unregister(name)
    }

    /// The address with this name.
    ///
    /// # Errors
    /// `NotFound`, or `WrongType` when the process takes another type of message.
    pub fn whereis<M: Send + 'static>(&self, name: &str) -> Result<Address<M>, NameError> {
        self.registry().whereis(name)
    }

    /// The process with this name, whatever it understands.
    #[must_use]
    pub fn whereis_pid(&self, name: &str) -> Option<Pid> {
        self.registry().whereis_pid(name)
    }

    /// Every name and its process, by name.
    #[must_use]
    pub fn names(&self) -> Vec<(String, Pid)> {
        self.registry().all()
    }

    fn registry(&self) -> &Registry {
        self.kernel.part()
    }

    /// The rooms.
    #[must_use]
    pub fn rooms(&self) -> &Rooms {
        self.kernel.part()
    }

    /// The groups.
    #[must_use]
    pub fn groups(&self) -> &Groups {
        self.kernel.part()
    }

    /// Ends a process at its next suspension, whatever it traps and without `terminate`. `false` when there is none.
    #[expect(
        clippy::must_use_candidate,
        reason = "an act; its answer may be ignored"
    )]
    pub fn kill(&self, pid: Pid) -> bool {
        self.kernel.kill(pid)
    }

    /// Sends an exit signal from outside. `false` when there is no such process.
    #[expect(
        clippy::must_use_candidate,
        reason = "an act; its answer may be ignored"
    )]
    pub fn exit(&self, pid: Pid, reason: ExitReason) -> bool {
        self.kernel.exit(self.kernel.root(), pid, reason)
    }

    /// Whether a process has not ended.
    #[must_use]
    pub fn is_alive(&self, pid: Pid) -> bool {
        self.kernel.is_alive(pid)
    }

    /// Waits until a process has ended, and says why; `NoProcess` when there is none.
    ///
    /// A monitor for those outside processes, set by the call itself, before the first poll.
    ///
    /// Cancel safety: dropping the future ends the monitor.
    pub fn wait_for_exit(
        &self,
        pid: Pid,
    ) -> impl Future<Output = ExitReason> + Send + 'static + use<> {
        self.kernel.wait_for_exit(pid)
    }

    /// Sends `message` after `delay`; the timer dies with the life now behind `target`.
    pub fn send_after<M: Send + 'static>(
        &self,
        target: &Address<M>,
        delay: Duration,
        message: M,
    ) -> TimerRef {
        address::send_after(target, delay, message)
    }

    /// Cancels a timer; the time that was left, or `None` when it has fired.
    #[expect(
        clippy::must_use_candidate,
        reason = "an act; its answer may be ignored"
    )]
    pub fn cancel(&self, timer: TimerRef) -> Option<Duration> {
        self.kernel.cancel_timer(timer)
    }

    /// Where this system reads the time.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        self.kernel.clock()
    }

    /// Where this system takes chance from.
    #[must_use]
    pub fn entropy(&self) -> &dyn Entropy {
        self.kernel.entropy()
    }

    /// Waits on the timer wheel; never early.
    ///
    /// Cancel safety: dropping the future cancels the timer.
    pub async fn sleep(&self, duration: Duration) {
        self.kernel.timers().sleep(duration).await;
    }

    /// The output of a future, or `Elapsed` after `limit`. The future is polled first.
    ///
    /// # Errors
    /// `Elapsed`; the future is then dropped.
    pub async fn timeout<F: Future>(
        &self,
        limit: Duration,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        timer::timeout(self.kernel.timers(), limit, future).await
    }

    /// Runs a closure that may block, away from the workers; at most 64 at a time, more wait their turn.
    ///
    /// # Errors
    /// `Exited` when the closure panicked.
    pub async fn blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, JobError> {
        job::blocking(&self.kernel, work).await
    }

    /// Subscribes to dead letters: messages that were accepted and that nobody will handle. At most `bound` of them, and at least one, wait
    /// for the subscriber; what comes while so many wait is counted by [`DeadLetters::missed`] and not kept.
    #[must_use]
    pub fn dead_letters(&self, bound: usize) -> DeadLetters {
        self.kernel.counters().dead_letters(bound)
    }

    /// A look at every process, without disturbing any.
    #[must_use]
    pub fn inspect(&self) -> Inspection {
        inspect::inspect(&self.kernel)
    }

    /// Stops the trees in the reverse order of their start, then everything left, and kills what has not ended at the deadline.
    ///
    /// # Errors
    /// `ShutdownTimeout` when something had to be killed, or held its worker and could not be.
    pub async fn shutdown(&self, deadline: Duration) -> Result<(), ShutdownTimeout> {
        let stopped = stop::shutdown(&self.kernel, deadline).await;
        self.kernel.panics().settle();
        stopped
    }
}

impl job::sealed::Owner for &System {
    #[expect(
        private_interfaces,
        reason = "sealed: nobody outside can name or call it"
    )]
    fn kernel(&self) -> Arc<Kernel> {
        self.kernel.clone()
    }

    fn owner(&self) -> Option<Pid> {
        None
    }
}

impl<M: Send + 'static> Context<M> {
    /// The system this process lives in.
    #[must_use]
    pub fn system(&self) -> System {
        System {
            kernel: self.home().kernel().clone(),
        }
    }
}

impl<M: Send + 'static> Address<M> {
    /// The system behind this address.
    #[must_use]
    pub fn system(&self) -> System {
        System {
            kernel: self.kernel().clone(),
        }
    }
}
