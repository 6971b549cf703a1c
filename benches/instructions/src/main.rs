//! Counts the machine instructions of the runtime's hot paths under callgrind, and compares them with the committed baseline.
//!
//! A path is run twice, with N and with 2N operations; the difference is N operations, without start and end. One thread and a clock that
//! stands still make the counts the same in every run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde::{Deserialize, Serialize};

mod paths;

use paths::{Named, PATHS};

const USAGE: &str = "\
Counts the instructions of the runtime's hot paths under valgrind's callgrind.

  cargo run -p instructions --profile instructions            compares with benches/instructions.json
  cargo run -p instructions --profile instructions -- renew   writes benches/instructions.json anew
";

/// More than this share above the baseline fails.
const MORE_MAX: f64 = 0.05;

/// Operations of the smaller of the two runs.
const OPERATIONS: u64 = 2_000;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [] => compare(),
        ["renew"] => renew(),
        ["run", path, operations] => return run(path, operations),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Under callgrind: one path, so many operations.
fn run(path: &str, operations: &str) -> ExitCode {
    let path = PATHS.iter().find(|(name, _)| *name == path);
    let (Some((_, run)), Ok(operations)) = (path, operations.parse()) else {
        return ExitCode::from(2);
    };
    run(operations);
    ExitCode::SUCCESS
}

/// Instructions an operation, by path.
type Counts = BTreeMap<String, f64>;

/// What `benches/instructions.json` holds.
#[derive(Debug, Serialize, Deserialize)]
struct Baseline {
    /// Another compiler, or another kind of processor, makes other instructions.
    built: String,
    counts: Counts,
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../instructions.json")
}

fn read() -> Result<Baseline, String> {
    let text = std::fs::read_to_string(file()).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

/// The compiler on this machine and the processor it is for.
fn built() -> String {
    let told = Command::new("rustc").arg("--version").output();
    let rustc = told.map_or_else(
        |_| "rustc".to_owned(),
        |told| String::from_utf8_lossy(&told.stdout).trim().to_owned(),
    );
    format!("{rustc}, {}", std::env::consts::ARCH)
}

fn compare() -> Result<bool, String> {
    let baseline = read()?;
    let (table, within) = compared(&baseline.counts, &measure()?);
    println!("{table}");
    if baseline.built != built() {
        println!(
            "note: instructions are not compared: the baseline is of {}, this is {}",
            baseline.built,
            built()
        );
        return Ok(true);
    }
    if !within {
        println!(
            "More than {:.0} % above the baseline. If that is meant, renew it and say why in the commit:\n  \
             cargo run -p instructions --profile instructions -- renew",
            MORE_MAX * 100.0
        );
    }
    Ok(within)
}

fn renew() -> Result<bool, String> {
    let baseline = Baseline {
        built: built(),
        counts: measure()?,
    };
    let mut text = serde_json::to_string_pretty(&baseline).map_err(|error| error.to_string())?;
    text.push('\n');
    std::fs::write(file(), &text).map_err(|error| error.to_string())?;
    print!("{text}");
    Ok(true)
}

/// A line for each path, and whether all are within the baseline. A path without a baseline is not.
fn compared(baseline: &Counts, counts: &Counts) -> (String, bool) {
    let (mut table, mut within) = (
        String::from("path             before    now  change\n"),
        true,
    );
    for (path, now) in counts {
        let line = match baseline.get(path) {
            Some(before) => {
                let change = now / before - 1.0;
                let fits = change <= MORE_MAX;
                within &= fits;
                let mark = if fits { "" } else { "  too many" };
                format!(
                    "{path:<15} {before:>7.0} {now:>6.0} {:>+6.1} %{mark}\n",
                    change * 100.0
                )
            }
            None => {
                within = false;
                format!("{path:<15} {:>7} {now:>6.0}           no baseline\n", "–")
            }
        };
        table.push_str(&line);
    }
    (table, within)
}

fn measure() -> Result<Counts, String> {
    let count = |(name, _): &Named| {
        let once = collected(name, OPERATIONS)?;
        let twice = collected(name, 2 * OPERATIONS)?;
        let each = twice.saturating_sub(once) as f64 / OPERATIONS as f64;
        // Tenths, so that the file does not change with every run.
        Ok(((*name).to_owned(), (each * 10.0).round() / 10.0))
    };
    PATHS.iter().map(count).collect()
}

/// Instructions of one whole run of this program under callgrind.
fn collected(path: &str, operations: u64) -> Result<u64, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(own)
        .args(["run", path, &operations.to_string()])
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{path} failed:\n{told}"));
    }
    instructions(&told).ok_or_else(|| format!("callgrind told no count for {path}:\n{told}"))
}

/// The number in callgrind's line `==1== Collected : 123`.
fn instructions(told: &str) -> Option<u64> {
    let line = told.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(':').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Counts, PATHS, compared, instructions};

    fn counts(pairs: &[(&str, f64)]) -> Counts {
        pairs
            .iter()
            .map(|(path, count)| ((*path).to_owned(), *count))
            .collect()
    }

    #[test]
    fn five_percent_more_is_within_and_six_is_not() {
        let before = counts(&[("send", 100.0)]);
        assert!(compared(&before, &counts(&[("send", 104.9)])).1);
        assert!(compared(&before, &counts(&[("send", 50.0)])).1);
        let (table, within) = compared(&before, &counts(&[("send", 106.0)]));
        assert!(!within && table.contains("+6.0 %  too many"), "{table}");
    }

    #[test]
    fn a_path_without_a_baseline_fails() {
        assert!(!compared(&Counts::new(), &counts(&[("send", 1.0)])).1);
    }

    #[test]
    fn callgrind_is_understood() {
        let told = "==7== Events    : Ir\n==7== Collected : 1234\n==7==\n";
        assert_eq!(instructions(told), Some(1_234));
        assert_eq!(instructions("nothing"), None);
    }

    #[test]
    fn every_path_does_its_work_and_has_a_baseline() {
        let baseline = super::read().expect("it is committed").counts;
        for (name, run) in PATHS {
            run(7);
            assert!(baseline.contains_key(name), "{name}");
        }
        assert_eq!(baseline.len(), PATHS.len());
    }
}
