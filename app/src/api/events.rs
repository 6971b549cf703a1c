//! `/projects/:project/events/:id`: one event with its payload and its neighbours.

use bytes::Bytes;
use warp::http::{Response, StatusCode};

use super::access::Identity;
use super::projects::find_project;
use super::query::Query;
use super::{Api, ApiError, json};
use crate::domain::{EventId, IssueId};
use crate::storage::events;

impl Api {
    /// `event` is the SDK's event id, or `latest` together with `?issue=ID`.
    pub(super) async fn project_event(
        &self,
        identity: &Identity,
        project: &str,
        event: &str,
        query: &Query,
    ) -> Result<Response<Bytes>, ApiError> {
        let client = self.state().pool.get().await?;
        let project = find_project(&client, identity, project).await?;
        let id: EventId = if event == "latest" {
            let issue: IssueId = query
                .get("issue")
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| {
                    ApiError::BadRequest("latest needs ?issue=ID, the id of an issue".to_owned())
                })?;
            events::latest(&*client, issue)
                .await?
                .ok_or(ApiError::NotFound("issue"))?
        } else {
            event.parse().map_err(|_| ApiError::NotFound("event"))?
        };
        let found = events::get(&*client, project.id, id).await?;
        json(StatusCode::OK, &found.ok_or(ApiError::NotFound("event"))?)
    }
}
