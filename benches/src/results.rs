//! What was measured, as it is kept in `results.json`: every figure of every run.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::machine::Machine;

/// The rows that were ever run, by id.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) rows: BTreeMap<String, RowResult>,
}

/// The last run of one row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RowResult {
    /// When it ended: RFC 3339, to the minute.
    pub(crate) at: String,
    pub(crate) machine: Machine,
    pub(crate) command: String,
    pub(crate) pairs: usize,
    pub(crate) entries: Vec<Entry>,
}

/// One contender's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) contender: String,
    /// Pair by pair; none where the run failed or was not made.
    pub(crate) runs: Vec<Option<Vec<f64>>>,
    /// Why there are no runs, or no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

impl Entry {
    /// The median of a figure over the runs.
    pub(crate) fn median(&self, figure: usize) -> Option<f64> {
        median(
            self.runs
                .iter()
                .flatten()
                .filter_map(|run| run.get(figure).copied()),
        )
    }

    /// This entry's figure divided by another's, pair by pair.
    pub(crate) fn ratios(&self, other: &Entry, figure: usize) -> Vec<f64> {
        let pairs = self.runs.iter().zip(&other.runs);
        pairs
            .filter_map(|(ours, theirs)| {
                let (ours, theirs) = (ours.as_ref()?.get(figure)?, theirs.as_ref()?.get(figure)?);
                Some(ours / theirs)
            })
            .collect()
    }
}

impl RowResult {
    pub(crate) fn entry(&self, contender: &str) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|entry| entry.contender == contender)
    }
}

impl Results {
    /// What the file holds; nothing when there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is not ours.
    pub(crate) fn read(path: &Path) -> io::Result<Results> {
        match std::fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Results::default()),
            Err(error) => Err(error),
        }
    }

    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        std::fs::write(path, text)
    }
}

/// The middle value; of an even count the mean of the two in the middle.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Results, median};

    fn entry(runs: &[Option<f64>]) -> Entry {
        Entry {
            contender: "x".to_owned(),
            runs: runs
                .iter()
                .map(|run| run.map(|figure| vec![figure]))
                .collect(),
            note: None,
        }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median([]), None);
    }

    #[test]
    fn ratios_are_of_pairs_and_pass_over_failed_runs() {
        let ours = entry(&[Some(10.0), None, Some(2.0), Some(30.0)]);
        let theirs = entry(&[Some(10.0), Some(5.0), Some(1.0), Some(60.0)]);
        assert_eq!(ours.ratios(&theirs, 0), [1.0, 2.0, 0.5]);
        // The ratio of the medians would be 10 / 7.5.
        assert_eq!(median(ours.ratios(&theirs, 0)), Some(1.0));
        assert_eq!(ours.median(0), Some(10.0));
        assert!(ours.ratios(&theirs, 1).is_empty());
    }

    #[test]
    fn results_come_back_as_they_were_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("results.json");
        assert_eq!(
            Results::read(&path).expect("none is empty"),
            Results::default()
        );
        let results = crate::report::tests::sample();
        results.write(&path).expect("written");
        assert_eq!(Results::read(&path).expect("read"), results);
        std::fs::write(&path, "{").expect("written");
        assert!(Results::read(&path).is_err());
    }
}
