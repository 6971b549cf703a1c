//! Brings the database's tables to what this program expects: plain SQL, forward only, one node at a time.

use std::collections::HashSet;
use std::fmt;

use refinery::{Migration, Runner};
use tokio_postgres::{Client, SimpleQueryMessage};

/// The lock under which nodes that start together take turns; any number will do that nobody else uses.
const LOCK: i64 = 0x6d65_7368_6572_0001;

/// The oldest server whose features we use (`DETACH PARTITION … CONCURRENTLY`).
const SERVER_VERSION_MIN: i32 = 140_000;

/// Every file of the `migrations` folder; a test compares the two.
const FILES: [(&str, &str); 10] = [
    (
        "V1__projects_and_keys",
        include_str!("../../../migrations/V1__projects_and_keys.sql"),
    ),
    (
        "V2__users_and_sessions",
        include_str!("../../../migrations/V2__users_and_sessions.sql"),
    ),
    (
        "V3__issues",
        include_str!("../../../migrations/V3__issues.sql"),
    ),
    (
        "V4__events_partitioned",
        include_str!("../../../migrations/V4__events_partitioned.sql"),
    ),
    (
        "V5__spools_and_outcomes",
        include_str!("../../../migrations/V5__spools_and_outcomes.sql"),
    ),
    (
        "V6__limits_and_sampling",
        include_str!("../../../migrations/V6__limits_and_sampling.sql"),
    ),
    (
        "V7__project_limits_and_user_reports",
        include_str!("../../../migrations/V7__project_limits_and_user_reports.sql"),
    ),
    (
        "V8__accepted_before_it_was_counted",
        include_str!("../../../migrations/V8__accepted_before_it_was_counted.sql"),
    ),
    (
        "V9__payload_dictionaries",
        include_str!("../../../migrations/V9__payload_dictionaries.sql"),
    ),
    (
        "V10__events_of_a_project_are_many",
        include_str!("../../../migrations/V10__events_of_a_project_are_many.sql"),
    ),
];

pub(crate) const STATEMENTS: &[&str] = &[SERVER_VERSION, TAKE_LOCK, LEAVE_LOCK];

/// What has been applied; a table of `refinery`, made at the first start.
const HISTORY: &str = "SELECT version, name, checksum FROM refinery_schema_history";

const SERVER_VERSION: &str = "SELECT current_setting('server_version_num')::int4";
const TAKE_LOCK: &str = "SELECT pg_advisory_lock($1)";
const LEAVE_LOCK: &str = "SELECT pg_advisory_unlock($1)";

/// What [`run`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The names of the files applied now, in order; empty when there was nothing to do.
    pub names: Vec<String>,
}

/// Why the tables are not as expected.
#[derive(Debug)]
#[non_exhaustive]
pub enum MigrateError {
    /// The database did not answer.
    Database(tokio_postgres::Error),
    /// The server is too old; its version number.
    ServerTooOld(i32),
    /// A file failed, or an applied one has changed since.
    Migration(Box<refinery::Error>),
}

impl fmt::Display for MigrateError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MigrateError::Database(error) => write!(out, "database: {error}"),
            MigrateError::ServerTooOld(version) => write!(
                out,
                "PostgreSQL {} is too old, {} or newer is needed",
                version / 10_000,
                SERVER_VERSION_MIN / 10_000
            ),
            MigrateError::Migration(error) => write!(out, "migration: {error}"),
        }
    }
}

impl std::error::Error for MigrateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            MigrateError::Database(error) => Some(error),
            MigrateError::ServerTooOld(_) => None,
            MigrateError::Migration(error) => Some(error),
        }
    }
}

impl From<tokio_postgres::Error> for MigrateError {
    fn from(error: tokio_postgres::Error) -> MigrateError {
        MigrateError::Database(error)
    }
}

/// Applies what is missing, under a lock that other nodes wait for.
///
/// # Errors
///
/// [`MigrateError`]; files before the failing one stay applied.
///
/// # Cancel safety
///
/// Not to be cancelled: the connection would keep the lock. Close the connection then.
pub async fn run(client: &mut Client) -> Result<Applied, MigrateError> {
    if !is_due(client).await? {
        return Ok(Applied { names: Vec::new() });
    }
    client.execute(TAKE_LOCK, &[&LOCK]).await?;
    let report = runner()?.run_async(client).await;
    client.execute(LEAVE_LOCK, &[&LOCK]).await?;
    let report = report.map_err(|error| MigrateError::Migration(Box::new(error)))?;
    Ok(Applied {
        names: report
            .applied_migrations()
            .iter()
            .map(ToString::to_string)
            .collect(),
    })
}

/// The name of the last migration.
pub(crate) fn newest() -> &'static str {
    FILES[FILES.len() - 1].0
}

/// Whether [`run`] would change anything.
///
/// # Errors
///
/// [`MigrateError::Database`] and [`MigrateError::ServerTooOld`], as of [`run`].
pub async fn is_due(client: &Client) -> Result<bool, MigrateError> {
    let version: i32 = client.query_one(SERVER_VERSION, &[]).await?.get(0);
    if version < SERVER_VERSION_MIN {
        return Err(MigrateError::ServerTooOld(version));
    }
    Ok(!is_current(client).await?)
}

/// Whether every file is applied as it is now: nearly every start finds that, and needs neither the lock nor a transaction to see it.
async fn is_current(client: &Client) -> Result<bool, MigrateError> {
    let Ok(answer) = client.simple_query(HISTORY).await else {
        // There is no such table yet; whatever else it is, the next statement meets it too.
        return Ok(false);
    };
    let applied: HashSet<(Option<&str>, Option<&str>, Option<&str>)> = answer
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((row.get(0), row.get(1), row.get(2))),
            _ => None,
        })
        .collect();
    Ok(migrations()?.iter().all(|file| {
        let (version, checksum) = (file.version().to_string(), file.checksum().to_string());
        applied.contains(&(Some(&version), Some(file.name()), Some(&checksum)))
    }))
}

fn migrations() -> Result<Vec<Migration>, MigrateError> {
    FILES
        .iter()
        .map(|(name, sql)| Migration::unapplied(name, sql))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| MigrateError::Migration(Box::new(error)))
}

fn runner() -> Result<Runner, MigrateError> {
    let migrations = migrations()?;
    // A database that a newer program has expanded already still serves this one.
    Ok(Runner::new(&migrations)
        .set_abort_divergent(true)
        .set_abort_missing(false))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::FILES;

    #[test]
    fn every_file_of_the_folder_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
        let mut on_disk: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter_map(|name| name.strip_suffix(".sql").map(str::to_owned))
            .collect();
        on_disk.sort();
        let mut embedded: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
        embedded.sort_unstable();
        assert_eq!(on_disk, embedded);
    }
}
