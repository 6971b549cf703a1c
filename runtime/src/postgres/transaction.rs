//! Transactions that end rolled back whatever happens to the code inside them.

use std::future::Future;
use std::pin::Pin;

use super::connection::Client;
use super::{Pool, PoolError};

/// The future a transaction body returns: boxed, because it borrows the transaction.
pub type TransactionFuture<'t, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 't>>;

impl Pool {
    /// Checks a connection out, begins a transaction, runs `body` in it, and commits when `body` returns `Ok`.
    ///
    /// On `Err` the transaction is rolled back before this returns. On a panic in `body`, and when the returned future is
    /// dropped half-way, the connection is discarded: the statement in flight is cancelled, the server rolls back, and the pool
    /// makes another connection.
    ///
    /// A `body` that swallows a statement's error and still returns `Ok` commits nothing: PostgreSQL answers the commit of a failed
    /// transaction with a rollback, and the driver does not tell. Hand the error on.
    ///
    /// # Errors
    /// [`PoolError`] when there is no connection to be had; [`tokio_postgres::Error`] from begin, commit or rollback; else what
    /// `body` returned.
    ///
    /// # Cancel safety
    /// Nothing of the transaction is left behind, unless the commit was already under way: then, as with any lost connection, it may
    /// or may not have happened.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn run(pool: mesh_runtime::postgres::Pool) -> Result<(), mesh_runtime::postgres::PoolError> {
    /// use mesh_runtime::postgres::PoolError;
    ///
    /// let id: i32 = pool
    ///     .transaction(|tx| {
    ///         Box::pin(async move {
    ///             let row = tx.query_one("INSERT INTO notes (text) VALUES ($1) RETURNING id", &[&"hello"]).await?;
    ///             Ok::<_, PoolError>(row.get(0))
    ///         })
    ///     })
    ///     .await?;
    /// # let _ = id;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn transaction<T, E, F>(&self, body: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t tokio_postgres::Transaction<'t>) -> TransactionFuture<'t, T, E>,
        E: From<PoolError> + From<tokio_postgres::Error>,
    {
        let mut guard = Guard {
            client: self.get().await?,
            settled: false,
        };
        let transaction = guard.client.transaction().await?;
        let outcome = body(&transaction).await;
        let outcome = match outcome {
            Ok(value) => transaction.commit().await.map(|()| value).map_err(E::from),
            // The rollback's own failure would hide why it was asked for; a connection it broke is seen when it goes back.
            Err(error) => {
                let _ = transaction.rollback().await;
                Err(error)
            }
        };
        guard.settled = true;
        outcome
    }
}

/// Abandons the connection unless the transaction came to its end.
struct Guard {
    client: Client,
    settled: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.settled {
            self.client.abandon();
        }
    }
}
