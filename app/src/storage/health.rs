//! What the operator asks about the database.

use tokio_postgres::{Error, GenericClient};

pub(crate) const STATEMENTS: &[&str] = &[HEALTH];

/// The number of events is the sum of the counters: counting rows would read them all.
const HEALTH: &str = "SELECT current_setting('server_version'), pg_database_size(current_database()), \
     (SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass), \
     (SELECT coalesce(sum(event_count), 0)::int8 FROM project_counters), \
     (SELECT count(*) FROM quarantine)";

/// How the database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseHealth {
    /// The server's version.
    pub version: String,
    /// Bytes on disk.
    pub bytes: i64,
    /// Daily partitions of events.
    pub partitions: i64,
    /// Events ever stored.
    pub events: i64,
    /// Events in quarantine.
    pub quarantined: i64,
}

/// Asks the database how it is.
///
/// # Errors
///
/// What the database says.
pub async fn read(client: &impl GenericClient) -> Result<DatabaseHealth, Error> {
    let row = client.query_one(HEALTH, &[]).await?;
    Ok(DatabaseHealth {
        version: row.get(0),
        bytes: row.get(1),
        partitions: row.get(2),
        events: row.get(3),
        quarantined: row.get(4),
    })
}
