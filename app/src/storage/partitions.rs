//! The daily partitions of `events`: which days have one, and making those that are missing.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use tokio_postgres::{Error, GenericClient, ToStatement, Transaction};

/// The lock under which partitions are made; see [`super::migrate`] for its kin.
const LOCK: i64 = 0x6d65_7368_6572_0002;

pub(crate) const STATEMENTS: &[&str] = &[TAKE_LOCK, ATTACHED, FILLED, ALL];

const TAKE_LOCK: &str = "SELECT pg_advisory_xact_lock($1)";
pub(crate) const ATTACHED: &str = "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
     WHERE i.inhparent = 'events'::regclass AND NOT i.inhdetachpending AND c.relname = ANY($1::text[])";
/// Rows that are not committed count too: the size is the file's.
pub(crate) const FILLED: &str = "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
     WHERE i.inhparent = 'events'::regclass AND c.relname = ANY($1::text[]) AND pg_relation_size(c.oid) > 0";
const ALL: &str = "SELECT c.relname::text, i.inhdetachpending FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
     WHERE i.inhparent = 'events'::regclass ORDER BY c.relname";

/// The UTC day of a time: the partition it belongs to.
#[must_use]
pub fn day(time: Timestamp) -> Date {
    time.to_zoned(TimeZone::UTC).date()
}

/// The days of `times`, each once.
pub(crate) fn days(times: impl Iterator<Item = Timestamp>) -> Vec<Date> {
    const SECONDS: i64 = 24 * 60 * 60;
    // Thousands of times, and nearly always one day.
    let mut firsts: Vec<Timestamp> = Vec::new();
    let number = |time: &Timestamp| time.as_second().div_euclid(SECONDS);
    for time in times {
        if !firsts
            .iter()
            .rev()
            .any(|first| number(first) == number(&time))
        {
            firsts.push(time);
        }
    }
    firsts.into_iter().map(day).collect()
}

/// The name of a day's partition, `events_2026_11_21`.
#[must_use]
pub fn name(day: Date) -> String {
    format!(
        "events_{:04}_{:02}_{:02}",
        day.year(),
        day.month(),
        day.day()
    )
}

/// The day a partition is named after.
#[must_use]
pub fn day_of_name(name: &str) -> Option<Date> {
    let mut parts = name.strip_prefix("events_")?.split('_');
    let year = parts.next()?.parse().ok()?;
    let month = parts.next()?.parse().ok()?;
    let day = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some(())?;
    Date::new(year, month, day).ok()
}

/// Makes the partitions of `days` that are missing; returns how many it made.
///
/// Each is created and then attached, which lets readers and writers go on (`CREATE … PARTITION OF` would not).
///
/// # Errors
///
/// What the database says.
pub async fn ensure(transaction: &Transaction<'_>, days: &[Date]) -> Result<usize, Error> {
    if missing(transaction, ATTACHED, days).await?.is_empty() {
        return Ok(0);
    }
    transaction.execute(TAKE_LOCK, &[&LOCK]).await?;
    // Looked up again: another node may have made them while we waited.
    let missing = missing(transaction, ATTACHED, days).await?;
    for day in &missing {
        transaction.batch_execute(&creation(*day)).await?;
    }
    Ok(missing.len())
}

/// Every partition with its day, oldest first; those that are being detached say so.
///
/// # Errors
///
/// What the database says.
pub async fn list(client: &impl GenericClient) -> Result<Vec<(Date, bool)>, Error> {
    let rows = client.query(ALL, &[]).await?;
    Ok(rows
        .iter()
        .filter_map(|row| Some((day_of_name(row.get(0))?, row.get(1))))
        .collect())
}

/// Those of `days` that have no partition, by [`ATTACHED`].
pub(crate) async fn missing(
    client: &impl GenericClient,
    statement: &(impl ToStatement + ?Sized + Sync + Send),
    days: &[Date],
) -> Result<Vec<Date>, Error> {
    if days.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = days.iter().copied().map(name).collect();
    let attached: Vec<String> = client
        .query(statement, &[&names])
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    let mut missing: Vec<Date> = days
        .iter()
        .copied()
        .filter(|day| !attached.contains(&name(*day)))
        .collect();
    missing.sort_unstable();
    missing.dedup();
    Ok(missing)
}

/// The part of a span of time that has partitions in which rows are or were, by [`FILLED`]; `None` if there are none.
pub(crate) async fn filled(
    client: &impl GenericClient,
    statement: &(impl ToStatement + ?Sized + Sync + Send),
    (first, last): (Timestamp, Timestamp),
) -> Result<Option<(Timestamp, Timestamp)>, Error> {
    let until = day(last);
    let days = day(first).series(Span::new().days(1));
    let names: Vec<String> = days.take_while(|day| *day <= until).map(name).collect();
    let rows = client.query(statement, &[&names]).await?;
    let filled = || rows.iter().filter_map(|row| day_of_name(row.get(0)));
    let (Some(earliest), Some(latest)) = (filled().min(), filled().max()) else {
        return Ok(None);
    };
    Ok(Some((
        midnight(earliest).map_or(first, |begin| begin.max(first)),
        // The last moment of a day is the first of the next: one row too many is looked at, none too few.
        latest
            .tomorrow()
            .ok()
            .and_then(midnight)
            .map_or(last, |end| end.min(last)),
    )))
}

/// When a day begins.
fn midnight(day: Date) -> Option<Timestamp> {
    let zoned = day.to_zoned(TimeZone::UTC).ok()?;
    Some(zoned.timestamp())
}

fn creation(day: Date) -> String {
    let name = name(day);
    let until = day.tomorrow().unwrap_or(day);
    // A leftover of an interrupted retention has the name but is no partition any more. The planner is told that all events may be one
    // project's: what the first rows of a day say of that is believed until the next analysis, and would have it read all of a project
    // in search of some ids.
    format!(
        "DROP TABLE IF EXISTS {name};\n\
         CREATE TABLE {name} (LIKE events INCLUDING ALL);\n\
         ALTER TABLE {name} ALTER COLUMN project_id SET (n_distinct = 1);\n\
         ALTER TABLE events ATTACH PARTITION {name} FOR VALUES FROM ('{day} 00:00:00+00') TO ('{until} 00:00:00+00');"
    )
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::{day, day_of_name, name};

    #[test]
    fn names_and_days_agree() {
        let day_ = date(2026, 2, 4);
        assert_eq!(name(day_), "events_2026_02_04");
        assert_eq!(day_of_name("events_2026_02_04"), Some(day_));
        assert_eq!(day_of_name("events_2026_02_04_pkey"), None);
        assert_eq!(day_of_name("events_time"), None);
    }

    #[test]
    fn a_day_is_a_day_of_utc() {
        assert_eq!(
            day("2026-03-28T23:59:59.999999Z".parse().unwrap()),
            date(2026, 3, 28)
        );
        assert_eq!(
            day("2026-03-29T01:30:00+03:00".parse().unwrap()),
            date(2026, 3, 28)
        );
    }
}
