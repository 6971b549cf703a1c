//! The opening handshake, pure: what a request must say, and what it is answered.
//!
//! Source: RFC 6455, sections 4.2.1 and 4.2.2.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header::{
    CONNECTION, HOST, HeaderName, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};

use super::Origins;

/// What RFC 6455 has every server append to the client's key.
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Bytes a client's key must decode to.
const KEY_BYTES: usize = 16;

/// Why a handshake is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A header is missing or malformed.
    Malformed(&'static str),
    /// Not version 13 of the protocol.
    Version,
    /// A page from another origin asks.
    Origin,
}

/// Whether the request asks for a WebSocket at all.
pub(super) fn is_asked(headers: &HeaderMap) -> bool {
    has_token(headers, &UPGRADE, "websocket")
}

/// The answer to the client's key, or why there is none.
pub(super) fn agree(headers: &HeaderMap) -> Result<String, Refusal> {
    if !has_token(headers, &CONNECTION, "upgrade") {
        return Err(Refusal::Malformed(
            "the connection header does not name the upgrade",
        ));
    }
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return Err(Refusal::Version);
    }
    let key = headers
        .get(SEC_WEBSOCKET_KEY)
        .map(|key| key.as_bytes())
        .unwrap_or_default();
    match STANDARD.decode(key) {
        Ok(nonce) if nonce.len() == KEY_BYTES => Ok(accept_key(key)),
        _ => Err(Refusal::Malformed(
            "the key is missing or not 16 bytes of base64",
        )),
    }
}

/// The first of `spoken` that the client offers.
pub(super) fn protocol(headers: &HeaderMap, spoken: &[String]) -> Option<String> {
    let offered = |protocol: &&String| {
        let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        let mut words = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        // A protocol's case counts, unlike that of the other words here.
        words.any(|word| word.trim() == protocol.as_str())
    };
    spoken.iter().find(offered).cloned()
}

/// Checks where the page that asks comes from. A client that names no origin is no browser, and passes.
pub(super) fn check_origin(headers: &HeaderMap, origins: &Origins) -> Result<(), Refusal> {
    let Some(origin) = headers.get(ORIGIN) else {
        return Ok(());
    };
    let origin = origin.to_str().map_err(|_| Refusal::Origin)?;
    let allowed = match origins {
        Origins::Any => true,
        Origins::SameHost => {
            let host = headers.get(HOST).and_then(|host| host.to_str().ok());
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            matches!((host, authority), (Some(host), Some(page)) if host.eq_ignore_ascii_case(page))
        }
        Origins::Listed(list) => list
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(origin)),
    };
    if allowed {
        Ok(())
    } else {
        Err(Refusal::Origin)
    }
}

fn accept_key(key: &[u8]) -> String {
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key);
    hash.update(KEY_SUFFIX);
    STANDARD.encode(hash.digest().bytes())
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(changes: &[(&HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let usual = [
            (&UPGRADE, "WebSocket"),
            (&CONNECTION, "keep-alive, Upgrade"),
            (&SEC_WEBSOCKET_VERSION, "13"),
            (&SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
            (&HOST, "example.com:8000"),
        ];
        for (name, value) in usual.iter().chain(changes) {
            headers.insert(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_sample_of_the_rfc() {
        let headers = request(&[]);
        assert!(is_asked(&headers));
        assert_eq!(agree(&headers).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(!is_asked(&HeaderMap::new()));
        assert_eq!(
            agree(&request(&[(&SEC_WEBSOCKET_VERSION, "8")])),
            Err(Refusal::Version)
        );
        for change in [
            (&CONNECTION, "close"),
            (&SEC_WEBSOCKET_KEY, "c2hvcnQ="),
            (&SEC_WEBSOCKET_KEY, "?"),
        ] {
            assert!(
                matches!(agree(&request(&[change])), Err(Refusal::Malformed(_))),
                "{change:?}"
            );
        }
    }

    #[test]
    fn the_first_protocol_of_ours_that_is_offered() {
        let spoken = ["chat.v2".to_owned(), "chat.v1".to_owned()];
        let offer = |value| request(&[(&SEC_WEBSOCKET_PROTOCOL, value)]);
        for (offered, agreed) in [
            ("chat.v1, chat.v2", Some("chat.v2")),
            ("soap,chat.v1", Some("chat.v1")),
            ("CHAT.V1", None),
            ("", None),
        ] {
            let found = protocol(&offer(offered), &spoken);
            assert_eq!(found.as_deref(), agreed, "{offered}");
        }
        assert_eq!(protocol(&request(&[]), &spoken), None);
        assert_eq!(protocol(&offer("chat.v1"), &[]), None);
    }

    #[test]
    fn origins() {
        let listed = Origins::Listed(vec!["https://dash.example".to_owned()]);
        let cases = [
            ("http://example.com:8000", &Origins::SameHost, true),
            ("https://EXAMPLE.com:8000", &Origins::SameHost, true),
            ("http://example.com", &Origins::SameHost, false),
            ("http://evil.example", &Origins::SameHost, false),
            ("null", &Origins::SameHost, false),
            ("https://dash.example", &listed, true),
            ("http://dash.example", &listed, false),
            ("null", &Origins::Any, true),
        ];
        for (origin, origins, allowed) in cases {
            let outcome = check_origin(&request(&[(&ORIGIN, origin)]), origins);
            assert_eq!(outcome.is_ok(), allowed, "{origin} under {origins:?}");
        }
        assert_eq!(check_origin(&request(&[]), &Origins::SameHost), Ok(()));
    }
}
