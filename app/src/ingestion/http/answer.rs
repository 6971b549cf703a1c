//! What goes back to the client: one shape of success for each dialect, one shape of error for all.

use bytes::Bytes;
use serde_json::json;
use warp::Reply;
use warp::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, CONTENT_TYPE, HeaderName,
    HeaderValue, RETRY_AFTER,
};
use warp::http::{HeaderMap, Response, StatusCode};
use warp::reply::Response as WarpResponse;

use crate::domain::EventId;
use crate::ingestion::refusal::Refusal;
use crate::protocol::event_item::ItemKind;

const RATE_LIMITS: HeaderName = HeaderName::from_static("x-sentry-rate-limits");
const SENTRY_ERROR: HeaderName = HeaderName::from_static("x-sentry-error");

/// What a browser may send. Source: getsentry/relay `middlewares/cors.rs`; tracing headers as
/// Bugsink adds them.
const ALLOWED_HEADERS: &str = "x-sentry-auth, x-requested-with, x-forwarded-for, origin, referer, \
accept, content-type, authentication, authorization, content-encoding, transfer-encoding, \
sentry-trace, baggage";

/// Tells SDKs for an hour not to send what is thrown away here anyway.
const UNWANTED_LIMIT: &str =
    "3600:transaction;span;profile;profile_chunk;replay;log_item;trace_metric:organization";

/// Whether items of these kinds are among those that SDKs had better not send.
pub(super) fn is_limited(skipped: &[&ItemKind]) -> bool {
    skipped
        .iter()
        .any(|kind| UNWANTED_LIMIT.contains(kind.category()))
}

/// An answer, ready to go.
#[derive(Debug)]
pub(in crate::ingestion) struct Answer {
    status: StatusCode,
    body: Bytes,
    headers: HeaderMap,
}

impl Answer {
    fn new(status: StatusCode, body: &serde_json::Value) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Answer {
            status,
            body: body.to_string().into(),
            headers,
        }
    }

    /// Our own endpoint took an event.
    pub(super) fn accepted(id: EventId) -> Answer {
        Answer::new(StatusCode::ACCEPTED, &json!({ "id": id.to_string() }))
    }

    /// Our own endpoint judged a bulk: what became of each event, in their order. If none was taken, the answer is the first's refusal.
    pub(super) fn bulk(results: &[Result<EventId, Refusal>]) -> Answer {
        let of_item = |result: &Result<EventId, Refusal>| match result {
            Ok(id) => json!({ "id": id.to_string() }),
            Err(refusal) => {
                json!({ "error": { "code": refusal.code(), "message": refusal.to_string() } })
            }
        };
        let accepted = results.iter().filter(|result| result.is_ok()).count();
        let mut body = json!({
            "accepted": accepted,
            "refused": results.len() - accepted,
            "results": results.iter().map(of_item).collect::<Vec<_>>(),
        });
        let limited = results
            .iter()
            .filter_map(|result| result.as_ref().err())
            .find(|refusal| refusal.retry_after().is_some());
        let first = results.iter().find_map(|result| result.as_ref().err());
        // Who was refused for being too fast is told when to come back, even if others were taken.
        let refusal = if accepted == 0 { first } else { limited };
        let mut answer =
            refusal.map_or_else(|| Answer::new(StatusCode::ACCEPTED, &body), Answer::refused);
        match refusal {
            Some(refusal) if accepted == 0 => body["error"] = error_of(refusal),
            _ => answer.status = StatusCode::ACCEPTED,
        }
        answer.body = body.to_string().into();
        answer
    }

    /// A Sentry endpoint took a request; `is_limited` tells the client what not to send, see [`is_limited`].
    pub(super) fn stored(id: Option<EventId>, is_limited: bool) -> Answer {
        let body = match id {
            Some(id) => json!({ "id": id.to_simple() }),
            None => json!({}),
        };
        let mut answer = Answer::new(StatusCode::OK, &body);
        if is_limited {
            let limit = HeaderValue::from_static(UNWANTED_LIMIT);
            answer.headers.insert(RATE_LIMITS, limit);
        }
        answer
    }

    /// The answer to `OPTIONS`.
    pub(super) fn preflight() -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("POST, OPTIONS"),
        );
        headers.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static(ALLOWED_HEADERS),
        );
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
        Answer {
            status: StatusCode::NO_CONTENT,
            body: Bytes::new(),
            headers,
        }
    }

    /// A refusal of an event. SDKs read `detail` and `X-Sentry-Error`, everybody else `error`.
    pub(in crate::ingestion) fn refused(refusal: &Refusal) -> Answer {
        Answer::refused_as(refusal, "error")
    }

    /// A refusal of an item of another category.
    pub(super) fn refused_as(refusal: &Refusal, category: &str) -> Answer {
        let message = refusal.to_string();
        let body = json!({
            "error": error_of(refusal),
            "detail": message,
        });
        let mut answer = Answer::new(refusal.status(), &body);
        let printable: String = message
            .chars()
            .filter(|c| (' '..='~').contains(c))
            .take(200)
            .collect();
        if let Ok(value) = HeaderValue::from_str(&printable) {
            answer.headers.insert(SENTRY_ERROR, value);
        }
        if let Some(wait) = refusal.retry_after() {
            let wait_s = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let (scope, reason) = refusal.scope_and_reason();
            // Without a category the SDK would fall silent in all, its client reports included.
            let limit = format!("{wait_s}:{category}:{scope}:{reason}");
            if let Ok(value) = HeaderValue::from_str(&limit) {
                answer.headers.insert(RATE_LIMITS, value);
            }
            answer.headers.insert(RETRY_AFTER, wait_s.into());
        }
        if *refusal == Refusal::WrongMethod {
            let methods = HeaderValue::from_static("POST, OPTIONS");
            answer.headers.insert(ALLOW, methods);
        }
        answer
    }
}

/// The one shape of an error.
fn error_of(refusal: &Refusal) -> serde_json::Value {
    json!({ "code": refusal.code(), "message": refusal.to_string(), "details": null })
}

impl Reply for Answer {
    fn into_response(self) -> WarpResponse {
        let mut response = Response::new(self.body).into_response();
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        *headers = self.headers;
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("x-sentry-error, x-sentry-rate-limits, retry-after"),
        );
        response
    }
}
