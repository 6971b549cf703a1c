//! Asking the API as a client without manners, and gathering every answer that breaks a rule.

use serde_json::Value;

use crate::Fault;
use crate::http::Response;
use crate::server::Mesher;

/// What a request shows to say who it is from.
#[derive(Clone, Debug)]
pub enum Who {
    /// Nothing.
    Nobody,
    /// A bearer token, or a DSN's key.
    Bearer(String),
    /// The value of the session cookie.
    Session(String),
}

impl Who {
    /// The header that says so; for nobody, one that says nothing.
    #[must_use]
    pub fn header(&self) -> (&'static str, String) {
        match self {
            Self::Nobody => ("accept", "*/*".to_owned()),
            Self::Bearer(token) => ("authorization", format!("Bearer {token}")),
            Self::Session(secret) => ("cookie", format!("mesher_session={secret}")),
        }
    }
}

/// Asks one server; broken rules are gathered, so that one run tells them all.
#[derive(Debug)]
pub struct Probe<'a> {
    mesher: &'a Mesher,
    broken: Vec<String>,
}

impl<'a> Probe<'a> {
    /// A probe of `mesher`.
    #[must_use]
    pub fn new(mesher: &'a Mesher) -> Self {
        Self {
            mesher,
            broken: Vec::new(),
        }
    }

    /// Sends a request on a connection of its own.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn ask(&self, who: &Who, method: &str, path: &str, body: &[u8]) -> Result<Response, Fault> {
        self.ask_with(who, method, path, &[], body)
    }

    /// Sends a request with more headers.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn ask_with(
        &self,
        who: &Who,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response, Fault> {
        let (name, value) = who.header();
        let mut all = vec![(name, value.as_str())];
        all.extend_from_slice(headers);
        let answer = self.mesher.client().send(method, path, &all, body);
        answer.map_err(|error| format!("{method} {path}: {error}").into())
    }

    /// Asks, and notes if the status is another one, or a refusal does not have the one shape; gives the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn expect(
        &mut self,
        status: u16,
        who: &Who,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Result<Response, Fault> {
        let answer = self.ask(who, method, path, body)?;
        self.judge(status, &format!("{method} {path}"), &answer);
        Ok(answer)
    }

    /// Notes if the status is another one, or a refusal does not have the one shape.
    pub fn judge(&mut self, status: u16, what: &str, answer: &Response) {
        let start =
            String::from_utf8_lossy(&answer.body[..answer.body.len().min(200)]).into_owned();
        self.check(answer.status == status, || {
            format!("{what}: expected {status}, got {}: {start}", answer.status)
        });
        if answer.status >= 400 {
            self.check(has_error_shape(answer), || {
                format!("{what}: not the one shape of a refusal: {start}")
            });
        }
    }

    /// Notes a broken rule.
    pub fn check(&mut self, holds: bool, rule: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(rule());
        }
    }

    /// The end: every broken rule, one a line.
    ///
    /// # Errors
    /// When a rule was broken.
    pub fn verdict(self) -> Result<(), Fault> {
        if self.broken.is_empty() {
            return Ok(());
        }
        Err(format!("{} broken:\n{}", self.broken.len(), self.broken.join("\n")).into())
    }
}

/// Whether a refusal is `{"error":{"code","message","details"}}` and says that it is JSON.
fn has_error_shape(answer: &Response) -> bool {
    let error = answer
        .json()
        .map_or(Value::Null, |mut body| body["error"].take());
    let keys: Vec<&String> = error
        .as_object()
        .map(|map| map.keys().collect())
        .unwrap_or_default();
    answer.header("content-type") == Some("application/json")
        && keys == ["code", "details", "message"]
        && error["code"].is_string()
        && error["message"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::has_error_shape;
    use crate::http::Response;

    #[test]
    fn a_refusal_has_one_shape() {
        let answer = |kind: &str, body: &str| Response {
            status: 400,
            headers: vec![("content-type".to_owned(), kind.to_owned())],
            body: body.as_bytes().to_vec(),
        };
        let right = r#"{"error":{"code":"x","message":"y","details":null}}"#;
        assert!(has_error_shape(&answer("application/json", right)));
        assert!(!has_error_shape(&answer("text/plain", right)));
        for wrong in [
            "",
            "not found",
            "{}",
            r#"{"error":{"code":"x","message":"y"}}"#,
        ] {
            assert!(
                !has_error_shape(&answer("application/json", wrong)),
                "{wrong}"
            );
        }
    }
}
