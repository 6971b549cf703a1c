//! Pure: a path under `/api/v1` and a method become a [`Route`], or the exact reason why not.
//!
//! A table instead of a chain of warp filters, because a chain cannot tell "no such path" (404) from "wrong method" (405)
//! once a later filter answers every GET.

use uuid::Uuid;
use warp::http::Method;

use super::error::ApiError;

/// Everything the API answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Who is logged in, and whether set-up is still to be done; needs no authentication.
    Session,
    /// First set-up with the one-time token.
    Setup,
    /// Exchange of password for a session cookie.
    Login,
    /// End of the session.
    Logout,
    /// The user behind the request.
    Me,
    /// Every project.
    Projects,
    /// One project, by UUID or slug.
    Project(String),
    /// Issues of a project.
    ProjectIssues(String),
    /// How much of a project's events is let in.
    ProjectLimits(String),
    /// A change of that.
    SetProjectLimits(String),
    /// How a project's events ended.
    ProjectOutcomes(String),
    /// Events that could not be processed or stored.
    Quarantine(String),
    /// One of them, to be tried again.
    Replay(String, i64),
    /// One event; `latest` with `?issue=`.
    ProjectEvent(String, String),
    /// One issue.
    Issue(Uuid),
    /// Events of an issue.
    IssueEvents(Uuid),
    /// What users wrote about an issue's events.
    IssueUserReports(Uuid),
    /// What users wrote about a project.
    ProjectUserReports(String),
    /// A change of an issue's status.
    IssueAction(Uuid, IssueAction),
    /// The live stream, asked for without an upgrade; an upgrade is taken before it gets here.
    Live,
    /// The socket for events, asked for without an upgrade.
    Ingest,
    /// The supervision tree.
    Runtime,
    /// The test hook that kills a named process.
    RuntimeKill,
    /// The test hook that steps the wall clock.
    RuntimeClock,
}

/// What a user does to an issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IssueAction {
    /// Fixed.
    Resolve,
    /// Open again.
    Unresolve,
    /// Not worth looking at.
    Archive,
}

impl Route {
    /// Reads the path below `/api/v1`, already split and percent-decoded, and checks the method.
    ///
    /// `HEAD` counts as `GET`.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] for an unknown path, [`ApiError::MethodNotAllowed`] for a known one with another method.
    pub(crate) fn parse(method: &Method, segments: &[&str]) -> Result<Route, ApiError> {
        if let ["projects", project, "limits"] = segments {
            return match *method {
                Method::GET | Method::HEAD => Ok(Route::ProjectLimits((*project).to_owned())),
                Method::PUT => Ok(Route::SetProjectLimits((*project).to_owned())),
                _ => Err(ApiError::MethodNotAllowed("GET, HEAD, PUT")),
            };
        }
        let (allow, route) = Route::lookup(segments)?;
        let method = if method == Method::HEAD {
            "GET"
        } else {
            method.as_str()
        };
        if method == allow {
            Ok(route)
        } else {
            Err(ApiError::MethodNotAllowed(allow))
        }
    }

