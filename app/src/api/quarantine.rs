//! `/projects/:project/quarantine`: events that could not be processed or stored, with the reason; shown, tried again, or given up.

use bytes::Bytes;
use serde_json::json as value;
use warp::http::{Response, StatusCode};

use super::access::Identity;
use super::projects::find_project;
use super::query::Query;
use super::{Api, ApiError, json};
use crate::storage::quarantine;

impl Api {
    pub(super) async fn quarantine(
        &self,
        identity: &Identity,
        project: &str,
        query: &Query,
    ) -> Result<Response<Bytes>, ApiError> {
        let limit = query.limit()?;
        let before = query
            .get("cursor")
            .map(|text| {
                text.parse::<i64>().map_err(|_| {
                    ApiError::BadRequest("cursor is not one that this API gave out".to_owned())
                })
            })
            .transpose()?;
        let client = self.state().pool.get().await?;
        let project = find_project(&client, identity, project).await?;
        json(
            StatusCode::OK,
            &quarantine::list(&*client, project.id, before, limit).await?,
        )
    }

    /// Puts an event back at the end of the spool. First it is durable there, then it leaves the quarantine: cut in between, it is
    /// tried again from there and ends as a duplicate.
    pub(super) async fn replay(
        &self,
        identity: &Identity,
        project: &str,
        id: i64,
    ) -> Result<Response<Bytes>, ApiError> {
        let mut client = self.state().pool.get().await?;
        let project = find_project(&client, identity, project).await?;
        let raw = quarantine::find(&*client, project.id, id)
            .await?
            .ok_or(ApiError::NotFound("quarantined event"))?;
        let event_id = raw.event_id;
        (self.state().replay)(raw)
            .await
            .map_err(ApiError::Unavailable)?;
        quarantine::remove(&mut client, project.id, id).await?;
        json(StatusCode::ACCEPTED, &value!({ "event_id": event_id }))
    }
}
