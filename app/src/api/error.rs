//! The one shape of a refusal, and the one place where a refusal gets its status.

use std::fmt;

use bytes::Bytes;
use mesh_runtime::postgres::PoolError;
use serde::Serialize;
use warp::http::{Response, StatusCode, header};

/// Why the API refused a request.
#[derive(Debug)]
#[non_exhaustive]
pub enum ApiError {
    /// 400: the request cannot be understood; the text says what is wrong with it.
    BadRequest(String),
    /// 401: nobody is logged in, and no valid token was given.
    Unauthorized,
    /// 401: e-mail address and password do not belong together; which of the two is wrong is not told.
    WrongCredentials,
    /// 403: known, but not allowed; the text says what would be needed.
    Forbidden(&'static str),
    /// 404: there is no such thing; the word names what was looked for.
    NotFound(&'static str),
    /// 405: the path exists, the method does not; lists the methods that do.
    MethodNotAllowed(&'static str),
    /// 409: contradicts what is there already.
    Conflict(String),
    /// 413: the body is larger than this many bytes.
    TooLarge(usize),
    /// 426: the path speaks WebSocket, version 13.
    UpgradeRequired,
    /// 429: too many attempts; try again after this many seconds.
    TooMany(u64),
    /// 503: the database is away; the cause goes to the log, not to the client.
    Unavailable(String),
    /// 500: our own fault; the cause goes to the log, not to the client.
    Internal(String),
}

#[derive(Serialize)]
struct Body<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    code: &'a str,
    message: &'a str,
    details: Option<()>,
}

impl ApiError {
    /// The status this refusal is answered with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            ApiError::BadRequest(_) => StatusCode::BAD_REQUEST,
            ApiError::Unauthorized | ApiError::WrongCredentials => StatusCode::UNAUTHORIZED,
            ApiError::Forbidden(_) => StatusCode::FORBIDDEN,
            ApiError::NotFound(_) => StatusCode::NOT_FOUND,
            ApiError::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            ApiError::Conflict(_) => StatusCode::CONFLICT,
            ApiError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            ApiError::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            ApiError::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            ApiError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The word that programs match on.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            ApiError::BadRequest(_) => "bad_request",
            ApiError::Unauthorized => "unauthorized",
            ApiError::WrongCredentials => "wrong_credentials",
            ApiError::Forbidden(_) => "forbidden",
            ApiError::NotFound(_) => "not_found",
            ApiError::MethodNotAllowed(_) => "method_not_allowed",
            ApiError::Conflict(_) => "conflict",
            ApiError::TooLarge(_) => "too_large",
            ApiError::UpgradeRequired => "upgrade_required",
            ApiError::TooMany(_) => "too_many_requests",
            ApiError::Unavailable(_) => "unavailable",
            ApiError::Internal(_) => "internal",
        }
    }

    /// The answer a client gets; logs the cause of what is not the client's fault.
    #[must_use]
    pub fn into_response(self) -> Response<Bytes> {
        match &self {
            ApiError::Internal(cause) => tracing::error!(cause, "request failed"),
            ApiError::Unavailable(cause) => tracing::warn!(cause, "database unavailable"),
            _ => {}
        }
        let status = self.status();
        let message = self.to_string();
        let body = serde_json::to_vec(&Body {
            error: Inner {
                code: self.code(),
                message: &message,
                details: None,
            },
        })
        .expect("two strings and a null are always JSON");
        let mut response = Response::builder()
            .status(status)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CACHE_CONTROL, "no-store");
        match self {
            ApiError::MethodNotAllowed(allow) => response = response.header(header::ALLOW, allow),
            ApiError::TooMany(seconds) => response = response.header(header::RETRY_AFTER, seconds),
            ApiError::Unavailable(_) => response = response.header(header::RETRY_AFTER, 5),
            ApiError::UpgradeRequired => {
                response = response
                    .header(header::CONNECTION, "upgrade")
                    .header(header::UPGRADE, "websocket")
                    .header(header::SEC_WEBSOCKET_VERSION, "13");
            }
            ApiError::Unauthorized => {
                response = response.header(header::WWW_AUTHENTICATE, "Bearer");
            }
            _ => {}
        }
        response
            .body(Bytes::from(body))
            .expect("fixed header names and printable values")
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApiError::BadRequest(text) | ApiError::Conflict(text) => f.write_str(text),
            ApiError::Unauthorized => {
                f.write_str("log in, or send Authorization: Bearer TOKEN (make one with: mesher token create NAME)")
            }
            ApiError::WrongCredentials => f.write_str("e-mail address or password is wrong"),
            ApiError::Forbidden(needed) => f.write_str(needed),
            ApiError::NotFound(what) => write!(f, "no such {what}"),
            ApiError::MethodNotAllowed(allow) => write!(f, "method not allowed here; allowed: {allow}"),
            ApiError::TooLarge(bytes_max) => write!(f, "the body is larger than {bytes_max} bytes"),
            ApiError::UpgradeRequired => f.write_str("this path speaks WebSocket, version 13"),
            ApiError::TooMany(seconds) => write!(f, "too many attempts; try again in {seconds} s"),
            ApiError::Unavailable(_) => f.write_str("the database is not reachable right now; try again"),
            ApiError::Internal(_) => f.write_str("internal error; the server's log says more"),
        }
    }
}

impl std::error::Error for ApiError {}

impl From<PoolError> for ApiError {
    fn from(error: PoolError) -> ApiError {
        match error {
            PoolError::Database(cause) => cause.into(),
            away => ApiError::Unavailable(away.to_string()),
        }
    }
}

impl From<tokio_postgres::Error> for ApiError {
    fn from(error: tokio_postgres::Error) -> ApiError {
        // Without an answer from the server, the connection broke: the database is away, and we are not at fault.
        match error.as_db_error() {
            None => ApiError::Unavailable(error.to_string()),
            Some(answer) => {
                ApiError::Internal(format!("{} ({})", answer.message(), answer.code().code()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_the_one_shape_and_hides_causes() {
        for error in [
            ApiError::BadRequest("say \"hi\"\n".to_owned()),
            ApiError::Unauthorized,
            ApiError::MethodNotAllowed("GET, POST"),
            ApiError::Unavailable("password=hunter2".to_owned()),
            ApiError::Internal("password=hunter2".to_owned()),
        ] {
            let (status, code) = (error.status(), error.code());
            let response = error.into_response();
            assert_eq!(response.status(), status);
            let value: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(value["error"]["code"], code);
            assert!(value["error"]["message"].is_string());
            assert!(!value.to_string().contains("hunter2"));
        }
    }
}
