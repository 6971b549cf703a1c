//! Identities: one newtype per kind of id, so that none can stand in for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is not the id it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidId;

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a valid id")
    }
}

impl std::error::Error for InvalidId {}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID inside, as the database stores it.
            #[must_use]
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }

            /// The UUID inside, by value.
            #[must_use]
            pub const fn into_uuid(self) -> Uuid {
                self.0
            }

            /// The 32 lower-case hex digits without dashes, as Sentry SDKs write ids.
            #[must_use]
            pub fn to_simple(self) -> String {
                self.0.simple().to_string()
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// Reads a UUID with or without dashes, in either case.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                match text.len() {
                    32 | 36 => Uuid::try_parse(text).map(Self).map_err(|_| InvalidId),
                    _ => Err(InvalidId),
                }
            }
        }
    };
}

uuid_id!(
    /// An organisation: the owner of projects and members.
    OrganizationId
);
uuid_id!(
    /// A project; also the name space from which the ids of its issues are derived.
    ProjectId
);
uuid_id!(
    /// An issue: the group of events with one cause. Derived, see [`IssueId::derive`].
    IssueId
);
uuid_id!(
    /// One event, named by the SDK that sent it.
    EventId
);
uuid_id!(
    /// A person who may log in.
    UserId
);

impl IssueId {
    /// The id of the issue that `key` names in `project`: UUID version 5, so that every node computes the same id without asking.
    #[must_use]
    pub fn derive(project: ProjectId, key: &str) -> Self {
        Self(Uuid::new_v5(project.as_uuid(), key.as_bytes()))
    }
}

/// The small number of a project: what DSNs and the paths of the Sentry protocol carry, since SDKs want digits there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProjectNumber(i32);

impl ProjectNumber {
    /// Wraps a number.
    #[must_use]
    pub const fn new(number: i32) -> Self {
        Self(number)
    }

    /// The number inside, as the database stores it.
    #[must_use]
    pub const fn get(self) -> i32 {
        self.0
    }
}

impl fmt::Display for ProjectNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ProjectNumber {
    type Err = InvalidId;

    /// Reads decimal digits only: no sign, no spaces.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidId);
        }
        text.parse().map(Self).map_err(|_| InvalidId)
    }
}

#[cfg(test)]
mod tests {
    use super::{EventId, IssueId, ProjectId, ProjectNumber};

    const DASHED: &str = "7f7aaadf-a006-4217-9ed5-5fbf8585c6c0";

    #[test]
    fn ids_read_both_forms_and_write_dashes() {
        let dashed: EventId = DASHED.parse().unwrap();
        let simple: EventId = DASHED.replace('-', "").to_uppercase().parse().unwrap();
        assert_eq!(dashed, simple);
        assert_eq!(dashed.to_string(), DASHED);
        assert_eq!(dashed.to_simple(), DASHED.replace('-', ""));
        assert_eq!(
            serde_json::to_string(&dashed).unwrap(),
            format!("\"{DASHED}\"")
        );
    }

    #[test]
    fn ids_refuse_other_texts() {
        for text in [
            "",
            "1",
            "zz7aaadfa00642179ed55fbf8585c6c0",
            "{7f7aaadf-a006-4217-9ed5-5fbf8585c6c0}",
        ] {
            assert!(text.parse::<EventId>().is_err(), "{text}");
        }
        for text in ["", "-1", "+1", " 1", "99999999999", "a"] {
            assert!(text.parse::<ProjectNumber>().is_err(), "{text}");
        }
    }

    #[test]
    fn issue_ids_depend_on_project_and_key_only() {
        let one: ProjectId = DASHED.parse().unwrap();
        let other: ProjectId = "0d9b2c11-55aa-4f0e-8a51-1c2d3e4f5a6b".parse().unwrap();
        assert_eq!(IssueId::derive(one, "v1:a"), IssueId::derive(one, "v1:a"));
        assert_ne!(IssueId::derive(one, "v1:a"), IssueId::derive(one, "v1:b"));
        assert_ne!(IssueId::derive(one, "v1:a"), IssueId::derive(other, "v1:a"));
    }
}
