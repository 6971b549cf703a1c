//! `/issues`: lists, one issue, and what users do to them.

use bytes::Bytes;
use jiff::Timestamp;
use mesh_runtime::postgres::Client;
use uuid::Uuid;
use warp::http::{Response, StatusCode};

use super::access::Identity;
use super::projects::find_project;
use super::query::Query;
use super::route::IssueAction;
use super::{Api, ApiError, json};
use crate::domain::{ArchivedUntil, IssueId, IssueStatus};
use crate::storage::cursor::Cursor;
use crate::storage::{events, issues};

impl Api {
    pub(super) async fn project_issues(
        &self,
        identity: &Identity,
        project: &str,
        query: &Query,
    ) -> Result<Response<Bytes>, ApiError> {
        let status = match query.get("status") {
            None | Some("all") => None,
            Some(text) => Some(text.parse::<IssueStatus>().map_err(|_| {
                ApiError::BadRequest(format!(
                    "status is {text:?}: expected unresolved, resolved, archived or all"
                ))
            })?),
        };
        let filter = issues::IssueFilter {
            status,
            query: query.get("query").map(str::to_owned),
            cursor: cursor(query)?,
            limit: query.limit()?,
        };
        let client = self.state().pool.get().await?;
        let project = find_project(&client, identity, project).await?;
        json(
            StatusCode::OK,
            &issues::list(&*client, project.id, &filter).await?,
        )
    }

    pub(super) async fn issue(
        &self,
        identity: &Identity,
        id: Uuid,
    ) -> Result<Response<Bytes>, ApiError> {
        let client = self.state().pool.get().await?;
        json(StatusCode::OK, &find_issue(&client, identity, id).await?)
    }

    pub(super) async fn issue_events(
        &self,
        identity: &Identity,
        id: Uuid,
        query: &Query,
    ) -> Result<Response<Bytes>, ApiError> {
        let (cursor, limit) = (cursor(query)?, query.limit()?);
        let client = self.state().pool.get().await?;
        let issue = find_issue(&client, identity, id).await?;
        json(
            StatusCode::OK,
            &events::list(&*client, issue.row.id, cursor, limit).await?,
        )
    }

    pub(super) async fn issue_action(
        &self,
        identity: &Identity,
        id: Uuid,
        action: IssueAction,
    ) -> Result<Response<Bytes>, ApiError> {
        let action = match action {
            IssueAction::Resolve => issues::IssueAction::Resolve,
            IssueAction::Unresolve => issues::IssueAction::Unresolve,
            IssueAction::Archive => issues::IssueAction::Archive(ArchivedUntil::Forever),
        };
        let mut client = self.state().pool.get().await?;
        let issue = find_issue(&client, identity, id).await?;
        let issue = issues::act(&mut client, issue.row.id, action, self.now()).await?;
        let issue = issue.ok_or(ApiError::NotFound("issue"))?;
        (self.state().publish)(issue.row.clone());
        json(StatusCode::OK, &issue)
    }

    /// The wall clock, in whole microseconds as the database keeps them.
    pub(super) fn now(&self) -> Timestamp {
        crate::domain::wall::timestamp(self.state().system.clock().wall())
    }
}

/// One issue, if it belongs to the identity's organisation; whether it exists elsewhere is not told.
pub(super) async fn find_issue(
    client: &Client,
    identity: &Identity,
    id: Uuid,
) -> Result<issues::IssueDetail, ApiError> {
    let issue = issues::get(&**client, IssueId::from_uuid(id)).await?;
    let issue = issue.ok_or(ApiError::NotFound("issue"))?;
    find_project(client, identity, &issue.row.project_id.to_string())
        .await
        .map_err(|error| match error {
            ApiError::NotFound(_) => ApiError::NotFound("issue"),
            away => away,
        })?;
    Ok(issue)
}

/// The `cursor` of a list.
pub(super) fn cursor(query: &Query) -> Result<Option<Cursor>, ApiError> {
    query
        .get("cursor")
        .map(|text| {
            Cursor::parse(text).ok_or_else(|| {
                ApiError::BadRequest("cursor is not one that this API gave out".to_owned())
            })
        })
        .transpose()
}
