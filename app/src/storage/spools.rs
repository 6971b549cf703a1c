//! How far each node's spool is stored: the row that moves in the same transaction as the events.

use tokio_postgres::{Error, GenericClient, ToStatement};
use uuid::Uuid;

pub(crate) const STATEMENTS: &[&str] = &[OPEN, READ, RELEASE];

const OPEN: &str = "INSERT INTO spools (id, epoch) VALUES ($1, 1) \
     ON CONFLICT (id) DO UPDATE SET epoch = spools.epoch + 1, opened_at = now() RETURNING epoch, released";
const READ: &str = "SELECT epoch, released FROM spools WHERE id = $1";
pub(crate) const RELEASE: &str =
    "UPDATE spools SET released = $4 WHERE id = $1 AND epoch = $2 AND released = $3";

/// Where a spool stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolPosition {
    /// Which life of the spool; grows at each opening.
    pub epoch: i64,
    /// Every record with a smaller sequence number is done.
    pub released: u64,
}

/// Opens a spool, new or known: writers of its earlier lives are refused from now on.
///
/// # Errors
///
/// What the database says.
pub async fn open(client: &impl GenericClient, spool: Uuid) -> Result<SpoolPosition, Error> {
    let row = client.query_one(OPEN, &[&spool]).await?;
    Ok(position(row.get(0), row.get(1)))
}

/// Where a spool stands; `None` if it was never opened.
///
/// # Errors
///
/// What the database says.
pub async fn read(
    client: &impl GenericClient,
    spool: Uuid,
) -> Result<Option<SpoolPosition>, Error> {
    let row = client.query_opt(READ, &[&spool]).await?;
    Ok(row.map(|row| position(row.get(0), row.get(1))))
}

/// Moves a spool from `old` to `next`, by [`RELEASE`]; `false` if it is not at `old` in this life.
pub(crate) async fn release(
    client: &impl GenericClient,
    statement: &(impl ToStatement + ?Sized + Sync + Send),
    spool: Uuid,
    epoch: i64,
    old: u64,
    next: u64,
) -> Result<bool, Error> {
    let changed = client
        .execute(statement, &[&spool, &epoch, &signed(old), &signed(next)])
        .await?;
    Ok(changed == 1)
}

fn position(epoch: i64, released: i64) -> SpoolPosition {
    SpoolPosition {
        epoch,
        released: u64::try_from(released).unwrap_or_default(),
    }
}

/// A sequence number as the database holds it; a spool of 2^63 records takes 29,000 years at 10 million a second.
fn signed(sequence: u64) -> i64 {
    i64::try_from(sequence).expect("a spool never holds 2^63 records")
}
