//! Which of our endpoints a path names.

use crate::domain::ProjectNumber;

/// An endpoint that takes events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// `/api/v1/events`: our own body.
    Native,
    /// `/api/v1/events/bulk`: many of our own bodies.
    Bulk,
    /// `/api/{project}/envelope`, with or without a slash behind it.
    Envelope(ProjectNumber),
    /// `/api/{project}/store`, with or without a slash behind it.
    Store(ProjectNumber),
    /// `/api/{project}/security` or `/api/{project}/csp-report`: what browsers report by themselves.
    Security(ProjectNumber),
}

impl Target {
    /// Reads a path; `None` when it is somebody else's.
    pub(super) fn parse(path: &str) -> Option<Target> {
        let path = path.strip_suffix('/').unwrap_or(path);
        if path == "/api/v1/events" {
            return Some(Target::Native);
        }
        if path == "/api/v1/events/bulk" {
            return Some(Target::Bulk);
        }
        let (project, endpoint) = path.strip_prefix("/api/")?.split_once('/')?;
        let project = project.parse().ok()?;
        match endpoint {
            "envelope" => Some(Target::Envelope(project)),
            "store" => Some(Target::Store(project)),
            "security" | "csp-report" => Some(Target::Security(project)),
            _ => None,
        }
    }

    /// Whether the body may be an envelope, whose header may hold the key.
    pub(super) fn takes_envelopes(self) -> bool {
        matches!(self, Target::Envelope(_) | Target::Store(_))
    }

    /// The project the path names, if it names one.
    pub(super) fn project(self) -> Option<ProjectNumber> {
        match self {
            Target::Native | Target::Bulk => None,
            Target::Envelope(number) | Target::Store(number) | Target::Security(number) => {
                Some(number)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Target;
    use crate::domain::ProjectNumber;

    #[test]
    fn paths_with_and_without_slash_and_nothing_else() {
        let seven = ProjectNumber::new(7);
        for (path, target) in [
            ("/api/v1/events", Some(Target::Native)),
            ("/api/v1/events/", Some(Target::Native)),
            ("/api/7/envelope", Some(Target::Envelope(seven))),
            ("/api/7/envelope/", Some(Target::Envelope(seven))),
            ("/api/7/store/", Some(Target::Store(seven))),
            ("/api/7/security/", Some(Target::Security(seven))),
            ("/api/7/csp-report", Some(Target::Security(seven))),
            ("/api/v1/events/bulk", Some(Target::Bulk)),
            ("/api/v1/issues", None),
            ("/api/x/envelope/", None),
            ("/api/7/envelope/x", None),
            ("/api/-7/envelope/", None),
            ("/", None),
        ] {
            assert_eq!(Target::parse(path), target, "{path}");
        }
    }
}