    fn lookup(segments: &[&str]) -> Result<(&'static str, Route), ApiError> {
        let issue = |id: &str| Uuid::parse_str(id).map_err(|_| ApiError::NotFound("issue"));
        Ok(match segments {
            ["session"] => ("GET", Route::Session),
            ["setup"] => ("POST", Route::Setup),
            ["login"] => ("POST", Route::Login),
            ["logout"] => ("POST", Route::Logout),
            ["me"] => ("GET", Route::Me),
            ["projects"] => ("GET", Route::Projects),
            ["projects", project] => ("GET", Route::Project((*project).to_owned())),
            ["projects", project, "issues"] => ("GET", Route::ProjectIssues((*project).to_owned())),
            ["projects", project, "outcomes"] => {
                ("GET", Route::ProjectOutcomes((*project).to_owned()))
            }
            ["projects", project, "user-reports"] => {
                ("GET", Route::ProjectUserReports((*project).to_owned()))
            }
            ["projects", project, "quarantine"] => {
                ("GET", Route::Quarantine((*project).to_owned()))
            }
            ["projects", project, "quarantine", id, "replay"] => {
                let id = id
                    .parse()
                    .map_err(|_| ApiError::NotFound("quarantined event"))?;
                ("POST", Route::Replay((*project).to_owned(), id))
            }
            ["projects", project, "events", event] => (
                "GET",
                Route::ProjectEvent((*project).to_owned(), (*event).to_owned()),
            ),
            ["issues", id] => ("GET", Route::Issue(issue(id)?)),
            ["issues", id, "events"] => ("GET", Route::IssueEvents(issue(id)?)),
            ["issues", id, "user-reports"] => ("GET", Route::IssueUserReports(issue(id)?)),
            ["issues", id, "resolve"] => {
                ("POST", Route::IssueAction(issue(id)?, IssueAction::Resolve))
            }
            ["issues", id, "unresolve"] => (
                "POST",
                Route::IssueAction(issue(id)?, IssueAction::Unresolve),
            ),
            ["issues", id, "archive"] => {
                ("POST", Route::IssueAction(issue(id)?, IssueAction::Archive))
            }
            ["live"] => ("GET", Route::Live),
            ["ingest"] => ("GET", Route::Ingest),
            ["runtime"] => ("GET", Route::Runtime),
            ["runtime", "kill"] => ("POST", Route::RuntimeKill),
            ["runtime", "clock"] => ("POST", Route::RuntimeClock),
            _ => return Err(ApiError::NotFound("API path")),
        })
    }

    /// Whether the route answers without a session or a token.
    pub(crate) fn is_open(&self) -> bool {
        matches!(
            self,
            Route::Session | Route::Setup | Route::Login | Route::Logout | Route::Ingest
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: &Method, path: &str) -> Result<Route, ApiError> {
        Route::parse(method, &path.split('/').collect::<Vec<_>>())
    }

    #[test]
    fn only_five_routes_are_open() {
        let id = Uuid::nil();
        for (path, method, open) in [
            ("session".to_owned(), Method::GET, true),
            ("setup".to_owned(), Method::POST, true),
            ("login".to_owned(), Method::POST, true),
            ("logout".to_owned(), Method::POST, true),
            ("ingest".to_owned(), Method::GET, true),
            ("me".to_owned(), Method::GET, false),
            ("projects".to_owned(), Method::GET, false),
            ("projects/web".to_owned(), Method::GET, false),
            ("projects/web/issues".to_owned(), Method::GET, false),
            ("projects/web/events/latest".to_owned(), Method::GET, false),
            ("projects/web/limits".to_owned(), Method::GET, false),
            ("projects/web/limits".to_owned(), Method::PUT, false),
            ("projects/web/outcomes".to_owned(), Method::GET, false),
            ("projects/web/quarantine".to_owned(), Method::GET, false),
            (
                "projects/web/quarantine/7/replay".to_owned(),
                Method::POST,
                false,
            ),
            (format!("issues/{id}"), Method::HEAD, false),
            (format!("issues/{id}/events"), Method::GET, false),
            (format!("issues/{id}/user-reports"), Method::GET, false),
            ("projects/web/user-reports".to_owned(), Method::GET, false),
            (format!("issues/{id}/archive"), Method::POST, false),
            ("live".to_owned(), Method::GET, false),
            ("runtime".to_owned(), Method::GET, false),
            ("runtime/kill".to_owned(), Method::POST, false),
            ("runtime/clock".to_owned(), Method::POST, false),
        ] {
            assert_eq!(parse(&method, &path).unwrap().is_open(), open, "{path}");
        }
    }

    #[test]
    fn a_wrong_method_is_not_a_wrong_path() {
        assert!(matches!(
            parse(&Method::DELETE, "projects"),
            Err(ApiError::MethodNotAllowed("GET"))
        ));
        assert!(matches!(
            parse(&Method::GET, "login"),
            Err(ApiError::MethodNotAllowed("POST"))
        ));
        assert!(matches!(
            parse(&Method::GET, "nothing"),
            Err(ApiError::NotFound(_))
        ));
        assert!(matches!(
            parse(&Method::GET, "issues/42"),
            Err(ApiError::NotFound("issue"))
        ));
    }
}
