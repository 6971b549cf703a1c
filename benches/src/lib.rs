//! What every bench shares: two sides measured in pairs, interleaved, and the median of their ratios.

use std::future::Future;
use std::time::Instant;

use tokio::runtime::Runtime;

/// How many pairs a comparison runs; odd, so that the median is one of them.
pub const PAIRS: usize = 7;

/// One comparison: operations a second of two sides, pair by pair.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    ours: Vec<f64>,
    raw: Vec<f64>,
}

impl Comparison {
    /// Runs `PAIRS` pairs; each side does `operations` operations a run and is timed by the clock on the wall.
    pub fn run<A, B>(
        runtime: &Runtime,
        operations: u32,
        ours: impl Fn() -> A,
        raw: impl Fn() -> B,
    ) -> Self
    where
        A: Future<Output = ()>,
        B: Future<Output = ()>,
    {
        let mut comparison = Self::default();
        // One run of each that is not counted: caches, the allocator and the clock's frequency settle.
        timed(runtime, operations, ours());
        timed(runtime, operations, raw());
        for _ in 0..PAIRS {
            comparison.ours.push(timed(runtime, operations, ours()));
            comparison.raw.push(timed(runtime, operations, raw()));
        }
        comparison
    }

    /// The median of the pairs' ratios, ours to raw; above 1 ours is faster.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        median(
            self.ours
                .iter()
                .zip(&self.raw)
                .map(|(ours, raw)| ours / raw)
                .collect(),
        )
    }

    /// Prints one line: the medians of both sides, in operations a second and nanoseconds each, and the ratio.
    pub fn print(&self, question: &str) {
        let (ours, raw) = (median(self.ours.clone()), median(self.raw.clone()));
        println!(
            "{question}: ours {ours:.0}/s ({:.0} ns), raw {raw:.0}/s ({:.0} ns), ratio {:.2} (median of {PAIRS} pairs)",
            1e9 / ours,
            1e9 / raw,
            self.ratio()
        );
    }
}

/// The engine as the product runs it: one worker a core.
///
/// # Panics
/// When the system gives no threads.
#[must_use]
pub fn runtime() -> Runtime {
    Runtime::new().expect("the system gives threads")
}

fn timed(runtime: &Runtime, operations: u32, work: impl Future<Output = ()>) -> f64 {
    let start = Instant::now();
    runtime.block_on(work);
    f64::from(operations) / start.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::{Comparison, median};

    #[test]
    fn the_ratio_is_of_pairs_not_of_medians() {
        let comparison = Comparison {
            ours: vec![10.0, 2.0, 30.0],
            raw: vec![10.0, 1.0, 60.0],
        };
        assert!((comparison.ratio() - 1.0).abs() < f64::EPSILON);
        assert!(median(Vec::new()).is_nan());
    }
}
