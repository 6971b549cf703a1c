//! What browsers report by themselves (Content-Security-Policy, Expect-CT, Expect-Staple, HPKP, the Reporting API) → events in Sentry's
//! shape.
//!
//! Source: getsentry/relay `relay-event-schema/src/protocol/security_report.rs`; W3C, "Content Security Policy Level 3" and "Reporting
//! API".

use std::fmt;

use serde_json::{Map, Value, json};

/// The most reports one request may hold; browsers gather a handful.
const REPORTS_MAX: usize = 100;

/// Bytes that are no report.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecurityReportError {
    /// Not JSON; with the parser's words.
    Json(String),
    /// JSON, but none of the reports that are known.
    Unknown,
    /// More reports than a browser sends at once.
    TooMany,
}

impl fmt::Display for SecurityReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "invalid JSON: {error}"),
            Self::Unknown => f.write_str("not a security report of a known kind"),
            Self::TooMany => write!(f, "more than {REPORTS_MAX} reports in one request"),
        }
    }
}

impl std::error::Error for SecurityReportError {}

/// The events that a body reports, each as JSON. `environment` and `release` come from the request's query.
///
/// # Errors
/// If it is no report.
pub fn events(
    body: &[u8],
    environment: Option<&str>,
    release: Option<&str>,
) -> Result<Vec<Value>, SecurityReportError> {
    let given: Value = serde_json::from_slice(body)
        .map_err(|error| SecurityReportError::Json(error.to_string()))?;
    let reports = match given {
        Value::Array(list) if list.len() > REPORTS_MAX => return Err(SecurityReportError::TooMany),
        Value::Array(list) => list,
        one => vec![one],
    };
    let mut events: Vec<Value> = reports.into_iter().filter_map(event).collect();
    if events.is_empty() {
        return Err(SecurityReportError::Unknown);
    }
    for event in &mut events {
        if let Some(environment) = environment {
            event["environment"] = environment.into();
        }
        if let Some(release) = release {
            event["release"] = release.into();
        }
    }
    Ok(events)
}

fn event(report: Value) -> Option<Value> {
    let Value::Object(mut report) = report else {
        return None;
    };
    if let Some(Value::Object(csp)) = report.remove("csp-report") {
        return Some(content_security(&csp));
    }
    if let Some(Value::Object(body)) = report.get("body") {
        return (report.get("type")? == "csp-violation").then(|| content_security(body));
    }
    for (key, header) in [
        ("expect-ct-report", "Expect-CT"),
        ("expect-staple-report", "Expect-Staple"),
    ] {
        if let Some(Value::Object(body)) = report.remove(key) {
            return Some(certificate(header, body));
        }
    }
    let is_pins = report.contains_key("known-pins") && report.contains_key("hostname");
    is_pins.then(|| certificate("HPKP", report))
}

/// The first of these attributes that is a text with something in it; the Reporting API spells them otherwise than CSP 2 does.
fn text<'a>(report: &'a Map<String, Value>, names: &[&str]) -> &'a str {
    let mut found = names.iter().filter_map(|name| report.get(*name)?.as_str());
    found.find(|text| !text.is_empty()).unwrap_or_default()
}

fn content_security(report: &Map<String, Value>) -> Value {
    let violated = text(
        report,
        &[
            "effective-directive",
            "effectiveDirective",
            "violated-directive",
        ],
    );
    let directive = violated.split(' ').next().unwrap_or_default();
    let directive = if directive.is_empty() {
        "default-src"
    } else {
        directive
    };
    let document = text(report, &["document-uri", "documentURL"]);
    let blocked = text(report, &["blocked-uri", "blockedURL"]);
    let source = blocked_source(blocked, document);
    let what = directive
        .trim_end_matches("-elem")
        .trim_end_matches("-attr")
        .trim_end_matches("-src");
    json!({
        "level": "error",
        "logger": "csp",
        "platform": "other",
        "message": format!("Blocked '{what}' from '{source}'"),
        "culprit": text(report, &["violated-directive", "effectiveDirective", "effective-directive"]),
        "fingerprint": ["csp", directive, source],
        "tags": { "effective-directive": directive, "blocked-uri": source },
        "request": { "url": document, "headers": { "Referer": text(report, &["referrer"]) } },
        "extra": { "csp": report },
    })
}

