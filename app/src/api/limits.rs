//! `/projects/:project/limits`: how much of a project's events is let in, and a change that the door hears of at once.

use bytes::Bytes;
use warp::http::{Response, StatusCode};

use super::access::Identity;
use super::projects::find_project;
use super::{Api, ApiError, Request, json};
use crate::storage::projects::{self, ProjectLimits};

/// A larger limit is none: no machine sends so much.
const RATE_LIMIT_MAX: u32 = 1_000_000;

impl Api {
    pub(super) async fn limits(
        &self,
        identity: &Identity,
        project: &str,
    ) -> Result<Response<Bytes>, ApiError> {
        let client = self.state().pool.get().await?;
        let project = find_project(&client, identity, project).await?;
        let limits = projects::limits(&*client, project.id).await?;
        json(
            StatusCode::OK,
            &limits.ok_or(ApiError::NotFound("project"))?,
        )
    }

    pub(super) async fn set_limits(
        &self,
        identity: &Identity,
        project: &str,
        request: &Request,
    ) -> Result<Response<Bytes>, ApiError> {
        let limits: ProjectLimits = request.json()?;
        for (name, limit, null) in [
            ("rate_limit", limits.rate_limit, "no limit"),
            (
                "key_rate_limit",
                limits.key_rate_limit,
                "the server's default",
            ),
        ] {
            if limit.is_some_and(|limit| limit > RATE_LIMIT_MAX) {
                return Err(ApiError::BadRequest(format!(
                    "{name} is events a second: expected 0 (no limit) to {RATE_LIMIT_MAX}, or null for {null}"
                )));
            }
        }
        if !(0.0..=1.0).contains(&limits.sample_rate) {
            return Err(ApiError::BadRequest(
                "sample_rate is the part of the events that is kept: expected 0 to 1".to_owned(),
            ));
        }
        let mut client = self.state().pool.get().await?;
        let project = find_project(&client, identity, project).await?;
        projects::set_limits(&mut client, project.id, &limits).await?;
        (self.state().keys_changed)();
        json(StatusCode::OK, &limits)
    }
}
