//! Data source names: the one URL that tells an SDK where to send and with which key.
//!
//! Source: Sentry, developer docs, "SDK overview: parsing the DSN".

use std::fmt;
use std::str::FromStr;

use crate::domain::{ProjectNumber, PublicKey};

/// `SCHEME://KEY@HOST[:PORT][/PATH]/NUMBER`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dsn {
    /// `http` or `https`.
    pub scheme: String,
    /// The key.
    pub public_key: PublicKey,
    /// The host, with the port if one is given.
    pub authority: String,
    /// The path before the number: empty, or with a leading and without a trailing slash.
    pub path: String,
    /// The project.
    pub project_number: ProjectNumber,
}

/// A text that is no DSN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidDsn;

impl fmt::Display for InvalidDsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a DSN")
    }
}

impl std::error::Error for InvalidDsn {}

impl fmt::Display for Dsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scheme,
            public_key,
            authority,
            path,
            project_number,
        } = self;
        write!(
            f,
            "{scheme}://{public_key}@{authority}{path}/{project_number}"
        )
    }
}

impl FromStr for Dsn {
    type Err = InvalidDsn;

    /// Reads a DSN; the secret key old clients carry after a colon is ignored.
    fn from_str(text: &str) -> Result<Self, InvalidDsn> {
        let (scheme, rest) = text.trim().split_once("://").ok_or(InvalidDsn)?;
        let scheme = scheme.to_ascii_lowercase();
        if scheme != "http" && scheme != "https" {
            return Err(InvalidDsn);
        }
        let (keys, rest) = rest.split_once('@').ok_or(InvalidDsn)?;
        let public_key = keys.split(':').next().unwrap_or_default();
        let rest = rest
            .split(['?', '#'])
            .next()
            .unwrap_or_default()
            .trim_end_matches('/');
        let (before, number) = rest.rsplit_once('/').ok_or(InvalidDsn)?;
        let (authority, path) = match before.find('/') {
            Some(slash) => before.split_at(slash),
            None => (before, ""),
        };
        if authority.is_empty() {
            return Err(InvalidDsn);
        }
        Ok(Self {
            scheme,
            public_key: public_key.parse().map_err(|_| InvalidDsn)?,
            authority: authority.to_owned(),
            path: path.trim_end_matches('/').to_owned(),
            project_number: number.parse().map_err(|_| InvalidDsn)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Dsn;
    use proptest::prelude::proptest;

    const KEY: &str = "a94ae32be2584e0bbd7a4cbb95971fee";

    #[test]
    fn reads_and_writes() {
        let text = format!("https://{KEY}@errors.example.com:8443/prefix/deep/42");
        let dsn: Dsn = text.parse().unwrap();
        assert_eq!(dsn.to_string(), text);
        assert_eq!(
            (dsn.authority.as_str(), dsn.path.as_str()),
            ("errors.example.com:8443", "/prefix/deep")
        );
        assert_eq!(dsn.project_number.get(), 42);
    }

    #[test]
    fn ignores_the_secret_and_a_trailing_slash() {
        let dsn: Dsn = format!("HTTP://{KEY}:secret@localhost/1/").parse().unwrap();
        assert_eq!(dsn.to_string(), format!("http://{KEY}@localhost/1"));
    }

    #[test]
    fn refuses_other_texts() {
        for text in [
            "",
            "https://",
            "https://localhost/1",
            "ftp://a94ae32be2584e0bbd7a4cbb95971fee@localhost/1",
            "https://a94ae32be2584e0bbd7a4cbb95971fee@localhost",
            "https://a94ae32be2584e0bbd7a4cbb95971fee@localhost/web",
            "https://a94ae32be2584e0bbd7a4cbb95971fee@/1",
            "https://short@localhost/1",
        ] {
            assert!(text.parse::<Dsn>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(https?://)?.{0,60}") {
            let _ = text.parse::<Dsn>();
        }
    }
}
