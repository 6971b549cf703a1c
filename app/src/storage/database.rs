//! Which database: the private cluster, or a given server.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use mesh_runtime::postgres::{self, Driver, PoolError, Tls};
use mesh_runtime::{ChildSpec, System};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config};

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
    access: Access,
    /// The certificate authority the operator named.
    authority: Option<PathBuf>,
}

/// What it takes to connect. May hold a password and is never printed.
#[derive(Clone)]
pub struct Access {
    /// Where, and as whom.
    pub config: Config,
    /// With TLS or without, and how long to wait.
    pub options: postgres::Options,
}

impl Access {
    /// One connection without a pool; the caller runs the driver.
    ///
    /// # Errors
    ///
    /// What the server said, or that it said nothing.
    pub async fn connect(&self, system: &System) -> Result<(Client, Driver), PoolError> {
        postgres::connect(system, &self.config, &self.options).await
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Access").finish_non_exhaustive()
    }
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
    /// What vouches for the server cannot be read.
    Authority(postgres::TlsError),
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatabaseError::Embedded(error) => error.fmt(out),
            DatabaseError::Url(why) => write!(
                out,
                "MESHER_DATABASE_URL is not a PostgreSQL URL ({why}): write postgres://USER:PASSWORD@HOST:5432/DATABASE, and for TLS ?sslmode=require, with MESHER_DATABASE_CA naming the certificate authority unless the machine trusts it"
            ),
            DatabaseError::Authority(why) => write!(
                out,
                "the database's server cannot be vouched for: {why}; let MESHER_DATABASE_CA name a PEM file with its certificate authority"
            ),
        }
    }
}

impl std::error::Error for DatabaseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DatabaseError::Embedded(error) => Some(error),
            DatabaseError::Url(_) => None,
            DatabaseError::Authority(error) => Some(error),
        }
    }
}

impl Database {
    /// The server of `url`, which is only read, not called; without one, the private cluster, up and ready. `authority` is a PEM file with
    /// the certificate authority that vouches for the server.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn open(
        system: &System,
        url: Option<&str>,
        authority: Option<&Path>,
        options: Options,
    ) -> Result<Database, DatabaseError> {
        let Some(url) = url else {
            let cluster = Cluster::start(system, options)
                .await
                .map_err(DatabaseError::Embedded)?;
            return Ok(Database::Embedded(Arc::new(cluster)));
        };
        // What libpq calls `verify-full` is what is done here under `require`.
        let mut config: Config = url
            .replace("sslmode=verify-full", "sslmode=require")
            .parse()
            .map_err(|error: tokio_postgres::Error| DatabaseError::Url(error.to_string()))?;
        if config.get_hosts().is_empty() {
            return Err(DatabaseError::Url("it names no host".to_owned()));
        }
        if config.get_application_name().is_none() {
            config.application_name("mesher");
        }
        let tls = trust(config.get_ssl_mode(), authority).map_err(DatabaseError::Authority)?;
        let options = postgres::Options {
            tls,
            ..postgres::Options::default()
        };
        Ok(Database::External(Box::new(External {
            access: Access { config, options },
            authority: authority.map(Path::to_owned),
        })))
    }

    /// How to connect.
    #[must_use]
    pub fn access(&self) -> Access {
        match self {
            Database::Embedded(cluster) => Access {
                config: cluster.config(),
                options: postgres::Options::default(),
            },
            Database::External(external) => external.access.clone(),
        }
    }

    /// Starts a private server again that has gone since it was opened, which is its keeper's work once that runs.
    ///
    /// # Errors
    ///
    /// As [`Cluster::revive`].
    pub async fn revive(&self, system: &System) -> Result<(), EmbeddedError> {
        let Database::Embedded(cluster) = self else {
            return Ok(());
        };
        let cluster = Arc::clone(cluster);
        match system.blocking(move || cluster.revive()).await {
            Ok(revived) => revived.map(drop),
            Err(error) => Err(EmbeddedError::Interrupted(error.to_string())),
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
                pool::child(self.access()),
                schema_manager::child(self.access()),
                partition_manager::child(),
            ])
            .chain(writer::children())
            .collect()
    }

    /// `psql` on this database with `args` passed on, ready to spawn.
    #[must_use]
    pub fn psql_command(&self, args: &[OsString]) -> Command {
        match self {
            Database::Embedded(cluster) => cluster.psql_command(args),
            Database::External(external) => {
                let mut command = Command::new("psql");
                command
                    .envs(client_variables(&external.access.config))
                    .args(args);
                if let Some(authority) = &external.authority {
                    command.env("PGSSLROOTCERT", authority);
                }
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

/// Whom to trust. Without a named authority TLS is used only when it is asked for: under `prefer` a server with a certificate of its own
/// making, as Debian's comes, must go on working as it does with libpq.
fn trust(mode: SslMode, authority: Option<&Path>) -> Result<Option<Tls>, postgres::TlsError> {
    match (mode, authority) {
        (SslMode::Disable, _) => Ok(None),
        (_, Some(path)) => Tls::authority(path).map(Some),
        (SslMode::Require, None) => Tls::system_authorities().map(Some),
        (_, None) => Ok(None),
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
    use std::path::Path;

    use tokio_postgres::config::SslMode;

    use super::{client_variables, trust};

    #[test]
    fn tls_is_used_when_it_is_asked_for() {
        let nowhere = Some(Path::new("/nowhere/ca.pem"));
        assert!(trust(SslMode::Prefer, None).unwrap().is_none());
        assert!(trust(SslMode::Disable, nowhere).unwrap().is_none());
        for mode in [SslMode::Prefer, SslMode::Require] {
            let error = trust(mode, nowhere).unwrap_err().to_string();
            assert!(error.contains("/nowhere/ca.pem"), "{error}");
        }
    }

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
