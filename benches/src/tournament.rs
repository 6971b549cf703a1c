//! Who runs when: every contender once, then every contender again, so that a slow minute is slow for all.

use std::io;

use crate::child::{self, Erlang};
use crate::machine::Machine;
use crate::progress::Progress;
use crate::results::{Entry, RowResult};
use crate::row::{Contender, OURS, Row, Scale, Way};

/// What is to be run.
pub(crate) struct Plan<'a> {
    pub(crate) rows: &'a [&'static Row],
    pub(crate) pairs: usize,
    pub(crate) scale: Scale,
    /// Besides ours; nobody named is everybody.
    pub(crate) only: &'a [String],
    pub(crate) command: String,
}

/// Runs all rows, and gives each to `finished` when it is.
///
/// # Errors
/// When there is no folder for temporary files, and what `finished` fails with.
pub(crate) fn hold(
    plan: &Plan<'_>,
    mut finished: impl FnMut(&'static Row, RowResult) -> io::Result<()>,
) -> io::Result<()> {
    let engine = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let folder = std::env::temp_dir().join(format!("mesh-benches-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let erlang = Erlang::find(folder.clone());
    let runs = |row: &Row| {
        entrants(row, plan.only)
            .filter(|one| runs(one, &erlang))
            .count()
            * plan.pairs
    };
    let expected = plan
        .rows
        .iter()
        .map(|row| row.seconds * runs(row) as f64)
        .sum();
    let mut progress = Progress::new(expected);
    let mut outcome = Ok(());
    for (at, row) in plan.rows.iter().enumerate() {
        let place = format!("row {}/{} {}", at + 1, plan.rows.len(), row.name);
        let result = engine.block_on(hold_row(plan, row, &place, &erlang, &mut progress));
        progress.clear();
        outcome = finished(row, result);
        if outcome.is_err() {
            break;
        }
    }
    std::fs::remove_dir_all(&folder)?;
    outcome
}

fn entrants<'a>(row: &'a Row, only: &'a [String]) -> impl Iterator<Item = &'a Contender> {
    row.contenders.iter().filter(move |one| {
        only.is_empty() || one.name == OURS || only.iter().any(|name| name == one.name)
    })
}

fn runs(contender: &Contender, erlang: &Erlang) -> bool {
    match contender.way {
        Way::Run(_) => true,
        Way::Erlang(..) => erlang.is_here(),
        Way::Lacks(_) => false,
    }
}

async fn hold_row(
    plan: &Plan<'_>,
    row: &Row,
    place: &str,
    erlang: &Erlang,
    progress: &mut Progress,
) -> RowResult {
    let contenders: Vec<&Contender> = entrants(row, plan.only).collect();
    let entry = |contender: &&Contender| Entry {
        contender: contender.name.to_owned(),
        runs: Vec::new(),
        note: None,
    };
    let mut entries: Vec<Entry> = contenders.iter().map(entry).collect();
    for pair in 0..plan.pairs {
        for at in order(contenders.len(), pair) {
            let contender = contenders[at];
            let what = format!(
                "{place}, pair {}/{}, {}",
                pair + 1,
                plan.pairs,
                contender.name
            );
            progress.tell(&what, contender.name == OURS);
            let entry = &mut entries[at];
            // Whoever failed once is not asked again: it may have taken half a minute to.
            let figures = match &entry.note {
                Some(_) => None,
                None => match child::ask(row, contender, plan.scale, erlang).await {
                    Ok(figures) => Some(figures),
                    Err(why) => {
                        entry.note = Some(why);
                        None
                    }
                },
            };
            entry.runs.push(figures);
            if runs(contender, erlang) {
                progress.advance(row.seconds);
            }
        }
    }
    for entry in &mut entries {
        if entry.runs.iter().all(Option::is_none) {
            entry.runs.clear();
        }
    }
    RowResult {
        at: now(),
        machine: Machine::this(),
        command: plan.command.clone(),
        pairs: plan.pairs,
        entries,
    }
}

/// Forwards and backwards in turn: who is far from ours in time is not always later.
fn order(contenders: usize, pair: usize) -> Vec<usize> {
    let forwards = 0..contenders;
    if pair.is_multiple_of(2) {
        forwards.collect()
    } else {
        forwards.rev().collect()
    }
}

fn now() -> String {
    let now = jiff::Timestamp::try_from(std::time::SystemTime::now());
    now.map_or_else(
        |_| "?".to_owned(),
        |now| now.strftime("%Y-%m-%d %H:%MZ").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::order;

    #[test]
    fn the_order_turns_around() {
        assert_eq!(order(3, 0), [0, 1, 2]);
        assert_eq!(order(3, 1), [2, 1, 0]);
    }
}
