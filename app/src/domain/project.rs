//! Projects and the public keys that let SDKs send to them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ids::{InvalidId, OrganizationId, ProjectId, ProjectNumber};

/// A project: where events of one program go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Its identity.
    pub id: ProjectId,
    /// The small number its DSNs carry.
    pub number: ProjectNumber,
    /// Who owns it.
    pub organization_id: OrganizationId,
    /// Its name in URLs and in short ids of issues.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// The platform chosen at its creation, if any (`python`, `node` …).
    pub platform: Option<String>,
}

/// A key of a project, by which an SDK proves where it may send. It is public: it can only add events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectKey {
    /// The project it opens.
    pub project_id: ProjectId,
    /// What the DSN carries as its user.
    pub public_key: PublicKey,
    /// What people call it.
    pub label: String,
    /// Whether it is accepted; a revoked key stays listed.
    pub active: bool,
}

/// The public key of a DSN: 16 bytes, written as 32 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 16]);

impl PublicKey {
    /// Makes a key of 16 random bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicKey {
    /// Shows the first digits only: logs need to tell keys apart, not to hand them out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

impl FromStr for PublicKey {
    type Err = InvalidId;

    /// Reads exactly 32 hex digits in either case; dashes of a UUID are allowed.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        match text.len() {
            32 | 36 => uuid::Uuid::try_parse(text)
                .map(|uuid| Self(uuid.into_bytes()))
                .map_err(|_| InvalidId),
            _ => Err(InvalidId),
        }
    }
}

impl Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::PublicKey;

    #[test]
    fn keys_read_back_and_hide_in_debug() {
        let text = "a94ae32be2584e0bbd7a4cbb95971fee";
        let key: PublicKey = text.parse().unwrap();
        assert_eq!(key.to_string(), text);
        assert!(!format!("{key:?}").contains("e32b"));
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<PublicKey>(&json).unwrap(), key);
        assert!("short".parse::<PublicKey>().is_err());
    }
}
