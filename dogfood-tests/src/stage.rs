//! The stage a suite plays on: its seed, its size, a system to attack, and the report it writes.

use std::future::Future;
use std::io::{IsTerminal, Write as _, stderr};
use std::sync::atomic::{AtomicIsize, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mesh_runtime::System;
use serde_json::Value;

use crate::plot::Plot;
use crate::report::{Report, Verdict, percentiles};
use crate::seed::Seed;
use crate::wait::PATIENCE;

/// A suite's hands. Cheap to clone; every clone is the same stage.
#[derive(Clone, Debug)]
pub struct Stage(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    seed: Mutex<Seed>,
    count: u64,
    workers: usize,
    report: Mutex<Report>,
    shows_progress: bool,
    shown: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stage {
    /// A stage for one run.
    #[must_use]
    pub fn new(report: Report, shows_progress: bool) -> Stage {
        Stage(Arc::new(Inner {
            seed: Mutex::new(Seed::new(report.seed)),
            count: report.count,
            workers: report.workers,
            report: Mutex::new(report),
            shows_progress,
            shown: AtomicU64::new(u64::MAX),
        }))
    }

    /// How large the run is to be, in the suite's unit; a share of it, and never less than `least`.
    #[must_use]
    pub fn count(&self, one_in: u64, least: u64) -> usize {
        usize::try_from((self.0.count / one_in).max(least)).unwrap_or(usize::MAX)
    }

    /// Threads for processes.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.0.workers
    }

    /// A generator of its own, for one scene or one process.
    #[must_use]
    pub fn seed(&self) -> Seed {
        lock(&self.0.seed).split()
    }

    /// What has been found so far.
    #[must_use]
    pub fn report(&self) -> Report {
        lock(&self.0.report).clone()
    }

    /// Notes a figure. It is reported and not judged.
    pub fn row(&self, what: &str, value: impl Into<Value>) {
        lock(&self.0.report)
            .rows
            .push((what.to_owned(), value.into()));
    }

    /// Notes durations as percentiles, and draws them.
    pub fn durations(&self, what: &str, taken: Vec<Duration>) {
        let plot = Plot::histogram(what, &taken);
        lock(&self.0.report).plots.push(plot);
        self.row(what, percentiles(taken));
    }

    /// Judges an invariant by the numbers of the guarantees it follows from.
    pub fn judge(
        &self,
        guarantee: &'static str,
        invariant: &'static str,
        holds: bool,
        seen: impl Into<String>,
    ) {
        lock(&self.0.report).verdicts.push(Verdict {
            guarantee,
            invariant,
            holds,
            seen: seen.into(),
        });
    }

    /// Draws the bar, on a terminal only.
    pub fn progress(&self, scene: &str, done: usize, of: usize) {
        let percent = (done * 100 / of.max(1)) as u64;
        if !self.0.shows_progress || self.0.shown.swap(percent, Ordering::Relaxed) == percent {
            return;
        }
        let mut err = stderr().lock();
        if !err.is_terminal() {
            if done == 0 {
                let _ = writeln!(err, "  … {scene}");
            }
            return;
        }
        let filled = usize::try_from(percent / 4).unwrap_or(25).min(25);
        let bar: String = "█".repeat(filled) + &"·".repeat(25 - filled);
        let _ = write!(err, "\r\x1b[K  {bar} {percent:>3} % {scene}");
        if percent >= 100 {
            let _ = write!(err, "\r\x1b[K");
        }
        let _ = err.flush();
    }

    /// Plays one scene on a system of its own; no workers means one thread for everything.
    ///
    /// # Panics
    /// When the scene does, or no thread can be had.
    pub fn scene<F, Fut>(&self, name: &str, workers: usize, play: F)
    where
        F: FnOnce(Stage, System) -> Fut,
        Fut: Future<Output = ()>,
    {
        self.progress(name, 0, 1);
        let runtime = if workers == 0 {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
        } else {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(workers)
                .enable_all()
                .build()
        }
        .expect("the machine has a thread left");
        runtime.block_on(async {
            let system = System::new();
            play(self.clone(), system.clone()).await;
            for process in system.inspect().processes {
                system.kill(process.pid);
            }
            let _ = system.shutdown(Duration::from_secs(5)).await;
        });
        runtime.shutdown_timeout(Duration::from_secs(5));
        self.progress(name, 1, 1);
    }
}

/// The time, by a clock that is not the runtime's.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Lets real time pass, on a timer that is not the runtime's.
pub async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Lets the other tasks run until the condition is true; `false` when it is not in a minute, however slow the machine.
pub async fn until(mut condition: impl FnMut() -> bool) -> bool {
    let start = now();
    let mut quick = 0;
    while !condition() {
        if start.elapsed() > PATIENCE {
            return false;
        }
        quick += 1;
        if quick < 100 {
            tokio::task::yield_now().await;
        } else {
            pause(Duration::from_millis(1)).await;
        }
    }
    true
}

/// The output of a future, or `None` when it is not ready in a minute, by a timer that is not the runtime's.
pub async fn within<F: Future>(future: F) -> Option<F::Output> {
    tokio::time::timeout(PATIENCE, future).await.ok()
}

/// Counts values that exist, to see that none is lost or dropped twice.
#[derive(Clone, Debug, Default)]
pub struct Census(Arc<AtomicIsize>);

/// One value that is counted while it lives.
#[derive(Debug)]
pub struct Counted(Arc<AtomicIsize>);

impl Census {
    /// A value that is counted from now on.
    #[must_use]
    pub fn enter(&self) -> Counted {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted(self.0.clone())
    }

    /// How many live.
    #[must_use]
    pub fn living(&self) -> isize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A counter shared by processes.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<AtomicU64>);

impl Tally {
    /// Adds one and returns what it was.
    #[expect(
        clippy::must_use_candidate,
        reason = "an act; its answer may be ignored"
    )]
    pub fn add(&self) -> u64 {
        self.0.fetch_add(1, Ordering::AcqRel)
    }

    /// How many.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}
