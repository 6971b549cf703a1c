//! The suites that attack the runtime through its public interface, and how one is run.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::machine::{self, Usage};
use crate::plot::Curve;
use crate::report::Report;
use crate::stage::{self, Stage};

mod jobs;
mod links;
mod mailboxes;
mod memory;
mod pool;
mod registry;
mod rooms;
mod scheduler;
mod services;
mod shutdown;
pub(crate) mod supervision;
mod timers;

/// No run takes longer; one that does hangs, which is a broken promise too.
const RUN_TIME_MAX: Duration = Duration::from_secs(900);

/// How often the memory is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);

/// The same for a run of `cargo test`, which takes seconds where nothing else runs.
const SMALL_RUN_TIME_MAX: Duration = Duration::from_secs(600);

/// A suite: what it is called, what it does, and how large it is.
#[derive(Clone, Copy, Debug)]
pub struct Suite {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub sentence: &'static str,
    /// What `--count` counts.
    pub unit: &'static str,
    /// The count of an optimised build, where memory allows.
    pub count: u64,
    /// The count of `cargo test`.
    pub count_small: u64,
    /// Memory one of these may take at the worst, in bytes.
    pub bytes_each: u64,
    play: fn(&Stage),
}

/// Every suite, in the order `all` runs them. Memory comes first, while the heap is fresh.
pub const SUITES: &[Suite] = &[
    Suite {
        name: "memory",
        sentence: "Starts and ends processes, and panics in every callback, until a leak would show.",
        unit: "processes started and ended in each half",
        count: 1_000_000,
        count_small: 10_000,
        bytes_each: 0,
        play: memory::play,
    },
    Suite {
        name: "timers",
        sentence: "Fills one wheel with timers, sleepers and intervals, cancels some, and watches that each fires once and never early.",
        unit: "timers pending at once",
        count: 1_000_000,
        count_small: 20_000,
        bytes_each: 600,
        play: timers::play,
    },
    Suite {
        name: "scheduler",
        sentence: "Sets hogs and blockers on the workers, kills busy and waiting processes, and watches that nobody starves.",
        unit: "idle processes among which one is woken",
        count: 100_000,
        count_small: 2_000,
        bytes_each: 4_000,
        play: scheduler::play,
    },
    Suite {
        name: "mailboxes",
        sentence: "Floods mailboxes ten to one under every policy and accounts for each message.",
        unit: "messages in each flood",
        count: 1_000_000,
        count_small: 10_000,
        bytes_each: 200,
        play: mailboxes::play,
    },
    Suite {
        name: "supervision",
        sentence: "Crashes supervised trees in every way under every strategy and compares each start and stop with a model of OTP's.",
        unit: "crashes",
        count: 10_000,
        count_small: 400,
        bytes_each: 4_000,
        play: supervision::play,
    },
    Suite {
        name: "links",
        sentence: "Sends exit storms through rings, stars and unlink races, and counts every signal and Down.",
        unit: "linked or monitored processes",
        count: 100_000,
        count_small: 2_000,
        bytes_each: 4_000,
        play: links::play,
    },
    Suite {
        name: "services",
        sentence: "Calls services that answer, stall, hand on, drop, panic and die, and checks that each call resolves once, with its own answer.",
        unit: "calls",
        count: 500_000,
        count_small: 4_000,
        bytes_each: 1_000,
        play: services::play,
    },
    Suite {
        name: "rooms",
        sentence: "Broadcasts while members join, leave, die and stop reading, and accounts for each frame.",
        unit: "broadcasts",
        count: 20_000,
        count_small: 1_000,
        bytes_each: 2_000,
        play: rooms::play,
    },
    Suite {
        name: "registry",
        sentence: "Lets many processes fight for few names and die with them, and checks that a name has one holder and no ghost.",
        unit: "attempts to take a name",
        count: 200_000,
        count_small: 4_000,
        bytes_each: 100,
        play: registry::play,
    },
    Suite {
        name: "jobs",
        sentence: "Awaits jobs in any order, late, panicking and orphaned, and checks that each result is its own.",
        unit: "jobs",
        count: 100_000,
        count_small: 2_000,
        bytes_each: 4_000,
        play: jobs::play,
    },
    Suite {
        name: "pool",
        sentence: "Lets many processes contend for few connections to a real PostgreSQL, breaks transactions off, restarts the server, and compares the rows with what was acknowledged.",
        unit: "transactions",
        count: 20_000,
        count_small: 400,
        bytes_each: 0,
        play: pool::play,
    },
    Suite {
        name: "shutdown",
        sentence: "Stops a system in which everything waits for something that never comes.",
        unit: "processes that wait",
        count: 50_000,
        count_small: 1_000,
        bytes_each: 4_000,
        play: shutdown::play,
    },
];

