//! `/projects/:project/user-reports` and `/issues/:id/user-reports`: what users wrote about what went wrong.

use bytes::Bytes;
use uuid::Uuid;
use warp::http::{Response, StatusCode};

use super::access::Identity;
use super::issues::{cursor, find_issue};
use super::projects::find_project;
use super::query::Query;
use super::{Api, ApiError, json};
use crate::storage::user_reports;

impl Api {
    pub(super) async fn project_user_reports(
        &self,
        identity: &Identity,
        project: &str,
        query: &Query,
    ) -> Result<Response<Bytes>, ApiError> {
        let (cursor, limit) = (cursor(query)?, query.limit()?);
        let client = self.state().pool.get().await?;
        let project = find_project(&client, identity, project).await?;
        json(
            StatusCode::OK,
            &user_reports::of_project(&*client, project.id, cursor, limit).await?,
        )
    }

    pub(super) async fn issue_user_reports(
        &self,
        identity: &Identity,
        id: Uuid,
        query: &Query,
    ) -> Result<Response<Bytes>, ApiError> {
        let (cursor, limit) = (cursor(query)?, query.limit()?);
        let client = self.state().pool.get().await?;
        let issue = find_issue(&client, identity, id).await?.row;
        json(
            StatusCode::OK,
            &user_reports::of_issue(&*client, issue.project_id, issue.id, cursor, limit).await?,
        )
    }
}
