//! What is told about requests: how many, by route and status, and how long they took.

use warp::Reply;
use warp::reply::Response;

/// The name a handler gave to what it answered, in the response's extensions.
#[derive(Clone, Copy)]
pub(super) struct RouteName(
    #[cfg_attr(not(feature = "metrics"), expect(dead_code, reason = "nobody asks"))]
    pub(super)  &'static str,
);

/// Names the route that gives this answer, for the metrics of the server. Without a name a request counts under `unnamed`: the path itself
/// would be a label with as many values as clients can think of.
///
/// # Examples
/// ```
/// use mesh_runtime::http;
/// use warp::Filter;
///
/// let hello = warp::path!("hello" / String)
///     .map(|name| format!("hello, {name}"))
///     .map(|answer| http::named("hello", answer));
/// # let _ = hello;
/// ```
pub fn named(route: &'static str, answer: impl Reply) -> Response {
    let mut response = answer.into_response();
    response.extensions_mut().insert(RouteName(route));
    response
}

/// One request on its way, when somebody wants to know.
#[cfg(feature = "metrics")]
pub(super) struct Measured {
    method: &'static str,
    began: std::time::Duration,
}

#[cfg(feature = "metrics")]
impl Measured {
    pub(super) fn begin(method: &hyper::Method, now: std::time::Duration) -> Measured {
        Measured {
            method: known(method),
            began: now,
        }
    }

    /// Tells the recorder; the duration is up to the answer's head, which is when the handler is done.
    pub(super) fn end(
        &self,
        server: &std::sync::Arc<str>,
        response: &Response,
        now: std::time::Duration,
    ) {
        let route = response.extensions().get::<RouteName>();
        let route = route.map_or("unnamed", |name| name.0);
        let server = metrics::SharedString::from(server.clone());
        let status = response.status().as_u16().to_string();
        metrics::counter!(
            crate::telemetry::HTTP_REQUESTS,
            "server" => server.clone(), "route" => route, "method" => self.method, "status" => status
        )
        .increment(1);
        metrics::histogram!(crate::telemetry::HTTP_SECONDS, "server" => server, "route" => route)
            .record(now.saturating_sub(self.began).as_secs_f64());
    }
}

/// The methods that are counted by name; a client can think of any number of others.
#[cfg(feature = "metrics")]
fn known(method: &hyper::Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    let found = KNOWN.iter().find(|known| **known == method.as_str());
    found.copied().unwrap_or("other")
}
