//! How a transaction begins.

use tokio_postgres::{Client, Error, IsolationLevel, Transaction};

/// Begins one in which each statement sees what was committed before it, whatever the role's default is: who has waited for a lock must see
/// what its holder did.
///
/// # Errors
///
/// What the database says.
pub(crate) async fn begin(client: &mut Client) -> Result<Transaction<'_>, Error> {
    client
        .build_transaction()
        .isolation_level(IsolationLevel::ReadCommitted)
        .start()
        .await
}
