//! Which database: the private cluster, or a given server.

use std::ffi::OsString;
use std::fmt;
use std::process::Command;
use std::sync::Arc;

use mesh_runtime::{ChildSpec, System};
use tokio_postgres::Config;

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

/// A given server. Its URL may hold a password and is never printed.
#[derive(Clone)]
pub struct External {
    url: String,
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
        Ok(Database::External(Box::new(External {
            url: url.to_owned(),
            config,
        })))
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
                command.arg("--dbname").arg(&external.url).args(args);
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
