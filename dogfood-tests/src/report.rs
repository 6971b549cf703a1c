//! What a suite found: figures, a verdict for each invariant, and what the run cost; as text and as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::machine::Usage;
use crate::plot::Plot;

/// One invariant and whether it held.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The numbers of `runtime/docs/SEMANTICS.md` it attacks, such as `E1`.
    pub guarantee: &'static str,
    /// What must be true.
    pub invariant: &'static str,
    /// Whether it was.
    pub holds: bool,
    /// What was seen.
    pub seen: String,
}

/// The findings of one suite.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The suite's name.
    pub suite: &'static str,
    /// What it does, in one sentence.
    pub sentence: &'static str,
    /// What `DOGFOOD_SEED` must be to run it again.
    pub seed: u64,
    /// How large the run was, in the suite's own unit.
    pub count: u64,
    /// Threads that ran processes.
    pub workers: usize,
    /// Figures, in the order they were taken. They are reported and never judged.
    pub rows: Vec<(String, Value)>,
    /// Invariants, in the order they were judged.
    pub verdicts: Vec<Verdict>,
    /// What is drawn on the page.
    pub plots: Vec<Plot>,
    /// Failures in full: what failed, what led to it, and how to see it again.
    pub failures: Vec<String>,
    /// What the run cost.
    pub usage: Usage,
}

impl Report {
    /// Whether every invariant held, and there was one.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.verdicts.is_empty() && self.verdicts.iter().all(|verdict| verdict.holds)
    }

    /// The report as one JSON object.
    #[must_use]
    pub fn json(&self) -> Value {
        let figures: serde_json::Map<String, Value> = self.rows.iter().cloned().collect();
        let verdicts: Vec<Value> = self
            .verdicts
            .iter()
            .map(|verdict| {
                json!({
                    "guarantee": verdict.guarantee,
                    "invariant": verdict.invariant,
                    "holds": verdict.holds,
                    "seen": verdict.seen,
                })
            })
            .collect();
        json!({
            "suite": self.suite,
            "seed": self.seed,
            "count": self.count,
            "workers": self.workers,
            "holds": self.holds(),
            "figures": figures,
            "verdicts": verdicts,
            "plots": self.plots.iter().map(Plot::json).collect::<Vec<_>>(),
            "failures": self.failures,
            "usage": self.usage.json(),
        })
    }

    /// The report as a table for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        let usage = self.usage.json();
        let figures = self.rows.iter().map(|(what, value)| (what.as_str(), value));
        let costs = usage
            .as_object()
            .into_iter()
            .flatten()
            .map(|(what, value)| (what.as_str(), value));
        for (what, value) in figures.chain(costs) {
            let _ = writeln!(out, "  {what:<44} {}", shown(value));
        }
        for verdict in &self.verdicts {
            let word = if verdict.holds { "holds " } else { "BROKEN" };
            let _ = writeln!(
                out,
                "  {word} {:<8} {} ({})",
                verdict.guarantee, verdict.invariant, verdict.seen
            );
        }
        for failure in &self.failures {
            let _ = writeln!(out, "{failure}");
        }
        out
    }
}

pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| format!("{key} {}", shown(value)))
            .collect::<Vec<_>>()
            .join("  "),
        other => other.to_string(),
    }
}

/// Percentiles of durations, in microseconds.
#[must_use]
pub fn percentiles(mut taken: Vec<Duration>) -> Value {
    taken.sort_unstable();
    let at = |share: usize| {
        let index = (taken.len() * share / 1000).min(taken.len().saturating_sub(1));
        taken
            .get(index)
            .map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
    };
    json!({
        "n": taken.len(),
        "p50_us": at(500),
        "p90_us": at(900),
        "p99_us": at(990),
        "p999_us": at(999),
        "max_us": at(1000),
    })
}

#[cfg(test)]
mod tests {
    use super::{Report, Verdict, percentiles};
    use std::time::Duration;

    #[test]
    fn percentiles_are_those_of_the_sorted_list() {
        let value = percentiles((1..=1000).rev().map(Duration::from_micros).collect());
        assert_eq!(value["p50_us"], 501);
        assert_eq!(value["max_us"], 1000);
        assert_eq!(percentiles(Vec::new())["max_us"], 0);
    }

    #[test]
    fn report_without_a_verdict_or_with_a_broken_one_does_not_hold() {
        let mut report = Report::default();
        assert!(!report.holds());
        let verdict = Verdict {
            guarantee: "A1",
            invariant: "it holds",
            holds: true,
            seen: String::new(),
        };
        report.verdicts.push(verdict.clone());
        assert!(report.holds());
        report.verdicts.push(Verdict {
            holds: false,
            ..verdict
        });
        assert!(!report.holds());
        assert!(report.text().contains("BROKEN"));
        assert_eq!(report.json()["verdicts"][1]["holds"], false);
    }
}
