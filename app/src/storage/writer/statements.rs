//! The statements of the writer's transaction, prepared once for each connection.
//!
//! A statement that is only a text costs a question to the server before it can be executed. Prepared ones go out several at a time, and
//! the server answers them in the order in which they were sent: that is the order in which their futures are first polled.

use std::future::Future;

use futures_util::future::join_all;
use tokio_postgres::{Error, Statement};

use super::{read, transaction};
use crate::storage::issues::{self, record};
use crate::storage::{copy, outcomes, partitions, spools};

/// What every chunk executes.
const EVERY_CHUNK: &[&str] = &[
    spools::RELEASE,
    read::PROJECTS,
    issues::LOCK,
    read::COUNTERS,
    partitions::ATTACHED,
    partitions::FILLED,
    record::LOAD,
    read::COPIES,
    read::DUPLICATES,
    read::OTHER_COPIES,
    copy::COPY,
    record::INSERT,
    record::UPDATE,
    transaction::COUNT,
    transaction::CHANGES,
    outcomes::ADD,
];

/// The statements of one connection.
#[derive(Clone, Debug)]
pub(super) struct Statements(Vec<(&'static str, Statement)>);

impl Statements {
    /// Prepares all of them by `prepare`, which may remember those of its connection.
    pub(super) async fn prepare<F>(prepare: impl Fn(&'static str) -> F) -> Result<Self, Error>
    where
        F: Future<Output = Result<Statement, Error>>,
    {
        let prepared = join_all(EVERY_CHUNK.iter().map(|sql| prepare(sql))).await;
        let named = EVERY_CHUNK.iter().zip(prepared);
        let statements: Result<_, Error> = named
            .map(|(sql, statement)| Ok((*sql, statement?)))
            .collect();
        statements.map(Statements)
    }

    pub(super) fn get(&self, sql: &'static str) -> &Statement {
        let found = self.0.iter().find(|(text, _)| *text == sql);
        &found.expect("every chunk's statements are all prepared").1
    }
}
