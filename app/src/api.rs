//! REST: what the dashboard and API tokens read and change, under `/api/v1`.
//!
//! One filter takes every request below `/api/v1`, the route table says what it asks for, and one function a resource answers it.
//! After a change the API publishes the issue through the function it was given; it never calls a stage.

mod access;
mod error;
mod events;
mod issues;
mod limits;
mod outcomes;
mod projects;
mod quarantine;
mod query;
mod route;
mod runtime;
mod session;
mod user_reports;

use std::fmt;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt};
use mesh_runtime::System;
use mesh_runtime::postgres::Pool;
use serde::Serialize;
use serde::de::DeserializeOwned;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, Method, Response, StatusCode, header};
use warp::{Filter, Rejection};

use self::access::{Attempts, Turns};
pub use self::error::ApiError;
use self::query::Query;
use self::route::Route;
use crate::config::BaseUrl;
use crate::config::clock::SteppedClock;
use crate::domain::{OrganizationId, RawEvent};
use crate::storage::issues::IssueRow;

/// The largest body the API reads, in bytes; forms are far smaller.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// How much of a body that is too large is read, in bytes, so that its sender hears why; beyond, the connection is cut.
const DISCARDED_BYTES_MAX: usize = 16 << 20;

/// Tells whoever follows an issue that a user changed it.
pub type Publish = Arc<dyn Fn(IssueRow) + Send + Sync>;

/// Makes an event durable that is to be processed once more; an error is a text for the log.
pub type Replay = Arc<dyn Fn(RawEvent) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What the API needs to answer.
pub struct State {
    /// The system whose tree `/runtime` shows.
    pub system: System,
    /// Where everything is read from.
    pub pool: Pool,
    /// The URL that DSNs are built on.
    pub base_url: BaseUrl,
    /// With the test hooks on: the clock that `POST /runtime/clock` steps. Without it, neither that route nor `POST /runtime/kill` exists.
    pub test_clock: Option<SteppedClock>,
    /// Called after a user changed an issue.
    pub publish: Publish,
    /// Called with an event that leaves the quarantine.
    pub replay: Replay,
    /// How many accepted events wait in the spool; `None` while it cannot tell.
    pub waiting: Arc<dyn Fn() -> BoxFuture<'static, Option<u64>> + Send + Sync>,
    /// Called after limits or keys of a project changed.
    pub keys_changed: Arc<dyn Fn() + Send + Sync>,
    /// Called after a session has ended: whoever still follows the live stream by it must not go on.
    pub session_ended: Arc<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("base_url", &self.base_url)
            .finish_non_exhaustive()
    }
}

/// The API.
#[derive(Clone, Debug)]
pub struct Api {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: State,
    attempts: Attempts,
    turns: Turns,
}

/// A request, its body read.
struct Request {
    method: Method,
    path: String,
    query: Query,
    headers: HeaderMap,
    body: Bytes,
}

impl Request {
    /// Reads the body as JSON.
    fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            ApiError::BadRequest(format!("the body is not what is expected: {error}"))
        })
    }
}

impl Api {
    /// An API over `state`.
    #[must_use]
    pub fn new(state: State) -> Api {
        Api {
            shared: Arc::new(Shared {
                state,
                attempts: Attempts::default(),
                turns: Turns::default(),
            }),
        }
    }

    /// Whose data a request may see, judged by its headers; the live socket asks the same question.
    ///
    /// # Errors
    /// [`ApiError::Unauthorized`] without a valid token or session; [`ApiError::Unavailable`] while the database is away.
    pub async fn authorize(&self, headers: &HeaderMap) -> Result<OrganizationId, ApiError> {
        let identity = self.identity(headers).await?;
        Ok(identity.organization())
    }

    /// Whether a page of this origin is one of ours, under the public URL.
    #[must_use]
    pub fn is_own_origin(&self, origin: &str) -> bool {
        self.state().base_url.is_origin(origin)
    }

    async fn respond(&self, request: Request) -> Response<Bytes> {
        match self.answer(request).await {
            Ok(response) => response,
            Err(error) => error.into_response(),
        }
    }