impl Suite {
    /// The suite of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Suite> {
        SUITES.iter().find(|suite| suite.name == name)
    }

    /// The count for this machine and build: a quarter of the free memory at most, a twentieth without optimisation.
    #[must_use]
    pub fn count_here(&self) -> u64 {
        let room = machine::available_bytes() / 4;
        let fits = room.checked_div(self.bytes_each).unwrap_or(self.count);
        let build = if cfg!(debug_assertions) { 20 } else { 1 };
        (self.count.min(fits.max(self.count_small)) / build).max(self.count_small)
    }

    /// Runs the suite. It ends also when the runtime hangs: then that is the verdict.
    #[must_use]
    pub fn run(&'static self, count: u64, seed: u64, shows_progress: bool) -> Report {
        quiet_panics();
        let stage = Stage::new(
            Report {
                suite: self.name,
                sentence: self.sentence,
                seed,
                count,
                workers: machine::processors().max(2),
                ..Report::default()
            },
            shows_progress,
        );
        let (start, cpu) = (stage::now(), machine::cpu_seconds());
        let (done, ended) = mpsc::channel();
        let hand = stage.clone();
        thread::spawn(move || {
            (self.play)(&hand);
            // Nobody listens once the suite has been given up.
            let _ = done.send(());
        });
        let limit = if count <= self.count_small {
            SMALL_RUN_TIME_MAX
        } else {
            RUN_TIME_MAX
        };
        let mut memory = Curve::default();
        let outcome = loop {
            let seconds = start.elapsed().as_secs_f64();
            memory.add(
                seconds,
                machine::resident_bytes() as f64 / f64::from(1 << 20),
            );
            match ended.recv_timeout(SAMPLE_EVERY.min(limit)) {
                Err(mpsc::RecvTimeoutError::Timeout) if start.elapsed() < limit => {}
                outcome => break outcome,
            }
        };
        let seen = match outcome {
            Ok(()) => "ended".to_owned(),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                format!("gave up after {} s", limit.as_secs())
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                "the suite itself panicked, see above".to_owned()
            }
        };
        stage.judge("–", "the suite runs to its end", outcome.is_ok(), seen);
        let mut report = stage.report();
        report.plots.push(memory.plot("resident memory in MiB"));
        Report {
            usage: Usage {
                wall_seconds: start.elapsed().as_secs_f64(),
                cpu_seconds: machine::cpu_seconds() - cpu,
                resident_bytes: machine::resident_bytes(),
                resident_bytes_max: machine::resident_bytes_max(),
                threads: machine::threads(),
            },
            ..report
        }
    }

    /// Runs the suite small, prints its report, and panics when an invariant is broken: the suite as a test.
    ///
    /// # Panics
    /// When an invariant is broken.
    pub fn test(name: &str) {
        let suite = Suite::named(name).expect("a suite has this name");
        let seed = crate::seed::Seed::from_env().number();
        let report = suite.run(suite.count_small, seed, false);
        println!("{name}: DOGFOOD_SEED={seed}\n{}", report.text());
        assert!(
            report.holds(),
            "{name} broke an invariant; again with DOGFOOD_SEED={seed}"
        );
    }
}

/// The suites panic a million times on purpose: with a subscriber set, the runtime logs instead of printing each.
fn quiet_panics() {
    // An error means that somebody has set one already, which does as well.
    let _ = tracing::subscriber::set_global_default(tracing::subscriber::NoSubscriber::new());
}
