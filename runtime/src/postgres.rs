//! PostgreSQL pool as a supervised child: checkout with a deadline, transactions, health.
//!
//! [`pool`] is the child specification, [`Pool::named`] the handle. The pool process owns a bb8 pool of tokio-postgres connections;
//! a handle finds the current life at each use, so it survives restarts. The pool starts degraded while the database is away,
//! and heals by itself.
//!
//! What bb8 and bb8-postgres do by themselves are plain tokio tasks and tokio timers, not processes on the system's wheel: each
//! connection's driver (it ends with its connection), the attempts to connect, the reaper of idle connections. Waiting for a connection has its
//! deadline on the wheel.
//!
//! Connections are made without TLS, unless the feature `postgres-tls` is on and `Options::tls` says whom to trust.

mod connection;
mod connector;
mod desk;
mod life;
#[cfg(feature = "postgres-tls")]
mod tls;
mod transaction;

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

pub use connection::Client;
pub use connector::Driver;
#[cfg(feature = "postgres-tls")]
pub use tls::Tls;
pub use transaction::TransactionFuture;

#[cfg(feature = "postgres-tls")]
pub use crate::tls::TlsError;
use crate::{Address, ChildSpec, Context, System};
use life::{Life, Message};

/// Connections at most, in connections: what a small PostgreSQL serves without queueing inside itself.
const SIZE_MAX: u32 = 16;
/// Connections kept open though idle, in connections.
const SIZE_MIN: u32 = 1;
/// Longest wait for a connection: as long as a call waits for its answer.
const CHECKOUT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for the server to accept a new connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An idle connection beyond the minimum is closed after this.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// A connection is replaced at this age, so that a server's memory for one session stays bounded.
const LIFETIME_MAX: Duration = Duration::from_secs(30 * 60);

/// Bounds of a pool.
#[derive(Clone, Debug)]
pub struct Options {
    /// Connections at most, at least 1. Default 16.
    pub size_max: u32,
    /// Connections kept open though idle. Default 1.
    pub size_min: u32,
    /// Longest wait in [`Pool::get`]. Default 5 s.
    pub checkout_timeout: Duration,
    /// Longest wait for the server to accept a new connection. Default 5 s.
    pub connect_timeout: Duration,
    /// Idle connections beyond the minimum are closed after this; not zero. Default 10 min.
    pub idle_timeout: Duration,
    /// A connection is replaced at this age; not zero. Default 30 min.
    pub lifetime_max: Duration,
    /// Connect with TLS where the configuration's `sslmode` allows it, trusting these. Default none: without TLS.
    #[cfg(feature = "postgres-tls")]
    pub tls: Option<Tls>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            size_max: SIZE_MAX,
            size_min: SIZE_MIN,
            checkout_timeout: CHECKOUT_TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            lifetime_max: LIFETIME_MAX,
            #[cfg(feature = "postgres-tls")]
            tls: None,
        }
    }
}

/// Why the pool could not lend a connection, or what the database answered.
#[derive(Debug)]
#[non_exhaustive]
pub enum PoolError {
    /// Every connection stayed lent out for the whole checkout timeout.
    Timeout,
    /// The database does not answer; the text is what the last attempt met.
    Unavailable(String),
    /// No pool of that name runs: it was stopped, or is between two lives.
    Closed,
    /// The database answered with an error.
    Database(tokio_postgres::Error),
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no connection became free in time"),
            Self::Unavailable(text) => write!(f, "the database is unavailable: {text}"),
            Self::Closed => f.write_str("the pool is not running"),
            Self::Database(error) => f.write_str(&describe(error)),
        }
    }
}

impl Error for PoolError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Database(error) => Some(error),
            _ => None,
        }
    }
}

impl From<tokio_postgres::Error> for PoolError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

/// How a pool fares at one moment.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PoolState {
    /// Open connections, lent or idle.
    pub size: usize,
    /// Open connections nobody uses.
    pub idle: usize,
    /// Callers waiting for a connection.
    pub waiting: usize,
    /// Whether the database answered the last attempt.
    pub healthy: bool,
    /// What the last attempt met while unhealthy.
    pub last_error: Option<String>,
}

/// A child that runs a pool under the registered name `id`. Never fails to start: without a database it is degraded, and heals
/// when the database answers.
#[must_use]
pub fn pool(id: &str, config: tokio_postgres::Config, options: Options) -> ChildSpec {
    ChildSpec::process(id, move |cx: Context<Message>| {
        life::run(cx, config.clone(), options.clone())
    })
}

