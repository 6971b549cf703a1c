//! Counters of fates: how many events of a project and hour ended how, and why; and how many were accepted, which is no fate and only for
//! holding the others against.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::{Error, GenericClient, ToStatement};
use uuid::Uuid;

use crate::domain::{Outcome, ProjectId};

pub(crate) const STATEMENTS: &[&str] = &[ADD, TOTALS, HOURS];

pub(crate) const ADD: &str = "INSERT INTO outcomes (project_id, hour, outcome, reason, quantity) \
     SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::int8[]) \
     ON CONFLICT (project_id, hour, outcome, reason) DO UPDATE SET quantity = outcomes.quantity + excluded.quantity";
const TOTALS: &str = "SELECT outcome, reason, sum(quantity)::int8 FROM outcomes \
     WHERE project_id = $1 AND hour >= $2 AND hour < $3 AND outcome <> 'accepted' GROUP BY outcome, reason ORDER BY outcome, reason";

const HOURS: &str = "SELECT hour, outcome, reason, quantity FROM outcomes \
     WHERE project_id = $1 AND hour >= $2 AND hour < $3 AND quantity > 0 AND outcome <> 'accepted' ORDER BY hour, outcome, reason";

/// A number of events with one fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeCount {
    /// Whose they are.
    pub project_id: ProjectId,
    /// When they came; counted by the hour.
    pub at: Timestamp,
    /// How they ended.
    pub outcome: Outcome,
    /// Why, from a closed list; may be empty.
    pub reason: String,
    /// How many.
    pub quantity: u64,
}

/// One line of [`totals`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OutcomeTotal {
    /// How they ended.
    pub outcome: String,
    /// Why; may be empty.
    pub reason: String,
    /// How many.
    pub quantity: i64,
}

/// Adds counts, by [`ADD`]. Rows are written in one order by everybody, so that no two writers wait for each other.
///
/// # Errors
///
/// What the database says.
pub(crate) async fn add(
    client: &impl GenericClient,
    statement: &(impl ToStatement + ?Sized + Sync + Send),
    counts: &[OutcomeCount],
) -> Result<(), Error> {
    let mut sums: BTreeMap<(Uuid, Timestamp, &'static str, &str), i64> = BTreeMap::new();
    for count in counts {
        let key = (
            count.project_id.into_uuid(),
            hour(count.at),
            count.outcome.as_str(),
            count.reason.as_str(),
        );
        let sum = sums.entry(key).or_default();
        *sum = sum.saturating_add(i64::try_from(count.quantity).unwrap_or(i64::MAX));
    }
    if sums.is_empty() {
        return Ok(());
    }
    let projects: Vec<Uuid> = sums.keys().map(|key| key.0).collect();
    let hours: Vec<Timestamp> = sums.keys().map(|key| key.1).collect();
    let outcomes: Vec<&str> = sums.keys().map(|key| key.2).collect();
    let reasons: Vec<&str> = sums.keys().map(|key| key.3).collect();
    let quantities: Vec<i64> = sums.values().copied().collect();
    client
        .execute(
            statement,
            &[&projects, &hours, &outcomes, &reasons, &quantities],
        )
        .await?;
    Ok(())
}

/// How a project's events of a span of time (from, until) ended.
///
/// # Errors
///
/// What the database says.
pub async fn totals(
    client: &impl GenericClient,
    project: ProjectId,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<OutcomeTotal>, Error> {
    let rows = client
        .query(TOTALS, &[&project.into_uuid(), &from, &until])
        .await?;
    Ok(rows
        .iter()
        .map(|row| OutcomeTotal {
            outcome: row.get(0),
            reason: row.get(1),
            quantity: row.get(2),
        })
        .collect())
}

/// One line of [`hours`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OutcomeHour {
    /// The beginning of the hour, of UTC.
    pub hour: Timestamp,
    /// How they ended.
    pub outcome: String,
    /// Why; may be empty.
    pub reason: String,
    /// How many.
    pub quantity: i64,
}

/// How a project's events of a span of time (from, until) ended, by hour.
///
/// # Errors
///
/// What the database says.
pub async fn hours(
    client: &impl GenericClient,
    project: ProjectId,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<OutcomeHour>, Error> {
    let rows = client
        .query(HOURS, &[&project.into_uuid(), &from, &until])
        .await?;
    Ok(rows
        .iter()
        .map(|row| OutcomeHour {
            hour: row.get(0),
            outcome: row.get(1),
            reason: row.get(2),
            quantity: row.get(3),
        })
        .collect())
}

/// The sums of all hours.
#[must_use]
pub fn sums(hours: &[OutcomeHour]) -> Vec<OutcomeTotal> {
    let mut sums: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for hour in hours {
        *sums.entry((&hour.outcome, &hour.reason)).or_default() += hour.quantity;
    }
    let total = |((outcome, reason), quantity): ((&str, &str), i64)| OutcomeTotal {
        outcome: outcome.to_owned(),
        reason: reason.to_owned(),
        quantity,
    };
    sums.into_iter().map(total).collect()
}

/// The beginning of the hour of UTC that `time` is in.
#[must_use]
pub fn hour(time: Timestamp) -> Timestamp {
    let second = time.as_second();
    Timestamp::from_second(second - second.rem_euclid(3600)).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::hour;

    #[test]
    fn hours_begin_on_the_hour() {
        assert_eq!(
            hour("2026-11-21T22:49:27.5Z".parse().unwrap()),
            "2026-11-21T22:00:00Z".parse().unwrap()
        );
    }
}
