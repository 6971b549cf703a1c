//! Which database: the private cluster, or a given server.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::process::Command;
use std::sync::Arc;

use mesh_runtime::{ChildSpec, System};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::embedded::{Cluster, EmbeddedError, Options, Stopped};
use super::{keeper, partition_manager, pool, schema_manager, writer};

/// The database that Mesher uses.
#[derive(Clone, Debug)]
pub enum Database {
    /// The private cluster in the data directory.
    Embedded(Arc<Cluster>),
    /// A server of the operator's.
    External(Box<External>),
}

/// A given server. Its settings may hold a password and are never printed.
#[derive(Clone)]
pub struct External {
    config: Config,
}

impl fmt::Debug for External {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("External").finish_non_exhaustive()
    }
}

/// Why there is no database; each text is one line that says what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The private cluster.
    Embedded(EmbeddedError),
    /// The URL is none.
    Url(String),
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatabaseError::Embedded(error) => error.fmt(out),
            DatabaseError::Url(why) => write!(
                out,
                "MESHER_DATABASE_URL is not a PostgreSQL URL ({why}): write postgres://USER:PASSWORD@HOST:5432/DATABASE"
            ),
        }
    }
}

impl std::error::Error for DatabaseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DatabaseError::Embedded(error) => Some(error),
            DatabaseError::Url(_) => None,
        }
    }
}

impl Database {
    /// The server of `url`, which is only read, not called; without one, the private cluster, up and ready.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn open(
        system: &System,
        url: Option<&str>,
        options: Options,
    ) -> Result<Database, DatabaseError> {
        let Some(url) = url else {
            let cluster = Cluster::start(system, options)
                .await
                .map_err(DatabaseError::Embedded)?;
            return Ok(Database::Embedded(Arc::new(cluster)));
        };
        let mut config: Config = url
            .parse()
            .map_err(|error: tokio_postgres::Error| DatabaseError::Url(error.to_string()))?;
        if config.get_hosts().is_empty() {
            return Err(DatabaseError::Url("it names no host".to_owned()));
        }
        if config.get_application_name().is_none() {
            config.application_name("mesher");
        }
        Ok(Database::External(Box::new(External { config })))
    }

    /// How to connect.
    #[must_use]
    pub fn config(&self) -> Config {
        match self {
            Database::Embedded(cluster) => cluster.config(),
            Database::External(external) => external.config.clone(),
        }
    }

    /// The children of the storage supervisor, in their order; each needs those before it (rest for one).
    #[must_use]
    pub fn children(&self) -> Vec<ChildSpec> {
        let keeper = match self {
            Database::Embedded(cluster) => Some(keeper::child(Arc::clone(cluster))),
            Database::External(_) => None,
        };
        keeper
            .into_iter()
            .chain([
                pool::child(self.config()),
                schema_manager::child(self.config()),
                partition_manager::child(),
                writer::child(),
            ])
            .collect()
    }

    /// `psql` on this database with `args` passed on, ready to spawn.
    #[must_use]
    pub fn psql_command(&self, args: &[OsString]) -> Command {
        match self {
            Database::Embedded(cluster) => cluster.psql_command(args),
            Database::External(external) => {
                let mut command = Command::new("psql");
                command.envs(client_variables(&external.config)).args(args);
                command
            }
        }
    }

    /// Lets go of the database; a private server that nobody else uses is stopped.
    ///
    /// # Errors
    ///
    /// As [`Cluster::stop`].
    pub async fn close(&self, system: &System) -> Result<(), EmbeddedError> {
        if let Database::Embedded(cluster) = self {
            match cluster.stop(system).await? {
                Stopped::Down => tracing::info!("the private PostgreSQL is stopped"),
                Stopped::LeftToOthers => {
                    tracing::info!("the private PostgreSQL goes on for another instance");
                }
            }
        }
        Ok(())
    }
}

/// The variables by which PostgreSQL's client programs learn of a server: its arguments would show the password to everybody on the
/// machine.
///
/// Source: PostgreSQL's documentation, libpq, Environment Variables.
fn client_variables(config: &Config) -> Vec<(&'static str, OsString)> {
    let text = |text: &str| Some(OsString::from(text));
    let joined =
        |items: Vec<OsString>| (!items.is_empty()).then(|| items.join(std::ffi::OsStr::new(",")));
    let hosts = config
        .get_hosts()
        .iter()
        .map(|host| match host {
            Host::Tcp(name) => name.into(),
            Host::Unix(path) => path.into(),
        })
        .collect();
    let addresses = config.get_hostaddrs().iter();
    let ports = config.get_ports().iter();
    let ssl_mode = match config.get_ssl_mode() {
        SslMode::Disable => "disable",
        SslMode::Require => "require",
        _ => "prefer",
    };
    [
        ("PGHOST", joined(hosts)),
        (
            "PGHOSTADDR",
            joined(
                addresses
                    .map(|address| address.to_string().into())
                    .collect(),
            ),
        ),
        (
            "PGPORT",
            joined(ports.map(|port| port.to_string().into()).collect()),
        ),
        ("PGUSER", config.get_user().and_then(text)),
        (
            "PGPASSWORD",
            config
                .get_password()
                .map(|password| OsString::from_vec(password.to_vec())),
        ),
        ("PGDATABASE", config.get_dbname().and_then(text)),
        ("PGOPTIONS", config.get_options().and_then(text)),
        ("PGSSLMODE", text(ssl_mode)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::client_variables;

    #[test]
    fn client_programs_learn_of_the_server() {
        let config = "postgres://u:p%40w@one:5433,two:5434/d?sslmode=disable";
        let variables = client_variables(&config.parse().unwrap());
        for (name, value) in [
            ("PGHOST", "one,two"),
            ("PGPORT", "5433,5434"),
            ("PGUSER", "u"),
            ("PGPASSWORD", "p@w"),
            ("PGDATABASE", "d"),
            ("PGSSLMODE", "disable"),
        ] {
            assert!(
                variables.contains(&(name, value.into())),
                "{name}: {variables:?}"
            );
        }
        let socket = client_variables(&"host=/run/postgresql".parse().unwrap());
        assert_eq!(socket[0], ("PGHOST", "/run/postgresql".into()));
    }
}
