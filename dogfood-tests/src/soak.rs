//! For hours, round after round with fresh seeds: every suite on real threads, then the laboratory; memory and threads are watched from round
//! to round.

use std::time::{Duration, Instant};

use crate::laboratory::Program;
use crate::laboratory::seeds;
use crate::machine::{self, Usage};
use crate::plot::Curve;
use crate::report::{Report, Verdict};
use crate::seed::Seed;
use crate::stage;
use crate::suites::Suite;
use crate::wait;

/// A suite of a round is up to so many times as large as in `cargo test`: many rounds say more than few large ones.
const TIMES_MAX: u64 = 4;

/// Seeds of each of the laboratory's programs in a round.
const SEEDS: u64 = 200;

/// How far resident memory, as it is after a round, may rise from the second quarter of the time to the last: noise of the allocator, whose arenas
/// are filled unevenly, and no more.
const RISE_MAX: f64 = 1.1;
const RISE_MIB_MAX: f64 = 16.0;

/// Threads of the operating system that may be there after a round beyond those after the first.
const THREADS_MORE_MAX: u64 = 2;

/// Rounds without which a rise of memory says nothing.
const ROUNDS_MIN: u64 = 8;

/// How long threads may take to go after a round.
const PARTING: Duration = Duration::from_secs(10);

/// What to run, and for how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which suites.
    pub suites: Vec<&'static Suite>,
    /// Which programs of the laboratory.
    pub programs: Vec<&'static Program>,
    /// For how long. The round that has begun is played to its end.
    pub length: Duration,
    /// The number all seeds follow from.
    pub seed: u64,
}

/// What was seen so far.
#[derive(Default)]
struct Seen {
    rounds: u64,
    /// Rounds that held, by suite.
    held: Vec<u64>,
    /// Seeds of the laboratory that held.
    seeds: u64,
    failures: Vec<String>,
    memory: Curve,
    /// Threads after each round.
    threads: Vec<u64>,
}

/// Plays rounds until the time is over or something breaks, and calls `say` with a line after each.
#[must_use]
pub fn run(plan: &Plan, say: &(dyn Fn(&str) + Sync)) -> Report {
    let (start, cpu) = (stage::now(), machine::cpu_seconds());
    let mut seeds = Seed::new(plan.seed);
    let mut seen = Seen {
        held: vec![0; plan.suites.len()],
        ..Seen::default()
    };
    while seen.failures.is_empty() && (seen.rounds == 0 || start.elapsed() < plan.length) {
        seen.round(plan, &mut seeds);
        seen.look(start);
        say(&seen.line(plan, start));
    }
    let usage = Usage {
        wall_seconds: start.elapsed().as_secs_f64(),
        cpu_seconds: machine::cpu_seconds() - cpu,
        resident_bytes: machine::resident_bytes(),
        resident_bytes_max: machine::resident_bytes_max(),
        threads: machine::threads(),
    };
    seen.report(plan, usage)
}

impl Seen {
    /// Each suite once, in its turn, then the laboratory; until the first failure.
    fn round(&mut self, plan: &Plan, seeds: &mut Seed) {
        self.rounds += 1;
        for (place, suite) in plan.suites.iter().enumerate() {
            let seed = seeds.next_u64();
            let count = suite.count_small * (1 + seeds.below(TIMES_MAX));
            let report = suite.run(count, seed, false);
            if !report.holds() {
                self.failures.push(format!(
                    "round {}, {}; again with\n  cargo run -p dogfood-tests --release -- {} --count {count} --seed {seed}\n{}",
                    self.rounds,
                    suite.name,
                    suite.name,
                    report.text()
                ));
                return;
            }
            self.held[place] += 1;
        }
        if plan.programs.is_empty() {
            return;
        }
        let laboratory = seeds::Plan {
            programs: plan.programs.clone(),
            seeds: SEEDS,
            seed: seeds.next_u64(),
            replay: None,
        };
        match seeds::run(&laboratory, &|_| {}) {
            Ok(report) if report.holds() => self.seeds += report.count,
            Ok(report) => self.failures.extend(report.failures),
            Err(error) => self.failures.push(error),
        }
    }

    /// Notes what the program takes after a round.
    fn look(&mut self, start: Instant) {
        // A thread that has been told to end takes its time on a busy machine; one that stays is seen.
        let most = self.threads_max();
        let _ = wait::until("threads to go", PARTING, || match machine::threads() {
            threads if threads <= most => Ok(()),
            threads => Err(format!("{threads} threads")),
        });
        self.threads.push(machine::threads());
        let resident = machine::resident_bytes() as f64 / f64::from(1 << 20);
        self.memory.add(start.elapsed().as_secs_f64(), resident);
    }