/// One connection without a pool, for what must not share one: a migration under a lock of its session, a command.
///
/// The caller runs the [`Driver`], as a process of its own (`cx.spawn_link`, [`System::spawn`]); without it the client waits for ever. Of the
/// options only `connect_timeout` and `tls` count.
///
/// # Errors
/// [`PoolError::Database`] with what the server or the driver said, [`PoolError::Unavailable`] when it did not answer in time.
///
/// # Cancel safety
/// Safe: the connection is given up.
pub async fn connect(
    system: &System,
    config: &tokio_postgres::Config,
    options: &Options,
) -> Result<(tokio_postgres::Client, Driver), PoolError> {
    let connecting = connector::connect(config, options);
    match system.timeout(options.connect_timeout, connecting).await {
        Ok(connected) => Ok(connected?),
        Err(_) => Err(PoolError::Unavailable(
            "no answer within the connect timeout".to_owned(),
        )),
    }
}

/// Client side of a pool.
pub struct Pool {
    shared: Arc<Shared>,
    /// The life that lent last. Its process owns it: a handle that remembers a life that has ended keeps no connection open. Each clone
    /// has its own, so that they do not wait for each other.
    current: Mutex<Weak<Life>>,
}

struct Shared {
    system: System,
    id: Arc<str>,
    checkout_timeout: Option<Duration>,
}

impl Clone for Pool {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            current: Mutex::new(self.current.lock().clone()),
        }
    }
}

impl Pool {
    /// The pool registered under `id`, with its own checkout timeout. Resolved at each use, so it may be built before the
    /// pool starts and outlives its restarts.
    #[must_use]
    pub fn named(system: &System, id: &str) -> Self {
        Self::build(system.clone(), id.into(), None)
    }

    /// The same pool with another longest wait in [`Pool::get`].
    #[must_use]
    pub fn with_checkout_timeout(&self, checkout_timeout: Duration) -> Self {
        Self::build(
            self.shared.system.clone(),
            self.shared.id.clone(),
            Some(checkout_timeout),
        )
    }

    fn build(system: System, id: Arc<str>, checkout_timeout: Option<Duration>) -> Self {
        let shared = Shared {
            system,
            id,
            checkout_timeout,
        };
        Self {
            shared: Arc::new(shared),
            current: Mutex::new(Weak::new()),
        }
    }

    /// Borrows a connection, first come first served.
    ///
    /// # Errors
    /// [`PoolError::Timeout`] when all stay lent out, [`PoolError::Unavailable`] when the database does not answer, both after the
    /// checkout timeout; [`PoolError::Closed`] at once when no such pool runs.
    ///
    /// # Cancel safety
    /// Safe: the place in the queue is given up, a connection already assigned goes back.
    pub async fn get(&self) -> Result<Client, PoolError> {
        // One that always finds a connection ready must let others run now and then.
        tokio::task::consume_budget().await;
        let began = self.shared.system.clock().now();
        let lent = self.checkout(began).await;
        #[cfg(feature = "metrics")]
        self.tell(began, &lent);
        lent.map(|(client, _waited)| client)
    }

    #[cfg(feature = "metrics")]
    fn tell(&self, began: Duration, lent: &Result<(Client, bool), PoolError>) {
        let outcome = match lent {
            Ok(_) => "lent",
            Err(PoolError::Timeout) => "timeout",
            Err(PoolError::Closed) => "closed",
            Err(PoolError::Unavailable(_) | PoolError::Database(_)) => "unavailable",
        };
        let waited = if let Ok((_, false)) = lent {
            Duration::ZERO
        } else {
            self.shared.system.clock().now().saturating_sub(began)
        };
        let pool = metrics::SharedString::from(self.shared.id.clone());
        metrics::counter!(
            crate::telemetry::POSTGRES_CHECKOUTS,
            "pool" => pool.clone(), "outcome" => outcome
        )
        .increment(1);
        metrics::histogram!(crate::telemetry::POSTGRES_SECONDS, "pool" => pool)
            .record(waited.as_secs_f64());
    }

    async fn checkout(&self, began: Duration) -> Result<(Client, bool), PoolError> {
        let life = self.life().await?;
        life.checkout(began, self.shared.checkout_timeout).await
    }

    /// How the pool fares now.
    ///
    /// # Errors
    /// [`PoolError::Closed`] when no such pool runs.
    pub async fn state(&self) -> Result<PoolState, PoolError> {
        Ok(self.life().await?.state())
    }

    /// The current life, asked for once and remembered until it ends.
    async fn life(&self) -> Result<Arc<Life>, PoolError> {
        let known = self.current.lock().upgrade();
        if let Some(life) = known.filter(|life| !life.is_closed()) {
            return Ok(life);
        }
        let address: Address<Message> = self
            .shared
            .system
            .whereis(&self.shared.id)
            .map_err(|_| PoolError::Closed)?;
        let life = address
            .call(Message::Life)
            .await
            .map_err(|_| PoolError::Closed)?;
        *self.current.lock() = Arc::downgrade(&life);
        Ok(life)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("id", &self.shared.id)
            .finish_non_exhaustive()
    }
}

/// The error and its causes in one line; the driver's own text is only "db error" or "error connecting to server".
fn describe(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
