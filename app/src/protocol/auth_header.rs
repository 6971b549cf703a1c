//! The key of a request, wherever its client puts it.
//!
//! Source: getsentry/relay `extractors/request_meta.rs`; Sentry, developer docs, "Authentication".

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose;

use super::dsn::Dsn;
use crate::domain::PublicKey;

/// The highest version of the protocol there is.
const VERSION_MAX: u16 = 7;

/// What a client says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// The key.
    pub key: PublicKey,
    /// The version of the protocol, if said.
    pub version: Option<u16>,
    /// The SDK and its version, if said.
    pub client: Option<String>,
}

/// Why a request has no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// There is none.
    Missing,
    /// There is something in its place.
    Malformed,
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "no key given",
            Self::Malformed => "malformed key",
        })
    }
}

impl std::error::Error for AuthError {}

/// Finds the key: the first usable one of `X-Sentry-Auth`, `Authorization` (`Sentry`, `Basic` with the key as user, `Bearer`),
/// the query (`sentry_key`), and the DSN of the envelope's header. `header` looks a header up by its lower-case name.
///
/// # Errors
/// `Missing` if none of the places holds anything, `Malformed` if only something that is no key.
pub fn find<'request>(
    header: impl Fn(&str) -> Option<&'request str>,
    query: Option<&str>,
    envelope_dsn: Option<&str>,
) -> Result<Auth, AuthError> {
    let forms = [
        header("x-sentry-auth")
            .map(|text| from_pairs(strip_scheme(text, "sentry").unwrap_or(text))),
        header("authorization").map(from_authorization),
        query.and_then(from_query),
        envelope_dsn.map(from_dsn),
    ];
    let mut error = AuthError::Missing;
    for form in forms.into_iter().flatten() {
        match form {
            Some(auth) => return Ok(auth),
            None => error = AuthError::Malformed,
        }
    }
    Err(error)
}

/// The rest of `text` after `scheme` in any case and at least one space.
fn strip_scheme<'text>(text: &'text str, scheme: &str) -> Option<&'text str> {
    let text = text.trim();
    let (head, rest) = text.split_at_checked(scheme.len())?;
    (head.eq_ignore_ascii_case(scheme) && rest.starts_with([' ', '\t'])).then(|| rest.trim())
}

fn from_authorization(text: &str) -> Option<Auth> {
    if let Some(pairs) = strip_scheme(text, "sentry") {
        return from_pairs(pairs);
    }
    if let Some(key) = strip_scheme(text, "bearer") {
        return only_key(key);
    }
    let encoded = strip_scheme(text, "basic")?.trim_end_matches('=');
    let decoded = general_purpose::STANDARD_NO_PAD.decode(encoded).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    only_key(decoded.split(':').next()?)
}

fn from_dsn(text: &str) -> Option<Auth> {
    let dsn: Dsn = text.parse().ok()?;
    Some(Auth {
        key: dsn.public_key,
        version: None,
        client: None,
    })
}

fn only_key(key: &str) -> Option<Auth> {
    Some(Auth {
        key: key.trim().parse().ok()?,
        version: None,
        client: None,
    })
}

/// Reads `sentry_key=…, sentry_version=…`, separated by commas, spaces free, values perhaps quoted.
fn from_pairs(text: &str) -> Option<Auth> {
    collect(text.split(',').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((name.trim(), Cow::Borrowed(value.trim().trim_matches('"'))))
    }))
}

/// `None` if the query has no key at all.
fn from_query(query: &str) -> Option<Option<Auth>> {
    let pairs = || {
        query.trim_start_matches('?').split('&').filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((name, percent_decode(value)))
        })
    };
    pairs()
        .any(|(name, _)| name == "sentry_key")
        .then(|| collect(pairs()))
}

/// The first value under `name` in a query, decoded; an empty one counts as none.
#[must_use]
pub fn query_value(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.trim_start_matches('?').split('&');
    let value = pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(percent_decode(value).into_owned()).filter(|value| !value.is_empty())
}

fn collect<'text>(pairs: impl Iterator<Item = (&'text str, Cow<'text, str>)>) -> Option<Auth> {
    let mut key = None;
    let mut version = None;
    let mut client = None;
    for (name, value) in pairs {
        match name {
            "sentry_key" if key.is_none() => key = Some(value.parse().ok()?),
            // Old clients write `2.0`.
            "sentry_version" => {
                version = value
                    .split('.')
                    .next()
                    .and_then(|major| major.parse::<u16>().ok());
            }
            "sentry_client" => client = Some(value.chars().take(200).collect()),
            _ => {}
        }
    }
    if version.is_some_and(|version| version > VERSION_MAX) {
        return None;
    }
    Some(Auth {
        key: key?,
        version,
        client,
    })
}

