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
    let missing = needed
        .iter()
        .copied()
        .filter(|name| system.whereis_pid(name).is_none());
    Seen {
        missing: missing.collect(),
        knows_keys: admission.knows_keys(),
        has_room: admission.has_room(),
        // Before the database has answered once there is no pool yet.
        has_database: pool.state().await.is_ok_and(|state| state.healthy),
    }
    .judge()
}

/// What the judgement goes by.
struct Seen<'a> {
    missing: Vec<&'a str>,
    knows_keys: bool,
    has_room: bool,
    has_database: bool,
}

impl Seen<'_> {
    fn judge(&self) -> Readiness {
        let missing = self.missing.iter();
        let mut reasons: Vec<String> = missing
            .map(|name| format!("{name} is not running"))
            .collect();
        if !self.knows_keys {
            let reason = "the keys are not loaded yet; events are refused until they are";
            reasons.push(reason.to_owned());
        }
        if !self.has_room {
            reasons.push("the spool is full; events are refused".to_owned());
        }
        let accepting = self.knows_keys && self.has_room && !self.missing.contains(&SPOOL);
        if self.has_database {
            return Readiness {
                ready: reasons.is_empty(),
                accepting,
                reasons,
            };
        }
        let meanwhile = if accepting {
            "accepted and kept"
        } else {
            "refused"
        };
        reasons.push(format!(
            "the database does not answer; events are {meanwhile} until it does"
        ));
        Readiness {
            ready: false,
            accepting,
            reasons,
        }
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

#[cfg(test)]
mod tests {
    use super::{SPOOL, Seen};

    #[test]
    fn ready_is_all_and_accepting_what_the_door_needs() {
        let well = || Seen {
            missing: Vec::new(),
            knows_keys: true,
            has_room: true,
            has_database: true,
        };
        let judged = |seen: Seen<'_>| {
            let judged = seen.judge();
            assert_eq!(judged.ready, judged.reasons.is_empty(), "{judged:?}");
            (judged.ready, judged.accepting, judged.reasons.join("; "))
        };
        assert_eq!(judged(well()), (true, true, String::new()));
        let seen = judged(Seen {
            has_room: false,
            ..well()
        });
        assert!(
            !seen.0 && !seen.1 && seen.2.contains("spool is full"),
            "{seen:?}"
        );
        let seen = judged(Seen {
            has_database: false,
            ..well()
        });
        assert!(
            !seen.0 && seen.1 && seen.2.contains("accepted and kept"),
            "{seen:?}"
        );
        let seen = judged(Seen {
            knows_keys: false,
            has_database: false,
            ..well()
        });
        assert!(
            !seen.0 && !seen.1 && seen.2.contains("are refused until"),
            "{seen:?}"
        );
        for (missing, accepting) in [(SPOOL, false), ("StorageWriter", true)] {
            let seen = judged(Seen {
                missing: vec![missing],
                ..well()
            });
            assert!(
                !seen.0 && seen.1 == accepting && seen.2.contains(missing),
                "{seen:?}"
            );
        }
    }
}
