//! One pooled connection: how it is made, judged broken, and lent out.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_postgres::Statement;

use super::connector::Connector;
use super::desk::Loan;
use super::life::Life;
use crate::System;

/// Prepared statements kept per connection, in statements; the oldest goes first. Bounds what a caller who builds SQL text at
/// run time can make the server remember.
const STATEMENTS_MAX: usize = 256;

/// A connection that lay idle longer than this is asked a question before it is lent out: a peer that vanished without a
/// word (a pulled cable, a firewall that forgot) is not seen otherwise.
const IDLE_UNTESTED_MAX: Duration = Duration::from_secs(30);

const LENT: &str = "a client is made with its connection";

/// Why a connection could not be made, or may not be lent out again.
#[derive(Debug)]
pub(super) enum ConnectionError {
    /// The database or the driver said so.
    Database(tokio_postgres::Error),
    /// The attempt, or the question asked of an idle connection, took longer than the connect timeout.
    TimedOut,
    /// The server closed it while it lay idle.
    Closed,
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) => f.write_str(&super::describe(error)),
            Self::TimedOut => f.write_str("the database did not answer within the connect timeout"),
            Self::Closed => f.write_str("the server closed the connection"),
        }
    }
}

impl std::error::Error for ConnectionError {}

/// A connection and what belongs to it alone.
pub(super) struct Connection {
    /// Shared only once it has been given up, with who sees to it that its statement ends.
    client: Arc<tokio_postgres::Client>,
    statements: Mutex<Statements>,
    made: Duration,
    rests_since: Duration,
    discard: bool,
}

impl Connection {
    /// Whether the server or the network has ended it.
    pub(super) fn is_lost(&self) -> bool {
        self.client.is_closed()
    }

    /// Whether it may be lent again.
    pub(super) fn is_sound(&self) -> bool {
        !self.discard && !self.is_lost()
    }

    /// Whether it has lain idle for so long that it is asked a question first.
    pub(super) fn is_doubtful(&self, now: Duration) -> bool {
        now.saturating_sub(self.rests_since) >= IDLE_UNTESTED_MAX
    }

    /// Nobody uses it from `now` on.
    pub(super) fn rest(&mut self, now: Duration) {
        self.rests_since = now;
    }

    /// When it was used last.
    pub(super) fn rests_since(&self) -> Duration {
        self.rests_since
    }

    pub(super) fn made(&self) -> Duration {
        self.made
    }

    /// Marks the connection as not to be reused; the pool closes it when it comes back and makes another.
    pub(super) fn discard(&mut self) {
        self.discard = true;
    }
}

/// Prepared statements by their SQL text, in the order they were prepared.
#[derive(Default)]
struct Statements {
    by_text: HashMap<Arc<str>, Statement>,
    order: VecDeque<Arc<str>>,
}

impl Statements {
    fn insert(&mut self, sql: &str, statement: Statement) {
        let text: Arc<str> = Arc::from(sql);
        if self.by_text.insert(text.clone(), statement).is_some() {
            return;
        }
        self.order.push_back(text);
        if self.order.len() > STATEMENTS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_text.remove(&oldest);
        }
    }
}

/// Makes and judges connections for bb8.
pub(super) struct Manager {
    connector: Connector,
    system: System,
    connect_timeout: Duration,
}

impl Manager {
    pub(super) fn new(connector: Connector, system: System, connect_timeout: Duration) -> Self {
        Self {
            connector,
            system,
            connect_timeout,
        }
    }
}

impl bb8::ManageConnection for Manager {
    type Connection = Connection;
    type Error = ConnectionError;

    async fn connect(&self) -> Result<Connection, ConnectionError> {
        let client = self
            .system
            .timeout(self.connect_timeout, self.connector.connect())
            .await
            .map_err(|_| ConnectionError::TimedOut)?
            .map_err(ConnectionError::Database)?;
        let now = self.system.clock().now();
        Ok(Connection {
            client: Arc::new(client),
            statements: Mutex::default(),
            made: now,
            rests_since: now,
            discard: false,
        })
    }

    async fn is_valid(&self, connection: &mut Connection) -> Result<(), ConnectionError> {
        if connection.is_lost() {
            return Err(ConnectionError::Closed);
        }
        if !connection.is_doubtful(self.system.clock().now()) {
            return Ok(());
        }
        // Whoever asks may lose patience first; then this connection must not be the next one's problem.
        connection.discard = true;
        self.system
            .timeout(self.connect_timeout, connection.client.simple_query(""))
            .await
            .map_err(|_| ConnectionError::TimedOut)?
            .map_err(ConnectionError::Database)?;
        connection.discard = false;
        Ok(())
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        !connection.is_sound()
    }
}

/// A connection on loan from a [`Pool`](super::Pool); goes back when dropped.
///
/// Dereferences to [`tokio_postgres::Client`]. A connection that broke while on loan is replaced. A statement still running
/// when this is dropped keeps the connection busy until it ends; [`Pool::transaction`](super::Pool::transaction) has no such
/// tail, because it discards the connection and cancels the statement.
pub struct Client {
    // Always with a connection.
    loan: Loan<Life>,
}

impl Client {
    pub(super) fn new(loan: Loan<Life>) -> Self {
        Self { loan }
    }

    fn connection(&self) -> &Connection {
        self.loan.connection().expect(LENT)
    }

    /// Prepares `sql`, or returns the statement this connection prepared for the same text before. At most 256 statements are
    /// remembered for each connection.
    ///
    /// # Errors
    /// What the server answered.
    ///
    /// # Cancel safety
    /// Safe: at worst the statement is prepared again next time.
    pub async fn prepare_cached(&self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        let known = self
            .connection()
            .statements
            .lock()
            .by_text
            .get(sql)
            .cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.connection().client.prepare(sql).await?;
        self.connection()
            .statements
            .lock()
            .insert(sql, statement.clone());
        Ok(statement)
    }

    /// Closes this connection instead of giving it back, once the statement that runs on it has been cancelled.
    pub(super) fn abandon(&mut self) {
        let session = self.connection().client.clone();
        self.loan.lender().cancel(session);
        self.loan.connection_mut().expect(LENT).discard();
    }
}

impl Deref for Client {
    type Target = tokio_postgres::Client;

    fn deref(&self) -> &Self::Target {
        &self.connection().client
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Self::Target {
        let connection = self.loan.connection_mut().expect(LENT);
        Arc::get_mut(&mut connection.client)
            .expect("it is shared only by who has given it up, and is then dropped")
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("closed", &self.connection().client.is_closed())
            .finish()
    }
}