    /// Threads there may be after a round.
    fn threads_max(&self) -> u64 {
        let first = self.threads.first().copied();
        first.map_or(u64::MAX, |first| first + THREADS_MORE_MAX)
    }

    fn line(&self, plan: &Plan, start: Instant) -> String {
        format!(
            "  round {:>4}, {:>6.0} of {:.0} s: {} suites and {} seeds {}, {:.0} MiB resident, {} threads",
            self.rounds,
            start.elapsed().as_secs_f64(),
            plan.length.as_secs_f64(),
            self.held.iter().sum::<u64>(),
            self.seeds,
            if self.failures.is_empty() {
                "held"
            } else {
                "held, then one broke"
            },
            machine::resident_bytes() as f64 / f64::from(1 << 20),
            self.threads.last().unwrap_or(&0),
        )
    }

    fn report(self, plan: &Plan, usage: Usage) -> Report {
        let mut report = Report {
            suite: "soak",
            sentence: "Every suite on real threads and the laboratory's programs, round after round with fresh seeds.",
            seed: plan.seed,
            count: self.rounds,
            workers: machine::processors(),
            usage,
            ..Report::default()
        };
        for (suite, held) in plan.suites.iter().zip(&self.held) {
            report
                .rows
                .push((format!("rounds of {}", suite.name), (*held).into()));
        }
        report
            .rows
            .push(("seeds of the laboratory".to_owned(), self.seeds.into()));
        report.verdicts.push(Verdict {
            guarantee: "–",
            invariant: "every suite and every seed of every round held",
            holds: self.failures.is_empty(),
            seen: format!(
                "{} rounds, {} runs of suites, {} seeds",
                self.rounds,
                self.held.iter().sum::<u64>(),
                self.seeds
            ),
        });
        let (first, most) = (
            self.threads.first().copied().unwrap_or(0),
            self.threads.iter().copied().max().unwrap_or(0),
        );
        report.verdicts.push(Verdict {
            guarantee: "A20",
            invariant: "no more than two threads are there after any round that were not there after the first",
            holds: most <= first + THREADS_MORE_MAX,
            seen: format!("{first}, and {most} at most"),
        });
        if self.rounds >= ROUNDS_MIN {
            report.verdicts.push(memory_verdict(&self.memory));
        }
        report.failures = self.failures;
        report
            .plots
            .push(self.memory.plot("resident memory after each round, in MiB"));
        report
    }
}

/// Whether memory stays where it is after the first rounds, which fill caches and the allocator's arenas.
fn memory_verdict(memory: &Curve) -> Verdict {
    let (before, after) = (memory.highest(0.25, 0.5), memory.highest(0.75, 1.0));
    Verdict {
        guarantee: "A17 A20",
        invariant: "resident memory after a round does not rise from the second quarter to the last, but for a tenth or 16 MiB",
        holds: after <= (before * RISE_MAX).max(before + RISE_MIB_MAX),
        seen: format!("{before:.1} MiB, then {after:.1} MiB"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Plan, memory_verdict, run};
    use crate::laboratory::Program;
    use crate::plot::Curve;
    use crate::suites::Suite;

    #[test]
    fn a_round_plays_what_is_planned_and_is_told() {
        let plan = Plan {
            suites: Suite::named("registry").into_iter().collect(),
            programs: Program::named("timers").into_iter().collect(),
            length: Duration::ZERO,
            seed: 7,
        };
        let told = std::sync::Mutex::new(Vec::new());
        let report = run(&plan, &|line| {
            told.lock()
                .expect("nobody panics with it")
                .push(line.to_owned());
        });
        assert!(report.holds(), "{}", report.text());
        assert_eq!(report.count, 1, "a round that has begun is played");
        assert_eq!(report.rows[0].1, 1);
        assert_eq!(report.rows[1].1, 200);
        assert_eq!(told.into_inner().expect("nobody panics with it").len(), 1);
    }

    #[test]
    fn memory_that_grows_round_by_round_is_judged() {
        let grown = |each: f64| {
            let mut memory = Curve::default();
            for round in 0..40_u32 {
                memory.add(f64::from(round), 100.0 + each * f64::from(round));
            }
            memory_verdict(&memory)
        };
        assert!(grown(0.5).holds, "noise");
        assert!(!grown(2.0).holds, "a leak");
    }
}
