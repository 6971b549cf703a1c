//! `/healthz` (the process lives), `/readyz` (it can do all its work, or the reasons why not) and `/readyz/events` (it accepts events,
//! which it can without its database).

use bytes::Bytes;
use mesh_runtime::System;
use mesh_runtime::postgres::Pool;
use serde::Serialize;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{Response, StatusCode, header};

use crate::ingestion::Admission;
use crate::ingestion::spool::SPOOL;

/// What `/readyz` answers.
#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    accepting: bool,
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
    let readiness = move || {
        let (system, pool, admission) = (system.clone(), pool.clone(), admission.clone());
        async move { readiness(&system, &pool, &admission, needed).await }
    };
    let of_all = readiness.clone();
    let readyz = warp::path!("readyz").and(method()).then(move || {
        let readiness = of_all();
        async move {
            let readiness = readiness.await;
            tell(readiness.ready, &readiness)
        }
    });
    let events = warp::path!("readyz" / "events")
        .and(method())
        .then(move || {
            let readiness = readiness();
            async move {
                let readiness = readiness.await;
                tell(readiness.accepting, &readiness)
            }
        });
    healthz.or(readyz).unify().or(events).unify().boxed()
}

fn tell(is_well: bool, readiness: &Readiness) -> Response<Bytes> {
    let status = if is_well {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = serde_json::to_vec(readiness).expect("bools and strings are always JSON");
    answer(status, body)
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
    let accepting = system.whereis_pid(SPOOL).is_some() && admission.is_open();
    // Before the database has answered once there is no pool yet.
    if !pool.state().await.is_ok_and(|state| state.healthy) {
        let meanwhile = if accepting {
            "accepted and kept"
        } else {
            "refused"
        };
        reasons.push(format!(
            "the database does not answer; events are {meanwhile} until it does"
        ));
    }
    Readiness {
        ready: reasons.is_empty(),
        accepting,
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
