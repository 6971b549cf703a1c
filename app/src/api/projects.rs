//! `/projects`: what there is, each with the DSN that its SDKs need.

use bytes::Bytes;
use mesh_runtime::postgres::Client;
use serde::Serialize;
use warp::http::{Response, StatusCode};

use super::access::Identity;
use super::{Api, ApiError, json};
use crate::config::BaseUrl;
use crate::storage::cursor::Page;
use crate::storage::projects::{self, ProjectRow};

#[derive(Serialize)]
struct ProjectAnswer {
    #[serde(flatten)]
    row: ProjectRow,
    dsn: Option<String>,
}

impl ProjectAnswer {
    fn new(row: ProjectRow, base_url: &BaseUrl) -> ProjectAnswer {
        let dsn = row.public_key.map(|key| base_url.dsn(key, row.number));
        ProjectAnswer { row, dsn }
    }
}

impl Api {
    pub(super) async fn projects(&self, identity: &Identity) -> Result<Response<Bytes>, ApiError> {
        let client = self.state().pool.get().await?;
        let rows = projects::list(&*client, Some(identity.organization())).await?;
        let page = Page {
            data: rows
                .into_iter()
                .map(|row| ProjectAnswer::new(row, &self.state().base_url))
                .collect(),
            next_cursor: None,
        };
        json(StatusCode::OK, &page)
    }

    pub(super) async fn project(
        &self,
        identity: &Identity,
        project: &str,
    ) -> Result<Response<Bytes>, ApiError> {
        let client = self.state().pool.get().await?;
        let row = find_project(&client, identity, project).await?;
        json(
            StatusCode::OK,
            &ProjectAnswer::new(row, &self.state().base_url),
        )
    }
}

/// The project of that UUID or slug, if it belongs to the identity's organisation; whether it exists elsewhere is not told.
pub(super) async fn find_project(
    client: &Client,
    identity: &Identity,
    name: &str,
) -> Result<ProjectRow, ApiError> {
    projects::find_of(&**client, identity.organization(), name)
        .await?
        .ok_or(ApiError::NotFound("project"))
}
