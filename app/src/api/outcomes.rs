//! `/projects/:project/outcomes`: how a project's events ended, by hour and reason.

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use warp::http::{Response, StatusCode};

use super::access::Identity;
use super::projects::find_project;
use super::query::Query;
use super::{Api, ApiError, json};
use crate::domain::Outcome;
use crate::storage::outcomes::{self, OutcomeHour, OutcomeTotal};

/// The span that is told without a word on it, and the longest.
const SPAN_DEFAULT: SignedDuration = SignedDuration::from_hours(24);
const SPAN_MAX: SignedDuration = SignedDuration::from_hours(24 * 90);

#[derive(Serialize)]
struct Answer {
    from: Timestamp,
    until: Timestamp,
    /// Sums of what was accepted, refused, and dropped by the SDKs themselves.
    accepted: i64,
    refused: i64,
    client_dropped: i64,
    /// Accepted, of all projects of this server, and without an outcome yet; `null` while the spool cannot tell, as before the database has told it how far it is.
    waiting: Option<u64>,
    totals: Vec<OutcomeTotal>,
    hours: Vec<OutcomeHour>,
}

impl Api {
    pub(super) async fn outcomes(
        &self,
        identity: &Identity,
        project: &str,
        query: &Query,
    ) -> Result<Response<Bytes>, ApiError> {
        let until = time(query, "until")?.unwrap_or_else(|| self.now());
        let from = time(query, "from")?.unwrap_or(until - SPAN_DEFAULT);
        if from > until || until.duration_since(from) > SPAN_MAX {
            return Err(ApiError::BadRequest(
                "from and until: expected a span of at most 90 days".to_owned(),
            ));
        }
        let client = self.state().pool.get().await?;
        let project = find_project(&client, identity, project).await?;
        // The hour that is not over belongs to the span.
        let hours = outcomes::hours(&*client, project.id, outcomes::hour(from), until).await?;
        let sum = |is_counted: &dyn Fn(Outcome) -> bool| {
            let counted = |hour: &&OutcomeHour| hour.outcome.parse().is_ok_and(is_counted);
            hours.iter().filter(counted).map(|hour| hour.quantity).sum()
        };
        json(
            StatusCode::OK,
            &Answer {
                from,
                until,
                accepted: sum(&Outcome::is_of_accepted),
                refused: sum(&Outcome::is_refusal),
                waiting: (self.state().waiting)().await,
                client_dropped: sum(&|outcome| outcome == Outcome::ClientDropped),
                totals: outcomes::sums(&hours),
                hours,
            },
        )
    }
}

fn time(query: &Query, name: &str) -> Result<Option<Timestamp>, ApiError> {
    let parse = |text: &str| {
        text.parse().map_err(|_| {
            ApiError::BadRequest(format!(
                "{name} is {text:?}: expected a time such as 2026-11-21T22:00:00Z"
            ))
        })
    };
    query.get(name).map(parse).transpose()
}
