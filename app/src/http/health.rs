//! `/healthz` (the process lives) and `/readyz` (it can do its work, or the reasons why not).

use bytes::Bytes;
use mesh_runtime::System;
use mesh_runtime::postgres::Pool;
use serde::Serialize;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{Response, StatusCode, header};

use crate::ingestion::Admission;

/// What `/readyz` answers.
#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    reasons: Vec<String>,
}

/// The filter that answers both, to GET and HEAD.
pub(super) fn routes(
    system: &System,
    pool: &Pool,
    admission: &Admission,
    needed: &'static [&'static str],
) -> BoxedFilter<(Response<Bytes>,)> {
    let method = || warp::get().or(warp::head()).unify();
    let healthz = warp::path!("healthz")
        .and(method())
        .map(|| answer(StatusCode::OK, b"{\"alive\":true}".to_vec()));
    let (system, pool, admission) = (system.clone(), pool.clone(), admission.clone());
    let readyz = warp::path!("readyz").and(method()).then(move || {
        let (system, pool, admission) = (system.clone(), pool.clone(), admission.clone());
        async move {
            let readiness = readiness(&system, &pool, &admission, needed).await;
            let status = if readiness.ready {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            let body = serde_json::to_vec(&readiness).expect("a bool and strings are always JSON");
            answer(status, body)
        }
    });
    healthz.or(readyz).unify().boxed()
}

async fn readiness(
    system: &System,
    pool: &Pool,
    admission: &Admission,
    needed: &[&str],
) -> Readiness {
    let mut reasons: Vec<String> = needed
        .iter()
        .filter(|name| system.whereis_pid(name).is_none())
        .map(|name| format!("{name} is not running"))
        .collect();
    if !admission.knows_keys() {
        reasons.push("the keys are not loaded yet; events are refused until they are".to_owned());
    }
    match pool.state().await {
        Ok(state) if state.healthy => {}
        Ok(_) => reasons.push(
            "the database does not answer; events are accepted and kept until it does".to_owned(),
        ),
        Err(error) => reasons.push(error.to_string()),
    }
    Readiness {
        ready: reasons.is_empty(),
        reasons,
    }
}

fn answer(status: StatusCode, body: Vec<u8>) -> Response<Bytes> {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CACHE_CONTROL, "no-store")
        .body(Bytes::from(body))
        .expect("fixed header names and values")
}
