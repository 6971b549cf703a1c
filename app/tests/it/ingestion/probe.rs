//! One request to the door, to be changed by each probe.

use bytes::Bytes;
use mesher::ingestion::http::routes;
use serde_json::{Value, json};
use warp::http::Response;

use super::support::{Door, KEY};

pub(crate) const ID: &str = "7f7aaadfa00642179ed55fbf8585c6c0";
pub(crate) const EVENT: &str = r#"{"message":"boom","level":"error","platform":"python"}"#;

pub(crate) fn envelope(header: &str, items: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = format!("{header}\n").into_bytes();
    for (header, payload) in items {
        bytes.extend_from_slice(format!("{header}\n{payload}\n").as_bytes());
    }
    bytes
}

pub(crate) fn event_envelope() -> Vec<u8> {
    envelope(
        &json!({ "event_id": ID }).to_string(),
        &[(r#"{"type":"event"}"#, EVENT)],
    )
}

/// A request that carries the right key in the header, to be changed by each probe.
pub(crate) struct Probe {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Probe {
    pub(crate) fn envelope(body: Vec<u8>) -> Probe {
        Probe {
            method: "POST",
            path: "/api/1/envelope/".to_owned(),
            headers: vec![(
                "x-sentry-auth",
                format!("Sentry sentry_key={KEY}, sentry_version=7"),
            )],
            body,
        }
    }

    pub(crate) fn native(body: &Value) -> Probe {
        Probe {
            method: "POST",
            path: "/api/v1/events".to_owned(),
            headers: vec![("authorization", format!("Bearer {KEY}"))],
            body: body.to_string().into_bytes(),
        }
    }

    pub(crate) fn path(mut self, path: &str) -> Probe {
        path.clone_into(&mut self.path);
        self
    }

    pub(crate) fn method(mut self, method: &'static str) -> Probe {
        self.method = method;
        self
    }

    /// In place of the key's header.
    pub(crate) fn auth(mut self, name: &'static str, value: &str) -> Probe {
        self.headers = vec![(name, value.to_owned())];
        self
    }

    pub(crate) fn no_auth(mut self) -> Probe {
        self.headers.clear();
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Probe {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) async fn send(self, door: &Door) -> Response<Bytes> {
        let mut request = warp::test::request()
            .method(self.method)
            .path(&self.path)
            .body(self.body);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request.reply(&routes(door.admission.clone())).await
    }

    pub(crate) async fn status(self, door: &Door) -> u16 {
        self.send(door).await.status().as_u16()
    }
}

pub(crate) fn body(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

pub(crate) fn header<'r>(response: &'r Response<Bytes>, name: &str) -> Option<&'r str> {
    response.headers().get(name)?.to_str().ok()
}
