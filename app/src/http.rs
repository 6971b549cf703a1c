//! The listener, and which layer answers which path.

mod health;
mod metrics;

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use mesh_runtime::http::Tls;
use mesh_runtime::postgres::Pool;
use mesh_runtime::{ChildSpec, System, http, ws};
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, Response, StatusCode};
use warp::path::FullPath;
use warp::reject::{MethodNotAllowed, Rejection};
use warp::{Filter, Reply};

use crate::api::{Api, ApiError};
use crate::ingestion::Admission;
use crate::streaming::{DashboardSocket, SocketArgs};
use crate::{api, dashboard};

/// The name of this layer's supervisor.
pub const SUPERVISOR: &str = "HttpSupervisor";

/// The largest message a dashboard may send, in bytes: subscriptions are short.
const LIVE_MESSAGE_BYTES_MAX: usize = 4 * 1024;

/// The largest header of a request, in bytes. It is also what is read of a connection at once, and the usual event (23 KB) is to come in one
/// piece, which is then never copied.
const HEADER_BYTES_MAX: usize = 32 * 1024;

/// What the listener serves.
#[derive(Clone)]
pub struct Parts {
    /// The system everything runs in.
    pub system: System,
    /// The pool, for readiness and for the dashboards' snapshots.
    pub pool: Pool,
    /// What the door counts, for the metrics.
    pub admission: Admission,
    /// Events' doors.
    pub ingestion: BoxedFilter<(warp::reply::Response,)>,
    /// The REST API.
    pub api: Api,
    /// The processes without which the server is not ready.
    pub needed: &'static [&'static str],
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

/// The HTTP branch of the tree: listener and connections, on a socket that is bound already, with TLS if there is a certificate.
#[must_use]
pub fn child(listener: TcpListener, tls: Option<Tls>, parts: &Parts) -> ChildSpec {
    let options = http::Options {
        tls,
        header_bytes_max: HEADER_BYTES_MAX,
        ..http::Options::default()
    };
    http::server(SUPERVISOR, listener, routes(parts), options)
}

/// Everything that is answered; never rejects. Events first: most requests bring one, and each filter they pass by costs.
fn routes(
    parts: &Parts,
) -> impl Filter<Extract = (impl Reply + use<>,), Error = Infallible> + Clone + Send + Sync + use<>
{
    let health = health::routes(&parts.system, &parts.pool, &parts.admission, parts.needed);
    let metrics = metrics::routes(&parts.system, &parts.pool, &parts.admission, &parts.api);
    parts
        .ingestion
        .clone()
        .or(health.or(metrics).unify().map(Reply::into_response))
        .unify()
        .or(live(parts))
        .unify()
        .or(api::routes(parts.api.clone()).map(Reply::into_response))
        .unify()
        .or(dashboard::routes().map(Reply::into_response))
        .unify()
        .or(wrong_method())
        .unify()
        .recover(refuse)
}

/// `/api/v1/live`: the dashboards' socket, for those who are logged in.
fn live(parts: &Parts) -> BoxedFilter<(warp::reply::Response,)> {
    let (api, pool) = (parts.api.clone(), parts.pool.clone());
    warp::path!("api" / "v1" / "live")
        .and(ws::upgrade())
        .and(warp::header::headers_cloned())
        .then(move |upgrade: ws::Upgrade, headers: HeaderMap| {
            let (api, pool) = (api.clone(), pool.clone());
            async move {
                let organization = match api.authorize(&headers).await {
                    Ok(organization) => organization,
                    Err(error) => return error.into_response().into_response(),
                };
                // A proxy may put its own name into the host header; the pages' origin is then the public URL's.
                let origins = match upgrade.origin() {
                    Some(origin) if api.is_own_origin(origin) => ws::Origins::Any,
                    _ => ws::Origins::SameHost,
                };
                let options = ws::Options {
                    message_bytes_max: LIVE_MESSAGE_BYTES_MAX,
                    origins,
                    ..ws::Options::default()
                };
                let judge = move || {
                    let (api, headers) = (api.clone(), headers.clone());
                    async move { may_stay(api.authorize(&headers).await, organization) }.boxed()
                };
                let args = SocketArgs {
                    pool,
                    organization,
                    may_stay: Arc::new(judge),
                };
                let answer = upgrade
                    .accept::<DashboardSocket>(args, options)
                    .into_response();
                match refused_upgrade(answer.status()) {
                    Some(error) => error.into_response().into_response(),
                    None => answer,
                }
            }
        })
        .boxed()
}

/// Whether a stream that was opened for one organisation's data goes on after another look at who follows it: not with nobody behind it
/// and not for another organisation's people; while the database is away nobody can tell, and it stays.
fn may_stay<O: PartialEq>(judged: Result<O, ApiError>, opened_for: O) -> bool {
    match judged {
        Ok(organization) => organization == opened_for,
        Err(error) => !matches!(error, ApiError::Unauthorized),
    }
}

/// The runtime refuses an upgrade in plain text; ours have the one shape.
fn refused_upgrade(status: StatusCode) -> Option<ApiError> {
    match status {
        StatusCode::SWITCHING_PROTOCOLS => None,
        StatusCode::FORBIDDEN => Some(ApiError::Forbidden(
            "pages from another origin may not follow the live stream",
        )),
        StatusCode::UPGRADE_REQUIRED => Some(ApiError::UpgradeRequired),
        _ => Some(ApiError::BadRequest(
            "the WebSocket handshake is malformed".to_owned(),
        )),
    }
}

/// Pages, asked for by another method than they answer.
fn wrong_method() -> BoxedFilter<(warp::reply::Response,)> {
    warp::path::full()
        .and_then(|path: FullPath| async move {
            if dashboard::answers(path.as_str()) {
                Ok(ApiError::MethodNotAllowed("GET, HEAD")
                    .into_response()
                    .into_response())
            } else {
                Err(warp::reject::not_found())
            }
        })
        .boxed()
}

/// What no filter took: the one shape of a refusal.
async fn refuse(rejection: Rejection) -> Result<Response<Bytes>, Infallible> {
    let error = if rejection.is_not_found() {
        ApiError::NotFound("path")
    } else if rejection.find::<MethodNotAllowed>().is_some() {
        ApiError::MethodNotAllowed("GET, HEAD")
    } else {
        ApiError::BadRequest("the request could not be understood".to_owned())
    };
    Ok(error.into_response())
}

#[cfg(test)]
mod tests {
    use super::may_stay;
    use crate::api::ApiError;

    #[test]
    fn a_stream_stays_for_those_it_was_opened_for() {
        assert!(may_stay(Ok("ours"), "ours"));
        assert!(!may_stay(Ok("theirs"), "ours"));
        assert!(!may_stay(Err(ApiError::Unauthorized), "ours"));
        assert!(may_stay(
            Err(ApiError::Unavailable("away".to_owned())),
            "ours"
        ));
    }
}
