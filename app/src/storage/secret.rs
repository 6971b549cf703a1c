//! Random tokens (sessions, API tokens, set-up links): shown once, stored as their SHA-256.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// A random token in clear. It is never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Makes a token of 32 random bytes, with a prefix that says what it is for (`msh_`).
    #[must_use]
    pub fn from_random(prefix: &str, random: [u8; 32]) -> Secret {
        Secret(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random)))
    }

    /// Takes a token that somebody presents.
    #[must_use]
    pub fn presented(text: &str) -> Secret {
        Secret(text.to_owned())
    }

    /// The token in clear, to be shown once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored. A plain hash will do: the token is 256 bits of chance, nothing to guess.
    #[must_use]
    pub fn digest(&self) -> Vec<u8> {
        Sha256::digest(self.0.as_bytes()).to_vec()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_presented_token_has_the_digest_of_the_made_one_and_hides_in_debug() {
        let made = Secret::from_random("msh_", [7; 32]);
        assert!(made.reveal().starts_with("msh_"));
        assert_eq!(Secret::presented(made.reveal()).digest(), made.digest());
        assert_ne!(Secret::from_random("msh_", [8; 32]).digest(), made.digest());
        assert!(!format!("{made:?}").contains("msh_"));
    }
}
