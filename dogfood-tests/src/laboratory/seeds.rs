//! Running the laboratory's programs on every processor, for a number of seeds each, until the first failure.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mesh_runtime::sim::Check;

use crate::laboratory::Program;
use crate::machine::{self, Usage};
use crate::plot::Curve;
use crate::report::{Report, Verdict};
use crate::seed::Seed;
use crate::stage;

/// Seeds between two looks at how far it is.
const BATCH: u64 = 20;

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which programs.
    pub programs: Vec<&'static Program>,
    /// How many seeds for each of them.
    pub seeds: u64,
    /// The number all seeds follow from.
    pub seed: u64,
    /// One run of each program, as a failure said.
    pub replay: Option<String>,
}

#[derive(Default)]
struct Progress {
    /// Seeds that held, by program.
    held: Vec<u64>,
    /// Seeds given out, by program.
    given: Vec<u64>,
    next: usize,
    failed: Option<(usize, String)>,
    memory: Curve,
    told: u64,
}

struct Run<'a> {
    plan: &'a Plan,
    start: Instant,
    progress: Mutex<Progress>,
    say: &'a (dyn Fn(&str) + Sync),
}

/// Runs the plan, and calls `say` with a line now and then.
///
/// # Errors
/// What is wrong with the text to replay.
pub fn run(plan: &Plan, say: &(dyn Fn(&str) + Sync)) -> Result<Report, String> {
    if let Some(replay) = &plan.replay {
        drop(Check::new(1).only(replay)?);
    }
    let cpu = machine::cpu_seconds();
    let all = Run {
        plan,
        start: stage::now(),
        progress: Mutex::new(Progress {
            held: vec![0; plan.programs.len()],
            given: vec![0; plan.programs.len()],
            ..Progress::default()
        }),
        say,
    };
    thread::scope(|scope| {
        for worker in 0..machine::processors() {
            let all = &all;
            // A thread that could not be had is made up for by the others.
            drop(
                thread::Builder::new()
                    .name(format!("seeds-{worker}"))
                    .spawn_scoped(scope, move || all.work()),
            );
        }
    });
    let wall = all.start.elapsed();
    let progress = all
        .progress
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let usage = Usage {
        wall_seconds: wall.as_secs_f64(),
        cpu_seconds: machine::cpu_seconds() - cpu,
        resident_bytes: machine::resident_bytes(),
        resident_bytes_max: machine::resident_bytes_max(),
        threads: machine::threads(),
    };
    Ok(report(plan, progress, usage, wall))
}

impl Run<'_> {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which program is next, and with which seeds.
    fn next(&self) -> Option<(usize, Check)> {
        let mut progress = self.lock();
        if progress.failed.is_some() {
            return None;
        }
        for _ in 0..self.plan.programs.len() {
            let place = progress.next % self.plan.programs.len();
            progress.next += 1;
            let given = progress.given[place];
            let batch = BATCH.min(self.plan.seeds - given);
            if batch == 0 {
                continue;
            }
            progress.given[place] += batch;
            // Each batch has a base of its own, far from the others.
            let base = Seed::new(self.plan.seed ^ (place as u64) << 56 ^ given).next_u64();
            let check = Check::new(batch).base(base).seeds(batch);
            return match &self.plan.replay {
                Some(replay) => Some((place, check.only(replay).expect("it was tried before"))),
                None => Some((place, check)),
            };
        }
        None
    }

    fn work(&self) {
        while let Some((place, check)) = self.next() {
            let outcome = self.plan.programs[place].run(check);
            let mut progress = self.lock();
            match outcome {
                Ok(held) => progress.held[place] += held,
                Err(failure) if progress.failed.is_none() => {
                    progress.failed = Some((place, failure.to_string()));
                }
                Err(_) => {}
            }
            self.tell(&mut progress);
        }
    }

    /// Samples the memory, and says how far it is, some twenty times in all.
    fn tell(&self, progress: &mut Progress) {
        let elapsed = self.start.elapsed();
        let resident = machine::resident_bytes() as f64;
        progress
            .memory
            .add(elapsed.as_secs_f64(), resident / f64::from(1 << 20));
        let all = self.plan.seeds * self.plan.programs.len() as u64;
        let done = progress.held.iter().sum::<u64>() * 20 / all.max(1);
        if done > progress.told {
            progress.told = done;
            (self.say)(&format!(
                "  {:>3} % {} seeds in {:.0} s, {:.0} MiB resident",
                done * 5,
                progress.held.iter().sum::<u64>(),
                elapsed.as_secs_f64(),
                resident / f64::from(1 << 20)
            ));
        }
    }
}

fn report(plan: &Plan, progress: Progress, usage: Usage, wall: Duration) -> Report {
    let mut report = Report {
        suite: "laboratory",
        sentence: "Random programs in the runtime's laboratory, each seed another one, compared with reference models.",
        seed: plan.seed,
        count: progress.given.iter().sum(),
        workers: machine::processors(),
        usage,
        ..Report::default()
    };
    let seconds = wall.as_secs_f64().max(0.001);
    let held: u64 = progress.held.iter().sum();
    report
        .rows
        .push(("seeds that held".to_owned(), held.into()));
    report.rows.push((
        "seeds a second".to_owned(),
        ((held as f64 / seconds).round() as u64).into(),
    ));
    for (place, program) in plan.programs.iter().enumerate() {
        let failure = progress
            .failed
            .as_ref()
            .filter(|(failed, _)| *failed == place);
        report.verdicts.push(Verdict {
            guarantee: program.guarantees,
            invariant: program.sentence,
            holds: failure.is_none() && progress.held[place] > 0,
            seen: format!("{}: {} seeds held", program.name, progress.held[place]),
        });
        report
            .failures
            .extend(failure.map(|(_, text)| text.clone()));
    }
    report
        .plots
        .push(progress.memory.plot("resident memory in MiB"));
    report
}

#[cfg(test)]
mod tests {
    use super::{Plan, run};
    use crate::laboratory::PROGRAMS;

    #[test]
    fn every_seed_of_the_plan_is_run_and_reported() {
        let plan = Plan {
            programs: PROGRAMS.iter().collect(),
            seeds: 25,
            seed: 7,
            replay: None,
        };
        let report = run(&plan, &|_| {}).expect("nothing is to be replayed");
        assert!(report.holds(), "{}", report.text());
        assert_eq!(report.count, 25 * PROGRAMS.len() as u64);
        assert_eq!(report.rows[0].1, 25 * PROGRAMS.len() as u64);
    }

    #[test]
    fn what_cannot_be_replayed_is_refused() {
        let plan = Plan {
            programs: PROGRAMS.iter().take(1).collect(),
            seeds: 1,
            seed: 7,
            replay: Some("seven".to_owned()),
        };
        assert!(run(&plan, &|_| {}).is_err());
    }
}
