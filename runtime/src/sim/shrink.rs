//! Shrinking: the same failure with fewer faults and fewer choices of order.

use std::collections::BTreeSet;

use super::check::attempt;
use super::faults::FaultKey;
use super::replay::Replay;
use super::{Sim, SimError};

/// Runs a shrinking may take.
const RUNS_MAX: u32 = 200;

struct Shrinker<'a, F> {
    test: &'a F,
    runs: u32,
    best: (Replay, SimError, Sim),
}

/// Leaves out what the failure does not need. The runs are as long as the one that failed, and there are at most 200.
pub(super) fn shrink(
    replay: &Replay,
    error: SimError,
    sim: Sim,
    test: &impl AsyncFn(Sim),
) -> (Replay, SimError, Sim) {
    let (faults, choices) = sim.0.decisions();
    let mut shrinker = Shrinker {
        test,
        runs: 0,
        best: (replay.clone(), error, sim),
    };
    shrinker.faults(faults);
    shrinker.choices(choices);
    shrinker.best
}

impl<F: AsyncFn(Sim)> Shrinker<'_, F> {
    /// Whether the failure is still there; then this is the best so far.
    fn fails(&mut self, replay: Replay) -> bool {
        if self.runs >= RUNS_MAX {
            return false;
        }
        self.runs += 1;
        let sim = Sim::again(replay.clone());
        match attempt(&sim, self.test) {
            Err(error) if error.is_like(&self.best.1) => {
                self.best = (replay, error, sim);
                true
            }
            _ => false,
        }
    }

    /// Leaves out faults: all, then halves, quarters, and so on down to single ones.
    ///
    /// Source: Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", 2002.
    fn faults(&mut self, all: Vec<FaultKey>) {
        let mut kept = all;
        let mut size = kept.len();
        while size > 0 {
            let mut start = 0;
            while start < kept.len() {
                let end = (start + size).min(kept.len());
                let without: Vec<FaultKey> = [&kept[..start], &kept[end..]].concat();
                let replay = Replay {
                    faults: Some(BTreeSet::from_iter(without.iter().copied())),
                    ..self.best.0.clone()
                };
                if self.fails(replay) {
                    kept = without;
                } else {
                    start = end;
                }
            }
            size /= 2;
        }
    }

    /// Halves the stretch in which the order is drawn, for as long as that fails too.
    fn choices(&mut self, all: u64) {
        let (mut passes, mut fails) = (0, all);
        let with = |replay: &Replay, choices| Replay {
            choices: Some(choices),
            ..replay.clone()
        };
        if self.fails(with(&self.best.0, 0)) {
            return;
        }
        while passes + 1 < fails {
            let middle = passes + (fails - passes) / 2;
            if self.fails(with(&self.best.0, middle)) {
                fails = middle;
            } else {
                passes = middle;
            }
        }
    }
}
