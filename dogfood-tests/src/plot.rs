//! What a report draws: histograms of durations and curves over time, as numbers.

use std::time::Duration;

use serde_json::{Value, json};

/// Points a curve keeps; with more, every second one is left out.
const POINTS_MAX: usize = 600;

/// One drawing.
#[derive(Clone, Debug, PartialEq)]
pub enum Plot {
    /// How many durations fell between two powers of two of a microsecond.
    Histogram {
        /// What was measured.
        title: String,
        /// The upper end of each bucket in microseconds, and how many fell into it.
        buckets: Vec<(u64, u64)>,
    },
    /// A value over time.
    Curve {
        /// What was measured, with its unit.
        title: String,
        /// Seconds since the start, and the value.
        points: Vec<(f64, f64)>,
    },
}

impl Plot {
    /// A histogram of durations.
    #[must_use]
    pub fn histogram(title: &str, taken: &[Duration]) -> Plot {
        let mut buckets: Vec<(u64, u64)> = Vec::new();
        for duration in taken {
            let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX >> 1);
            let place = (u64::BITS - micros.leading_zeros()) as usize;
            while buckets.len() <= place {
                buckets.push((1_u64 << buckets.len(), 0));
            }
            buckets[place].1 += 1;
        }
        Plot::Histogram {
            title: title.to_owned(),
            buckets,
        }
    }

    /// The plot as one JSON object.
    #[must_use]
    pub fn json(&self) -> Value {
        match self {
            Plot::Histogram { title, buckets } => json!({"histogram": title, "below_us": buckets}),
            Plot::Curve { title, points } => json!({"curve": title, "points": points}),
        }
    }
}

/// A curve that is being taken; it stays small however long that takes.
#[derive(Clone, Debug)]
pub struct Curve {
    points: Vec<(f64, f64)>,
    /// One of so many samples is kept.
    one_in: usize,
    seen: usize,
}

impl Default for Curve {
    fn default() -> Curve {
        Curve {
            points: Vec::new(),
            one_in: 1,
            seen: 0,
        }
    }
}

impl Curve {
    /// Takes a sample.
    pub fn add(&mut self, seconds: f64, value: f64) {
        self.seen += 1;
        if !self.seen.is_multiple_of(self.one_in) {
            return;
        }
        self.points.push((seconds, value));
        if self.points.len() > POINTS_MAX {
            let mut keep = false;
            self.points.retain(|_| {
                keep = !keep;
                keep
            });
            self.one_in *= 2;
        }
    }

    /// The highest value in a share of the time, both from 0 to 1.
    #[must_use]
    pub fn highest(&self, from: f64, to: f64) -> f64 {
        let end = self.points.last().map_or(0.0, |(seconds, _)| *seconds);
        let inside = |(seconds, _): &&(f64, f64)| *seconds >= end * from && *seconds <= end * to;
        let values = self.points.iter().filter(inside).map(|(_, value)| *value);
        values.fold(0.0, f64::max)
    }

    /// The curve as a plot.
    #[must_use]
    pub fn plot(self, title: &str) -> Plot {
        Plot::Curve {
            title: title.to_owned(),
            points: self.points,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Curve, Plot};
    use std::time::Duration;

    #[test]
    fn durations_fall_between_powers_of_two() {
        let taken = [0, 1, 2, 3, 4, 1000].map(Duration::from_micros);
        let Plot::Histogram { buckets, .. } = Plot::histogram("x", &taken) else {
            panic!("a histogram is one");
        };
        assert_eq!(buckets[..4], [(1, 1), (2, 1), (4, 2), (8, 1)]);
        assert_eq!(buckets.last(), Some(&(1024, 1)));
        let sum: u64 = buckets.iter().map(|(_, count)| count).sum();
        assert_eq!(sum, 6);
    }

    #[test]
    fn curve_stays_small_and_keeps_its_shape() {
        let mut curve = Curve::default();
        for second in 0..100_000 {
            curve.add(f64::from(second), f64::from(second));
        }
        assert!(curve.points.len() <= 601, "{}", curve.points.len());
        assert!(curve.highest(0.0, 0.5) > 40_000.0 && curve.highest(0.0, 0.5) <= 50_000.0);
        assert!(curve.highest(0.5, 1.0) > 90_000.0);
    }
}
