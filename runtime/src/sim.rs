//! The laboratory: whole systems on one thread, under a virtual clock, with a seeded order, seeded faults and a simulated network.
//!
//! Nothing in it is left to chance that the seed does not draw, so that a failure is a number: run the number again, and it fails again.
//! And nothing waits: when nobody can run, the clock jumps to the next timer, so that an hour of time-outs takes microseconds.
//!
//! ```
//! use std::time::Duration;
//! use mesh_runtime::sim::Sim;
//! use mesh_runtime::Probe;
//!
//! let sim = Sim::new(7);
//! let system = sim.system("shop");
//! let elapsed = sim.run(async {
//!     let mut probe = Probe::start(&system);
//!     system.send_after(&probe.address(), Duration::from_secs(3600), "closing time");
//!     assert_eq!(probe.expect_within(Duration::from_secs(3601)).await, "closing time");
//!     sim.now()
//! });
//! assert!(elapsed >= Duration::from_secs(3600)); // though it took no time
//! ```
//!
//! [`check`] runs a test under many seeds, and on failure shrinks it and says how to run it again. How to test with it is in
//! `docs/TESTING.md`.
//!
//! **What it cannot do.** Only what goes through the runtime's doors is virtual: `std::time`, tokio's timers, sockets and threads of one's own
//! are as real here as anywhere, and bring real chance with them. So does whoever iterates a `HashMap` with std's random keys. A process that
//! never suspends hangs the laboratory, as it would hang a worker. Interleavings within one poll of one process are loom's subject.

use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::entropy::SeededEntropy;
use crate::exit::{ExitKind, ExitReason};
use crate::pid::Pid;
use crate::system::System;

mod check;
mod clock;
mod door;
mod entropy;
mod executor;
mod faults;
mod network;
mod replay;
mod schedule;
mod shrink;
mod state;
mod trace;

pub use check::{Check, Failure, check};
pub use faults::{Fault, Faults};
pub use network::{Endpoint, LinkQuality, Network, Packet};
pub use trace::{Divergence, Trace};

use clock::SimClock;
use door::SimScheduler;
use entropy::{Stream, derived};
use executor::Lab;
use replay::Replay;
use state::Alarm;

/// A laboratory. Cheap to clone; every clone is the same one.
#[derive(Clone)]
pub struct Sim(Arc<Lab>);

impl fmt::Debug for Sim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Sim")
            .field("seed", &self.seed())
            .finish_non_exhaustive()
    }
}

/// Why a run of the laboratory did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SimError {
    /// Nobody can run and no timer is set: everybody waits for something that never comes.
    Deadlock {
        /// The virtual time.
        at: Duration,
        /// Who waits.
        waiting: Vec<String>,
    },
    /// The program does not come to an end: it loops, or only its intervals go on.
    TooManySteps {
        /// The virtual time.
        at: Duration,
        /// How many turns were taken.
        steps: u64,
        /// Who is there.
        waiting: Vec<String>,
    },
    /// The body of the test panicked.
    Panicked {
        /// With what message.
        message: String,
        /// Where.
        location: String,
    },
}

impl SimError {
    fn panicked(reason: &ExitReason) -> SimError {
        let (message, location) = match reason.kind() {
            ExitKind::Panic { message, location } => (message.to_string(), location.to_string()),
            other => (format!("{other:?}"), String::new()),
        };
        SimError::Panicked { message, location }
    }

    /// Whether another run failed in the same place.
    fn is_like(&self, other: &SimError) -> bool {
        match (self, other) {
            (
                SimError::Panicked { location: left, .. },
                SimError::Panicked {
                    location: right, ..
                },
            ) => left == right,
            (left, right) => std::mem::discriminant(left) == std::mem::discriminant(right),
        }
    }
}

