//! Pure: the query string of a list, with its bounds.

use super::error::ApiError;
use crate::storage::cursor::{LIMIT_DEFAULT, LIMIT_MAX};

/// The decoded pairs of a query string.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Splits and decodes; a pair without `=` has an empty value.
    pub(crate) fn parse(raw: &str) -> Query {
        Query(
            raw.split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name, true), decode(value, true))
                })
                .collect(),
        )
    }

    /// The first value under `name` that is not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// `limit`, within its bounds; more is refused, because a silent cut would look like the end of the list.
    ///
    /// # Errors
    /// [`ApiError::BadRequest`] if it is no number from 1 to [`LIMIT_MAX`].
    pub(crate) fn limit(&self) -> Result<u16, ApiError> {
        let Some(text) = self.get("limit") else {
            return Ok(LIMIT_DEFAULT);
        };
        match text.parse() {
            Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
            _ => Err(ApiError::BadRequest(format!(
                "limit is {text:?}: expected a number from 1 to {LIMIT_MAX}"
            ))),
        }
    }
}

/// Undoes percent-encoding (and `+` for a space in queries); what is not a valid escape stays as it is.
pub(crate) fn decode(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = bytes
            .get(at + 1..at + 3)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (bytes[at], escape) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 3;
                continue;
            }
            (b'+', _) if plus_is_space => decoded.push(b' '),
            (byte, _) => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded() {
        let query = Query::parse("query=say+%22hi%22&cursor=&status=all&flag");
        assert_eq!(query.get("query"), Some("say \"hi\""));
        assert_eq!(query.get("cursor"), None);
        assert_eq!(query.get("status"), Some("all"));
        assert_eq!(decode("100%25%zz%4", false), "100%%zz%4");
    }

    #[test]
    fn limits_have_bounds() {
        assert_eq!(Query::parse("").limit().unwrap(), LIMIT_DEFAULT);
        assert_eq!(Query::parse("limit=100").limit().unwrap(), 100);
        for bad in ["limit=0", "limit=101", "limit=x", "limit=-1"] {
            assert!(Query::parse(bad).limit().is_err(), "{bad}");
        }
    }
}
