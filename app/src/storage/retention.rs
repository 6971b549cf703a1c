//! Drops what nobody keeps any more: whole partitions past every project's retention, in between the events of projects that
//! keep less, and old lines of the outbox. Issues stay, with their counts.

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, ToSpan};
use tokio_postgres::{Client, Error, GenericClient};
use uuid::Uuid;

use super::partitions;

pub(crate) const STATEMENTS: &[&str] = &[NOW, LONGEST, SHORTER, EXPIRE, PRUNE_OUTBOX];

const NOW: &str = "SELECT now()";
/// Without a project nothing says how long to keep: then a year.
const LONGEST: &str = "SELECT coalesce(max(retention_days), 365) FROM projects";
const SHORTER: &str = "SELECT id, retention_days FROM projects \
     WHERE retention_days < (SELECT max(retention_days) FROM projects) ORDER BY number";
const EXPIRE: &str = "DELETE FROM events WHERE (project_id, id, received_at) IN \
     (SELECT project_id, id, received_at FROM events WHERE project_id = $1 AND received_at < $2 LIMIT $3)";
const PRUNE_OUTBOX: &str = "DELETE FROM outbox WHERE (project_id, sequence) IN \
     (SELECT project_id, sequence FROM outbox WHERE at < $1 ORDER BY at LIMIT $2)";

/// How long the outbox keeps its lines; its readers are never that far behind.
const OUTBOX_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Rows deleted in one statement, so that none holds its locks for long.
const BATCH: i64 = 10_000;

/// The database's clock, which all nodes share.
///
/// # Errors
///
/// What the database says.
pub async fn now(client: &impl GenericClient) -> Result<Timestamp, Error> {
    Ok(client.query_one(NOW, &[]).await?.get(0))
}

/// Drops the partitions whose events are all past every project's retention; returns how many.
///
/// Each is detached first, which lets readers and writers go on; one that was left half-way is finished.
///
/// # Errors
///
/// What the database says; the next round goes on where this one stopped.
pub async fn drop_partitions(client: &Client, now: Timestamp) -> Result<usize, Error> {
    let days: i32 = client.query_one(LONGEST, &[]).await?.get(0);
    let Some(oldest) = oldest_kept(now, days) else {
        return Ok(0);
    };
    let mut dropped = 0;
    for (day, is_detaching) in partitions::list(client).await? {
        if day >= oldest {
            continue;
        }
        let name = partitions::name(day);
        let how = if is_detaching {
            "FINALIZE"
        } else {
            "CONCURRENTLY"
        };
        client.batch_execute(&detachment(&name, how)).await?;
        client.batch_execute(&removal(&name)).await?;
        dropped += 1;
    }
    Ok(dropped)
}

fn detachment(name: &str, how: &str) -> String {
    format!("ALTER TABLE events DETACH PARTITION {name} {how}")
}

fn removal(name: &str) -> String {
    format!("DROP TABLE {name}")
}

/// Deletes the events of projects that keep less than others, in batches; returns how many.
///
/// # Errors
///
/// What the database says; the next round goes on where this one stopped.
pub async fn expire_events(client: &impl GenericClient, now: Timestamp) -> Result<u64, Error> {
    let mut expired = 0;
    for row in client.query(SHORTER, &[]).await? {
        let project: Uuid = row.get(0);
        let until = now - SignedDuration::from_hours(24 * i64::from(row.get::<_, i32>(1)));
        loop {
            let deleted = client.execute(EXPIRE, &[&project, &until, &BATCH]).await?;
            expired += deleted;
            if deleted == 0 {
                break;
            }
        }
    }
    Ok(expired)
}

/// Deletes old lines of the outbox, in batches.
///
/// # Errors
///
/// What the database says.
pub async fn prune_outbox(client: &impl GenericClient, now: Timestamp) -> Result<(), Error> {
    let until = now - OUTBOX_KEPT;
    while client.execute(PRUNE_OUTBOX, &[&until, &BATCH]).await? > 0 {}
    Ok(())
}

/// The first day of which something may still be kept.
fn oldest_kept(now: Timestamp, days: i32) -> Option<Date> {
    partitions::day(now)
        .checked_sub(i64::from(days).days())
        .ok()
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::oldest_kept;

    #[test]
    fn the_day_on_which_retention_ends_is_kept() {
        let now = "2026-11-21T00:00:01Z".parse().unwrap();
        assert_eq!(oldest_kept(now, 30), Some(date(2026, 10, 22)));
    }
}