    async fn answer(&self, request: Request) -> Result<Response<Bytes>, ApiError> {
        let segments: Vec<String> = request
            .path
            .trim_matches('/')
            .split('/')
            .skip(2)
            .map(|segment| query::decode(segment, false))
            .collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let route = Route::parse(&request.method, &segments)?;
        let identity = if route.is_open() {
            None
        } else {
            Some(self.identity(&request.headers).await?)
        };
        let identity = || identity.as_ref().ok_or(ApiError::Unauthorized);
        match route {
            Route::Session => self.session(&request).await,
            Route::Setup => self.setup(&request).await,
            Route::Login => self.login(&request).await,
            Route::Logout => self.logout(&request).await,
            Route::Me => json(StatusCode::OK, identity()?),
            Route::Projects => self.projects(identity()?).await,
            Route::Project(project) => self.project(identity()?, &project).await,
            Route::ProjectIssues(project) => {
                self.project_issues(identity()?, &project, &request.query)
                    .await
            }
            Route::ProjectLimits(project) => self.limits(identity()?, &project).await,
            Route::SetProjectLimits(project) => {
                self.set_limits(identity()?, &project, &request).await
            }
            Route::ProjectOutcomes(project) => {
                self.outcomes(identity()?, &project, &request.query).await
            }
            Route::Quarantine(project) => {
                self.quarantine(identity()?, &project, &request.query).await
            }
            Route::Replay(project, id) => self.replay(identity()?, &project, id).await,
            Route::ProjectEvent(project, event) => {
                self.project_event(identity()?, &project, &event, &request.query)
                    .await
            }
            Route::Issue(issue) => self.issue(identity()?, issue).await,
            Route::IssueEvents(issue) => {
                self.issue_events(identity()?, issue, &request.query).await
            }
            Route::IssueUserReports(issue) => {
                self.issue_user_reports(identity()?, issue, &request.query)
                    .await
            }
            Route::ProjectUserReports(project) => {
                self.project_user_reports(identity()?, &project, &request.query)
                    .await
            }
            Route::IssueAction(issue, action) => {
                self.issue_action(identity()?, issue, action).await
            }
            Route::Live | Route::Ingest => Err(ApiError::UpgradeRequired),
            Route::Runtime => self.runtime(),
            Route::RuntimeKill => self.runtime_kill(&request),
            Route::RuntimeClock => self.runtime_clock(&request),
        }
    }

    fn state(&self) -> &State {
        &self.shared.state
    }
}

/// The filter that answers everything below `/api/v1` that no other filter took.
#[must_use]
pub fn routes(api: Api) -> BoxedFilter<(Response<Bytes>,)> {
    warp::path!("api" / "v1" / ..)
        .and(warp::method())
        .and(warp::path::full())
        .and(warp::query::raw().or_else(|_| async { Ok::<_, Rejection>((String::new(),)) }))
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(
            move |method: Method,
                  path: warp::path::FullPath,
                  query: String,
                  headers: HeaderMap,
                  body| {
                let api = api.clone();
                async move {
                    let body = match read(body).await {
                        Ok(body) => body,
                        Err(error) => return error.into_response(),
                    };
                    api.respond(Request {
                        method,
                        path: path.as_str().to_owned(),
                        query: Query::parse(&query),
                        headers,
                        body,
                    })
                    .await
                }
            },
        )
        .boxed()
}

async fn read(body: impl Stream<Item = Result<impl Buf, warp::Error>>) -> Result<Bytes, ApiError> {
    let mut body = std::pin::pin!(body);
    let mut bytes = BytesMut::new();
    while let Some(piece) = body.next().await {
        let mut piece = piece.map_err(|_| ApiError::BadRequest("the body broke off".to_owned()))?;
        let length = piece.remaining();
        if bytes.len() + length > BODY_BYTES_MAX {
            discard(body, DISCARDED_BYTES_MAX).await;
            return Err(ApiError::TooLarge(BODY_BYTES_MAX));
        }
        bytes.extend_from_slice(&piece.copy_to_bytes(length));
    }
    Ok(bytes.freeze())
}

/// Reads on and keeps nothing: a client that is still sending would see a broken connection in place of the answer.
async fn discard(
    mut body: impl Stream<Item = Result<impl Buf, warp::Error>> + Unpin,
    bytes_max: usize,
) {
    let mut seen = 0;
    while let Some(Ok(piece)) = body.next().await {
        seen += piece.remaining();
        if seen > bytes_max {
            return;
        }
    }
}

/// An answer of JSON, not to be kept by anybody.
fn json(status: StatusCode, value: &impl Serialize) -> Result<Response<Bytes>, ApiError> {
    let body = serde_json::to_vec(value).map_err(|error| ApiError::Internal(error.to_string()))?;
    Ok(Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CACHE_CONTROL, "no-store")
        .body(Bytes::from(body))
        .expect("fixed header names and values"))
}