/// Decodes `%XX` and `+`; what is not decodable stays as it is.
fn percent_decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let hex = |at: usize| {
            bytes
                .get(at)
                .and_then(|byte| char::from(*byte).to_digit(16))
        };
        match (bytes[index], hex(index + 1), hex(index + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                index += 3;
                continue;
            }
            (b'+', _, _) => decoded.push(b' '),
            (byte, _, _) => decoded.push(byte),
        }
        index += 1;
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{Auth, AuthError, find};
    use proptest::prelude::proptest;

    const KEY: &str = "a94ae32be2584e0bbd7a4cbb95971fee";
    /// `KEY` and a colon in base64.
    const BASIC: &str = "YTk0YWUzMmJlMjU4NGUwYmJkN2E0Y2JiOTU5NzFmZWU6";

    fn auth(
        headers: &[(&str, &str)],
        query: Option<&str>,
        dsn: Option<&str>,
    ) -> Result<Auth, AuthError> {
        find(
            |name| {
                headers
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| *value)
            },
            query,
            dsn,
        )
    }

    #[test]
    fn every_form_gives_the_key() {
        let sentry =
            format!("Sentry sentry_key={KEY}, sentry_version=7,sentry_client=sentry.python/2.75.0");
        let shouted = format!("SENTRY   sentry_version=7 , sentry_key={KEY}");
        let bare = format!("sentry_key={KEY}");
        let dsn = format!("http://{KEY}@localhost:9000/1");
        for found in [
            auth(&[("x-sentry-auth", &sentry)], None, None),
            auth(&[("x-sentry-auth", &shouted)], None, None),
            auth(&[("x-sentry-auth", &bare)], None, None),
            auth(&[("authorization", &sentry)], None, None),
            auth(&[("authorization", &format!("Basic {BASIC}"))], None, None),
            auth(&[("authorization", &format!("Bearer {KEY}"))], None, None),
            auth(
                &[],
                Some(&format!(
                    "sentry_version=7&sentry_key={KEY}&sentry_client=sentry.javascript.node%2F11.12.0"
                )),
                None,
            ),
            auth(&[], None, Some(&dsn)),
        ] {
            assert_eq!(found.unwrap().key.to_string(), KEY);
        }
    }

    #[test]
    fn version_and_client_are_read() {
        let query = format!(
            "sentry_key={KEY}&sentry_version=7&sentry_client=sentry.javascript.node%2F11.12.0"
        );
        let found = auth(&[], Some(&query), None).unwrap();
        assert_eq!(found.version, Some(7));
        assert_eq!(
            found.client.as_deref(),
            Some("sentry.javascript.node/11.12.0")
        );
    }

    #[test]
    fn the_first_usable_form_wins() {
        let other = KEY.replace('a', "b");
        let header = format!("Sentry sentry_key={KEY}");
        let found = auth(
            &[("x-sentry-auth", &header)],
            Some(&format!("sentry_key={other}")),
            None,
        );
        assert_eq!(found.unwrap().key.to_string(), KEY);
        let proxied = auth(
            &[("authorization", "Digest whatever")],
            Some(&format!("sentry_key={other}")),
            None,
        );
        assert_eq!(proxied.unwrap().key.to_string(), other);
    }

    #[test]
    fn missing_is_not_malformed() {
        assert_eq!(auth(&[], None, None), Err(AuthError::Missing));
        assert_eq!(auth(&[], Some("page=2"), None), Err(AuthError::Missing));
        for header in [
            "",
            "Sentry",
            "Sentry sentry_key=short",
            "Sentry sentry_version=7",
            "Basic !!",
            "Bearer",
        ] {
            assert_eq!(
                auth(&[("authorization", header)], None, None),
                Err(AuthError::Malformed),
                "{header}"
            );
        }
        let newer = format!("Sentry sentry_key={KEY}, sentry_version=8");
        assert_eq!(
            auth(&[("x-sentry-auth", &newer)], None, None),
            Err(AuthError::Malformed)
        );
        assert_eq!(
            auth(&[], Some("sentry_key=%zz"), None),
            Err(AuthError::Malformed)
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(header in ".{0,60}", query in "(sentry_key=)?.{0,60}") {
            let _ = auth(&[("x-sentry-auth", &header), ("authorization", &header)], Some(&query), Some(&header));
        }
    }
}
