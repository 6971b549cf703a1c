//! Pure: what a dashboard may subscribe to, and the name of the room behind it.

use std::fmt;

use crate::domain::ids::{IssueId, ProjectId};

/// A project as people name it: by id or by slug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProjectRef {
    /// By UUID.
    Id(ProjectId),
    /// By slug.
    Slug(String),
}

/// What a client asks to follow, before a slug is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Everything of a project, or only its errors.
    Project {
        /// Which project.
        project: ProjectRef,
        /// Whether only events of level error and fatal are wanted.
        errors_only: bool,
    },
    /// One issue.
    Issue(IssueId),
}

/// A resolved topic; its text form is the name of its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Topic {
    /// Events, issues and counts of a project.
    Project(ProjectId),
    /// Only events of level error and fatal.
    Errors(ProjectId),
    /// Events and changes of one issue.
    Issue(IssueId),
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Topic::Project(id) => write!(f, "project:{id}"),
            Topic::Errors(id) => write!(f, "project:{id}:errors"),
            Topic::Issue(id) => write!(f, "issue:{id}"),
        }
    }
}

/// Reads `project:ID`, `project:ID:errors` or `issue:ID`; a project's id may be its slug.
pub(crate) fn parse(text: &str) -> Option<Request> {
    let (kind, rest) = text.split_once(':')?;
    match kind {
        "issue" => rest.parse().ok().map(Request::Issue),
        "project" => {
            let (name, errors_only) = match rest.split_once(':') {
                None => (rest, false),
                Some((name, "errors")) => (name, true),
                Some(_) => return None,
            };
            if name.is_empty() {
                return None;
            }
            let project = name
                .parse()
                .map_or_else(|_| ProjectRef::Slug(name.to_owned()), ProjectRef::Id);
            Some(Request::Project {
                project,
                errors_only,
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn ids_and_slugs_name_the_same_kind_of_topic() {
        let id = ProjectId::from_uuid(Uuid::from_u128(7));
        assert_eq!(
            parse(&Topic::Errors(id).to_string()),
            Some(Request::Project {
                project: ProjectRef::Id(id),
                errors_only: true
            })
        );
        assert_eq!(
            parse("project:web"),
            Some(Request::Project {
                project: ProjectRef::Slug("web".to_owned()),
                errors_only: false
            })
        );
        let issue = IssueId::from_uuid(Uuid::from_u128(9));
        assert_eq!(
            parse(&Topic::Issue(issue).to_string()),
            Some(Request::Issue(issue))
        );
    }

    #[test]
    fn anything_else_is_no_topic() {
        for text in [
            "",
            "project",
            "project:",
            "project:web:warnings",
            "issue:web",
            "org:1",
            "project::errors",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
