//! Many seeds for one test: run them, and on failure shrink, explain, and say how to do it again.

use std::fmt;
use std::fmt::Write as _;

use crate::entropy::{Entropy, OsEntropy, SeededEntropy};

use super::replay::Replay;
use super::shrink::shrink;
use super::{Sim, SimError, Trace};

/// Lines of the trace a failure shows.
const LINES_SHOWN: usize = 60;

/// Runs a test in this many laboratories, each with a seed of its own, fresh ones each time.
///
/// `MESH_SEED=N` runs that one seed instead, `MESH_SEEDS=N` another number of them. The test prints its first seed.
///
/// ```
/// use mesh_runtime::{Context, ReplyTo, sim};
///
/// async fn echo(mut cx: Context<ReplyTo<u8>>) {
///     loop {
///         cx.receive().await.reply(7);
///     }
/// }
///
/// sim::check(50, async |sim| {
///     let system = sim.system("one");
///     let echo = system.spawn(echo);
///     assert_eq!(echo.call(|to| to).await, Ok(7));
/// });
/// ```
///
/// # Panics
/// When the test fails under one of them: with the seed, the commit if `MESH_COMMIT` says it, the shrunk schedule, its trace and the command
/// that runs it again.
#[track_caller]
pub fn check(seeds: u64, test: impl AsyncFn(Sim)) {
    let check = Check::new(seeds);
    eprintln!("{check}");
    if let Err(failure) = check.run(test) {
        panic!("{failure}");
    }
}

/// How many seeds, which, and what to say when one fails. [`check`] is enough for a test.
#[derive(Clone, Debug)]
#[must_use = "a check that is not run checks nothing"]
pub struct Check {
    seeds: u64,
    base: u64,
    only: Option<Replay>,
    command: Option<String>,
}

/// A variable of the environment, through which a seed is chosen from outside.
#[expect(
    clippy::disallowed_methods,
    reason = "the door of the laboratory: a seed is replayed from the command line"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Check {
    /// So many fresh seeds, unless `MESH_SEED` or `MESH_SEEDS` say otherwise.
    ///
    /// # Panics
    /// When one of them is set to what is no seed or no number.
    pub fn new(seeds: u64) -> Check {
        let only = variable("MESH_SEED").map(|text| match text.parse() {
            Ok(replay) => replay,
            Err(error) => panic!("MESH_SEED: {error}"),
        });
        let seeds = variable("MESH_SEEDS")
            .map_or(seeds, |text| text.parse().expect("MESH_SEEDS is a number"));
        Check {
            seeds,
            base: OsEntropy::new().next_u64() >> 16,
            only,
            command: None,
        }
    }

    /// So many seeds, whatever `MESH_SEEDS` says.
    pub fn seeds(mut self, seeds: u64) -> Check {
        self.seeds = seeds;
        self
    }

    /// The seeds that follow from this number, always the same.
    pub fn base(mut self, base: u64) -> Check {
        self.base = base;
        self
    }

    /// One run only: a seed, or what a failure said to replay.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn only(mut self, replay: &str) -> Result<Check, String> {
        self.only = Some(replay.parse()?);
        Ok(self)
    }

    /// The command that runs the test again; `{}` stands for the seed. By default the one of the test's thread.
    pub fn command(mut self, command: &str) -> Check {
        self.command = Some(command.to_owned());
        self
    }

    /// The number all seeds follow from.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.base
    }

    /// Runs the test under each seed until it fails.
    ///
    /// # Errors
    /// The first failure, shrunk.
    pub fn run(&self, test: impl AsyncFn(Sim)) -> Result<u64, Box<Failure>> {
        let seeds = match self.only {
            Some(_) => 1,
            None => self.seeds,
        };
        for number in 0..seeds {
            let replay = match &self.only {
                Some(replay) => replay.clone(),
                None => Replay::of(seed_of(self.base, number)),
            };
            let sim = Sim::again(replay.clone());
            if let Err(error) = attempt(&sim, &test) {
                let (shrunk, error, sim) = match self.only {
                    Some(_) => (replay.clone(), error, sim),
                    None => shrink(&replay, error, sim, &test),
                };
                return Err(Box::new(Failure {
                    seed: replay.seed,
                    after: number,
                    command: command_for(self.command.as_deref(), &shrunk),
                    replay: shrunk.to_string(),
                    error,
                    trace: sim.trace(),
                }));
            }
        }
        Ok(seeds)
    }
}

impl fmt::Display for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.only {
            Some(replay) => write!(formatter, "laboratory: seed {replay}"),
            None => write!(
                formatter,
                "laboratory: {} seeds from {}",
                self.seeds, self.base
            ),
        }
    }
}

/// One run of the test.
pub(super) fn attempt(sim: &Sim, test: &impl AsyncFn(Sim)) -> Result<(), SimError> {
    sim.try_run(test(sim.clone()))
}

/// The seeds of one check: short enough to be read out.
fn seed_of(base: u64, number: u64) -> u64 {
    SeededEntropy::new(base.wrapping_add(number)).next_u64() >> 16
}

fn command_for(command: Option<&str>, replay: &Replay) -> String {
    if let Some(command) = command {
        return command.replace("{}", &replay.to_string());
    }
    let package = variable("CARGO_PKG_NAME").map_or(String::new(), |name| format!(" -p {name}"));
    let thread = std::thread::current();
    match thread.name() {
        Some(test) if test != "main" => {
            format!("MESH_SEED={replay} cargo test{package} --all-features -- --exact {test}")
        }
        _ => format!("MESH_SEED={replay}, and the same command"),
    }
}

/// The commit the program was built from, or the one who runs it says it is.
fn commit() -> Option<String> {
    variable("MESH_COMMIT").or_else(|| option_env!("MESH_COMMIT").map(str::to_owned))
}

/// A test that failed under one seed, in the smallest schedule that was found for it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// How many seeds held before it.
    pub after: u64,
    /// What runs it again: the seed, and which of its decisions count.
    pub replay: String,
    /// The command that does.
    pub command: String,
    /// What failed.
    pub error: SimError,
    /// What happened.
    pub trace: Trace,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "seed {} failed, {} before it held",
            self.seed, self.after
        )?;
        if self.replay != self.seed.to_string() {
            writeln!(formatter, "shrunk to {}", self.replay)?;
        }
        writeln!(formatter, "{}", self.error)?;
        tail(formatter, &self.trace)?;
        again(formatter, &self.command)
    }
}

impl std::error::Error for Failure {}

fn tail(out: &mut impl fmt::Write, trace: &Trace) -> fmt::Result {
    let lines = trace.tail(LINES_SHOWN);
    writeln!(out, "the last {} lines of its trace:", lines.len())?;
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))
}

fn again(out: &mut impl fmt::Write, command: &str) -> fmt::Result {
    if let Some(commit) = commit() {
        writeln!(out, "commit {commit}")?;
    }
    write!(out, "again with: {command}")
}

/// What [`Sim::run`] says of a failure.
pub(super) fn told(sim: &Sim, error: &SimError) -> String {
    let mut text = format!("seed {} failed\n{error}\n", sim.seed());
    let command = command_for(None, &sim.0.replay);
    // Writing to a string cannot fail.
    let _ = tail(&mut text, &sim.trace()).and_then(|()| again(&mut text, &command));
    let _ = write!(text, "");
    text
}
