//! The rows of the table of bars, in its order, and after them those of the edges.

use crate::row::Row;

mod broadcast;
mod call;
mod call_many;
mod crash;
mod fan_in;
mod http;
mod idle_memory;
mod ping_under_flood;
mod pool_checkout;
mod registry;
mod ring;
mod slow_loris;
mod spawn_stop;
mod tell;
mod timer_cancel;
mod timer_insert;
mod timer_lateness;
mod timer_memory;
mod ws_fan_out;
mod ws_memory;

/// All rows.
pub(crate) const ROWS: [&Row; 21] = [
    &tell::ROW,
    &fan_in::ROW,
    &call::ROW,
    &call_many::ROW,
    &ring::ROW,
    &spawn_stop::ROW,
    &idle_memory::ROW,
    &timer_insert::ROW,
    &timer_cancel::ROW,
    &timer_memory::ROW,
    &timer_lateness::ROW,
    &crash::ROW,
    &broadcast::ROW,
    &registry::ROW,
    &ping_under_flood::ROW,
    &http::ROW,
    &ws_fan_out::ROW,
    &ws_memory::ROW,
    &pool_checkout::ROW,
    &slow_loris::MEMORY,
    &slow_loris::LATENCY,
];

/// A row by its id or its name.
pub(crate) fn find(word: &str) -> Option<&'static Row> {
    ROWS.into_iter()
        .find(|row| row.id == word || row.name == word)
}

#[cfg(test)]
mod tests {
    use super::{ROWS, find};
    use crate::row::{Against, OURS};

    #[test]
    fn every_row_runs_ours_and_whom_its_bars_name() {
        for row in ROWS {
            assert!(row.contender(OURS).is_some(), "{}", row.id);
            assert!(!row.bars.is_empty(), "{}", row.id);
            for bar in row.bars {
                let _ = row.figure(bar.figure);
                if let Against::Contender(name) = bar.against {
                    assert!(row.contender(name).is_some(), "{} names {name}", row.id);
                }
            }
        }
    }

    #[test]
    fn a_row_is_found_by_id_and_by_name() {
        for row in ROWS {
            assert_eq!(find(row.id).map(|found| found.name), Some(row.name));
            assert_eq!(find(row.name).map(|found| found.id), Some(row.id));
        }
        assert!(find("12").is_none());
    }
}
