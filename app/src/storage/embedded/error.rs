//! What can go wrong with the private cluster; each text is one line that says what to do.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Why the private PostgreSQL is not available.
#[derive(Debug)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// No `initdb`, `postgres` and `pg_ctl` in any of the searched directories.
    NoBinaries {
        /// Where they were looked for.
        searched: Vec<PathBuf>,
    },
    /// The cluster belongs to another major version than every server found.
    OtherVersion {
        /// The major version that made the cluster.
        cluster: String,
        /// The major versions of the servers found.
        found: Vec<String>,
        /// The cluster's directory.
        data: PathBuf,
    },
    /// A file or directory could not be used.
    Io {
        /// What was being done.
        doing: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The process runs as root and there is no user to drop to.
    NoAccount,
    /// There is a cluster, but the user that runs the server cannot walk to it.
    Unreachable {
        /// The cluster's folder.
        data: PathBuf,
        /// Who cannot reach it.
        user: String,
    },
    /// The socket directory belongs to somebody else.
    SocketDirectory(PathBuf),
    /// A PostgreSQL tool failed; the text is the end of what it said.
    Tool {
        /// The tool's name.
        tool: &'static str,
        /// What it said.
        said: String,
    },
    /// The server could not be stopped; the text is what `pg_ctl` said.
    Stop(String),
    /// The server was not ready, or not down, in time.
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// For how long.
        after: Duration,
    },
    /// The runtime was shut down in the middle.
    Interrupted(String),
}

impl EmbeddedError {
    pub(super) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> EmbeddedError {
        let path = path.into();
        move |source| EmbeddedError::Io {
            doing,
            path,
            source,
        }
    }
}

impl fmt::Display for EmbeddedError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EmbeddedError::NoBinaries { searched } => {
                write!(
                    out,
                    "no PostgreSQL server found (searched {}): install it with `{}`, or set MESHER_DATABASE_URL to a server of yours",
                    list(searched.iter().map(|path| path.display().to_string())),
                    install_command(),
                )
            }
            EmbeddedError::OtherVersion {
                cluster,
                found,
                data,
            } => write!(
                out,
                "the database in {} was made by PostgreSQL {cluster}, but only PostgreSQL {} is installed: install PostgreSQL {cluster}, or convert the database with pg_upgrade",
                data.display(),
                list(found.iter().cloned()),
            ),
            EmbeddedError::Io {
                doing,
                path,
                source,
            } => write!(out, "cannot {doing} {}: {source}", path.display()),
            EmbeddedError::NoAccount => write!(
                out,
                "PostgreSQL refuses to run as root and neither user postgres nor nobody exists: create the user postgres, or start mesher as an ordinary user"
            ),
            EmbeddedError::Unreachable { data, user } => write!(
                out,
                "user {user}, who runs PostgreSQL, cannot reach the database in {}: let others search the directories above it (chmod o+x)",
                data.display()
            ),
            EmbeddedError::SocketDirectory(path) => write!(
                out,
                "the socket directory {} belongs to another user or is open to others: remove it",
                path.display()
            ),
            EmbeddedError::Tool { tool, said } => write!(out, "{tool} failed: {said}"),
            EmbeddedError::Stop(said) => write!(out, "the private PostgreSQL did not stop: {said}"),
            EmbeddedError::Timeout { what, after } => {
                write!(out, "{what}, still after {} s", after.as_secs())
            }
            EmbeddedError::Interrupted(why) => {
                write!(out, "starting PostgreSQL was interrupted: {why}")
            }
        }
    }
}

impl std::error::Error for EmbeddedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            EmbeddedError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

/// The command that installs PostgreSQL on this machine, by the package manager that is there.
fn install_command() -> &'static str {
    const MANAGERS: [(&str, &str); 6] = [
        ("/usr/bin/apt-get", "sudo apt-get install postgresql"),
        ("/usr/bin/dnf", "sudo dnf install postgresql-server"),
        ("/sbin/apk", "sudo apk add postgresql"),
        ("/usr/bin/pacman", "sudo pacman -S postgresql"),
        ("/usr/bin/zypper", "sudo zypper install postgresql-server"),
        ("/opt/homebrew/bin/brew", "brew install postgresql"),
    ];
    MANAGERS
        .iter()
        .find(|(manager, _)| std::path::Path::new(manager).exists())
        .map_or("brew install postgresql", |(_, command)| command)
}
