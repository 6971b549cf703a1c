//! Pure: which credential a request carries, and the cookie that carries a session.

use warp::http::{HeaderMap, header};

/// The cookie's name.
pub(crate) const COOKIE: &str = "mesher_session";

/// How long a session lives, in seconds: 30 days.
pub(crate) const SESSION_SECONDS: i64 = 30 * 24 * 60 * 60;

/// What a request shows to prove who it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    /// `Authorization: Bearer TOKEN`.
    Token(String),
    /// The session cookie's value.
    Session(String),
}

/// Finds the credential; a bearer token wins over a cookie.
pub(crate) fn credential(headers: &HeaderMap) -> Option<Credential> {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .filter(|token| !token.is_empty());
    if let Some(token) = bearer {
        return Some(Credential::Token(token.to_owned()));
    }
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == COOKIE && !value.is_empty())
        .map(|(_, value)| Credential::Session(value.to_owned()))
}

/// The `Set-Cookie` that starts a session; not readable by scripts, not sent by other sites' forms.
pub(crate) fn set_cookie(secret: &str, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE}={secret}; Path=/; Max-Age={SESSION_SECONDS}; HttpOnly; SameSite=Lax{secure}")
}

/// The `Set-Cookie` that ends it.
pub(crate) fn clear_cookie() -> String {
    format!("{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_token_wins_over_a_cookie() {
        let both = headers(&[
            (header::COOKIE, "theme=dark; mesher_session=abc"),
            (header::AUTHORIZATION, "bearer  t0ken "),
        ]);
        assert_eq!(
            credential(&both),
            Some(Credential::Token("t0ken".to_owned()))
        );
        let cookie = headers(&[(header::COOKIE, "theme=dark; mesher_session=abc")]);
        assert_eq!(
            credential(&cookie),
            Some(Credential::Session("abc".to_owned()))
        );
    }

    #[test]
    fn other_schemes_and_empty_values_are_nothing() {
        for (name, value) in [
            (header::AUTHORIZATION, "Basic abc"),
            (header::AUTHORIZATION, "Bearer "),
            (header::COOKIE, "mesher_session="),
            (header::COOKIE, "xmesher_session=abc"),
        ] {
            assert_eq!(credential(&headers(&[(name, value)])), None, "{value}");
        }
    }

    #[test]
    fn what_is_set_is_found_again() {
        let cookie = set_cookie("s3cret", true);
        assert!(
            cookie.contains("HttpOnly")
                && cookie.contains("SameSite=Lax")
                && cookie.ends_with("Secure")
        );
        let pair = cookie.split(';').next().unwrap();
        assert_eq!(
            credential(&headers(&[(header::COOKIE, pair)])),
            Some(Credential::Session("s3cret".to_owned()))
        );
    }
}