impl fmt::Display for SimError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = match self {
            SimError::Panicked { message, location } => {
                return write!(formatter, "panicked at {location}: {message}");
            }
            SimError::Deadlock { at, waiting } => {
                write!(
                    formatter,
                    "deadlock at {at:?}: nobody can run and no timer is set; there wait"
                )?;
                waiting
            }
            SimError::TooManySteps { at, steps, waiting } => {
                write!(
                    formatter,
                    "no end after {steps} turns, at {at:?}; there are"
                )?;
                waiting
            }
        };
        for who in waiting {
            write!(formatter, "\n  {who}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SimError {}

impl Sim {
    /// A laboratory in which this seed decides everything.
    #[must_use]
    pub fn new(seed: u64) -> Sim {
        Sim(Lab::new(Replay::of(seed)))
    }

    fn again(replay: Replay) -> Sim {
        Sim(Lab::new(replay))
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.0.replay.seed
    }

    /// A system that lives in this laboratory. Several may; the name stands in the trace.
    #[must_use]
    pub fn system(&self, name: &str) -> System {
        let clock = Arc::new(SimClock::new(self.0.time.clone()));
        let node = self.0.add_node(name, clock.clone());
        let seed = derived(self.seed(), Stream::System(node as u64));
        let system = System::builder()
            .name(name)
            .clock(clock)
            .entropy(Arc::new(SeededEntropy::new(seed)))
            .scheduler(Arc::new(SimScheduler::new(&self.0, node)))
            .build();
        self.0.state.lock().nodes[node].system = Some(system.clone());
        system
    }

    /// Runs everybody until `body` is done, and gives its output. Then whoever is left ends, unpolled; the trace can still be read.
    ///
    /// # Panics
    /// When the body does, at a deadlock, and when there is no end after a million turns; with the seed, the last lines of the trace and the
    /// command that does it again.
    #[track_caller]
    pub fn run<T>(&self, body: impl Future<Output = T>) -> T {
        match self.try_run(body) {
            Ok(output) => output,
            Err(error) => panic!("{}", check::told(self, &error)),
        }
    }

    /// As [`Sim::run`], for a test that expects the failure.
    ///
    /// # Errors
    /// [`SimError`].
    pub fn try_run<T>(&self, body: impl Future<Output = T>) -> Result<T, SimError> {
        self.0.run(body)
    }

    /// The virtual time since the laboratory began.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.0.now()
    }

    /// Waits until the virtual clock shows so much later.
    pub async fn sleep(&self, duration: Duration) {
        let due = self.now().saturating_add(duration);
        door::Sleep::new(Arc::downgrade(&self.0), due).await;
    }

    /// Waits until nobody else can run at the present time: everything that was sent has been handled, and whoever is left waits for a timer, a
    /// packet, the body, or the end of a stall. The clock does not jump meanwhile.
    pub async fn settle(&self) {
        let mut asked = false;
        poll_fn(|context| {
            if asked {
                return Poll::Ready(());
            }
            asked = true;
            self.0.wake_when_idle(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// What may go wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        let now = self.now();
        let mut state = self.0.state.lock();
        for (at, fault) in &faults.planned {
            state.alarm((*at).max(now), Alarm::Strike(fault.clone()));
        }
        state.injector.set_plan(faults);
    }

    /// Most virtual time one turn of a task takes; each turn takes less or as much. By default 20 µs. Zero lets time pass only when nobody can
    /// run.
    pub fn set_turn_cost_max(&self, cost: Duration) {
        self.0.state.lock().turn_cost_max = cost;
    }

    /// Turns after which the laboratory gives up. By default a million.
    pub fn set_steps_max(&self, steps: u64) {
        self.0.state.lock().steps_max = steps;
    }

    /// Lets time pass in which nobody runs, as on a machine that was suspended.
    pub fn suspend(&self, duration: Duration) {
        self.0
            .say(&format!("everything stands still for {duration:?}"));
        self.0.time.set(self.now().saturating_add(duration));
    }

    /// The network between the systems, or whatever the nodes are to be.
    #[must_use]
    pub fn network(&self) -> Network {
        Network(Arc::downgrade(&self.0))
    }

    /// A number below `bound`, drawn for the test's own program; zero when the bound is zero.
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        self.0.state.lock().program.below(bound)
    }

    /// One of these, drawn for the test's own program.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn pick<T: Copy>(&self, among: &[T]) -> T {
        assert!(!among.is_empty(), "there is nothing to pick from");
        among[self.0.state.lock().program.index(among.len())]
    }

    /// `true` with this probability, drawn for the test's own program.
    #[must_use]
    pub fn chance(&self, probability: f64) -> bool {
        self.0.state.lock().program.chance(probability)
    }

    /// Writes a line into the trace. Pids in it are rewritten as the laboratory counts them.
    pub fn note(&self, line: &str) {
        self.0.say(line);
    }

    /// What the trace calls a process.
    #[must_use]
    pub fn name_of(&self, process: Pid) -> String {
        self.0.state.lock().recorder.name_of(process)
    }

    /// What has happened so far.
    #[must_use]
    pub fn trace(&self) -> Trace {
        self.0.state.lock().recorder.trace()
    }
}