/// What was blocked, without what varies: `inline`, `eval`, `self`, or the host.
fn blocked_source(blocked: &str, document: &str) -> String {
    let Some((scheme, rest)) = blocked.split_once("://") else {
        let word = blocked.split(':').next().unwrap_or_default();
        return if word.is_empty() { "self" } else { word }.to_owned();
    };
    let host = |rest: &str| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        host.to_ascii_lowercase()
    };
    let blocked_host = host(rest);
    let own = document.split_once("://").map(|(_, rest)| host(rest));
    if own.as_ref() == Some(&blocked_host) {
        "self".to_owned()
    } else if blocked_host.is_empty() {
        scheme.to_owned()
    } else {
        blocked_host
    }
}

fn certificate(header: &str, report: Map<String, Value>) -> Value {
    let host = text(&report, &["hostname"]).to_owned();
    json!({
        "level": "error",
        "logger": "security",
        "platform": "other",
        "message": format!("{header} failed for '{host}'"),
        "fingerprint": [header, host],
        "tags": { "hostname": host },
        "extra": { "report": report },
    })
}

#[cfg(test)]
mod tests {
    use super::{SecurityReportError, blocked_source, events};
    use proptest::prelude::{any, proptest};
    use serde_json::json;

    #[test]
    fn both_spellings_of_a_violation_are_one_issue() {
        let old = json!({ "csp-report": {
            "document-uri": "https://shop.example/cart", "violated-directive": "script-src-elem https://cdn.example",
            "effective-directive": "script-src-elem", "blocked-uri": "https://evil.example/x.js?y=1",
        } });
        let new = json!([{ "type": "csp-violation", "url": "https://shop.example/", "body": {
            "documentURL": "https://shop.example/other", "effectiveDirective": "script-src-elem",
            "blockedURL": "https://EVIL.example/z.js",
        } }, { "type": "deprecation", "body": {} }]);
        let old = events(old.to_string().as_bytes(), Some("live"), None).unwrap();
        let new = events(new.to_string().as_bytes(), None, Some("1.0")).unwrap();
        assert_eq!((old.len(), new.len()), (1, 1));
        assert_eq!(old[0]["fingerprint"], new[0]["fingerprint"]);
        assert_eq!(old[0]["message"], "Blocked 'script' from 'evil.example'");
        assert_eq!(
            (&old[0]["environment"], &new[0]["release"]),
            (&json!("live"), &json!("1.0"))
        );
    }

    #[test]
    fn certificates_are_reported_by_host() {
        for (report, message) in [
            (
                json!({ "expect-ct-report": { "hostname": "a.example" } }),
                "Expect-CT failed for 'a.example'",
            ),
            (
                json!({ "expect-staple-report": { "hostname": "b" } }),
                "Expect-Staple failed for 'b'",
            ),
            (
                json!({ "hostname": "c", "known-pins": [] }),
                "HPKP failed for 'c'",
            ),
        ] {
            let found = events(report.to_string().as_bytes(), None, None).unwrap();
            assert_eq!(found[0]["message"], message);
        }
    }

    #[test]
    fn what_is_no_report_is_refused() {
        assert!(matches!(
            events(b"{", None, None),
            Err(SecurityReportError::Json(_))
        ));
        for body in [
            "{}",
            "[]",
            "7",
            r#"{"csp-report":5}"#,
            r#"[{"type":"crash","body":{}}]"#,
        ] {
            assert_eq!(
                events(body.as_bytes(), None, None),
                Err(SecurityReportError::Unknown),
                "{body}"
            );
        }
        let many = json!(vec![json!({ "csp-report": {} }); 101]).to_string();
        assert_eq!(
            events(many.as_bytes(), None, None),
            Err(SecurityReportError::TooMany)
        );
    }

    #[test]
    fn what_was_blocked_is_a_word_or_a_host() {
        for (blocked, source) in [
            ("", "self"),
            ("inline", "inline"),
            ("data:image/png", "data"),
            ("https://shop.example/x", "self"),
            ("https://cdn.example:8443/x", "cdn.example:8443"),
        ] {
            assert_eq!(blocked_source(blocked, "https://shop.example/"), source);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in any::<Vec<u8>>()) {
            let _ = events(&bytes, None, None);
        }
    }
}
