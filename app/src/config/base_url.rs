//! The URL under which people and SDKs reach this server, and the links built on it.

use std::fmt;

use crate::domain::{ProjectNumber, PublicKey};

/// A base URL without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    scheme: String,
    rest: String,
}

impl BaseUrl {
    /// Reads `http://HOST[:PORT][/PATH]` or the same with `https`; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<BaseUrl> {
        let (scheme, rest) = text.trim().trim_end_matches('/').split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let known = matches!(scheme.as_str(), "http" | "https");
        let plain = !rest.is_empty() && !rest.contains(['@', '?', '#', ' ', '"', '\'']);
        (known && plain).then(|| BaseUrl {
            scheme,
            rest: rest.to_owned(),
        })
    }

    /// What an SDK is configured with: `SCHEME://KEY@HOST/NUMBER`.
    #[must_use]
    pub fn dsn(&self, key: PublicKey, number: ProjectNumber) -> String {
        format!("{}://{key}@{}/{number}", self.scheme, self.rest)
    }

    /// The one-time link to the first set-up.
    #[must_use]
    pub fn setup_link(&self, token: &str) -> String {
        format!("{self}/setup?token={token}")
    }

    /// Whether `origin`, as browsers write it, is that of our own pages.
    #[must_use]
    pub fn is_origin(&self, origin: &str) -> bool {
        let authority = self.rest.split('/').next().unwrap_or_default();
        origin.split_once("://").is_some_and(|(scheme, asking)| {
            scheme == self.scheme && asking.eq_ignore_ascii_case(authority)
        })
    }

    /// Whether browsers reach us by TLS, so that cookies may be kept to it.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.scheme == "https"
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_pages_have_one_origin() {
        let url = BaseUrl::parse("https://Errors.example.com/mesher/").unwrap();
        assert!(url.is_origin("https://errors.example.com"));
        for foreign in [
            "http://errors.example.com",
            "https://errors.example.com:8080",
            "https://errors.example.com.evil.example",
            "https://evil.example",
            "null",
            "",
        ] {
            assert!(!url.is_origin(foreign), "{foreign}");
        }
    }

    #[test]
    fn links_are_built_on_it() {
        let url = BaseUrl::parse("HTTPS://errors.example.com/mesher/").unwrap();
        let key: PublicKey = "0123456789abcdef0123456789abcdef".parse().unwrap();
        assert!(url.is_secure());
        assert_eq!(
            url.dsn(key, ProjectNumber::new(7)),
            "https://0123456789abcdef0123456789abcdef@errors.example.com/mesher/7"
        );
        assert_eq!(
            url.setup_link("abc"),
            "https://errors.example.com/mesher/setup?token=abc"
        );
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "errors.example.com",
            "ftp://x",
            "http://",
            "http://a@b",
            "http://a?b",
        ] {
            assert_eq!(BaseUrl::parse(text), None, "{text}");
        }
    }
}
