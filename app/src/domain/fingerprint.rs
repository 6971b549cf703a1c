//! What makes two events one issue: a hash and the version of the algorithm that made it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ids::{IssueId, ProjectId};

/// The identity of a group of events within a project.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The version of the algorithm; a new one never changes the hashes of an old one.
    pub version: u16,
    /// 32 lower-case hex digits.
    pub hash: String,
}

impl Fingerprint {
    /// The id of the issue this fingerprint names in `project`.
    #[must_use]
    pub fn issue_id(&self, project: ProjectId) -> IssueId {
        IssueId::derive(project, &self.to_string())
    }
}

impl fmt::Display for Fingerprint {
    /// `v1:0123…`: the version, then the hash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}:{}", self.version, self.hash)
    }
}
