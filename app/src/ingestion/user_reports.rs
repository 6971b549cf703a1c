//! How the door keeps what users write: straight in the database, since it is rare and small, and acknowledged only once it is there.

use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use mesh_runtime::System;

use crate::domain::ProjectId;
use crate::domain::user_report::UserReport;
use crate::storage::{pool, user_reports};

/// Keeps one report; an error is a text for the log.
type Keep = dyn Fn(ProjectId, Timestamp, UserReport) -> BoxFuture<'static, Result<(), String>>
    + Send
    + Sync;

/// Where reports are kept; clones are the same place.
#[derive(Clone)]
pub struct UserReports {
    keep: Arc<Keep>,
}

impl fmt::Debug for UserReports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserReports").finish_non_exhaustive()
    }
}

impl UserReports {
    /// A place of the caller's own.
    pub fn new<F>(keep: F) -> UserReports
    where
        F: Fn(ProjectId, Timestamp, UserReport) -> BoxFuture<'static, Result<(), String>>
            + Send
            + Sync
            + 'static,
    {
        UserReports {
            keep: Arc::new(keep),
        }
    }

    /// The database of a system, whether it runs yet or not.
    #[must_use]
    pub fn in_storage(system: &System) -> UserReports {
        let system = system.clone();
        UserReports::new(move |project, at, report| {
            let system = system.clone();
            async move { put(&system, project, at, &report).await }.boxed()
        })
    }

    /// Returns once a report is kept.
    pub(crate) async fn keep(
        &self,
        project: ProjectId,
        at: Timestamp,
        report: UserReport,
    ) -> Result<(), String> {
        (self.keep)(project, at, report).await
    }
}

async fn put(
    system: &System,
    project: ProjectId,
    at: Timestamp,
    report: &UserReport,
) -> Result<(), String> {
    let client = pool::named(system)
        .get()
        .await
        .map_err(|error| error.to_string())?;
    user_reports::put(&*client, project, at, report)
        .await
        .map_err(|error| error.to_string())
}
