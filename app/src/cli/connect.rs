//! One connection to Mesher's database for a command: the cluster up, the schema current, the server running or not.

use std::io::ErrorKind;
use std::time::Duration;

use mesh_runtime::System;
use tokio_postgres::Client;

use super::Failure;
use crate::config::entropy::random_uuid;
use crate::config::{Config, env};
use crate::domain::{OrganizationId, ProjectId, PublicKey};
use crate::storage::database::{Database, DatabaseError};
use crate::storage::embedded::{EmbeddedError, Options};
use crate::storage::migrate::{self, MigrateError};
use crate::storage::projects::{self, ProjectRow};

/// How long a command waits for a database to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A command's hold on the database.
pub(super) struct Session {
    /// The database, up.
    pub(super) database: Database,
    /// A connection to it, its schema current.
    pub(super) client: Client,
}

/// The engine under everything.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start threads: {error}")))
}

/// Why there is no session, and whether waiting may help.
pub(super) enum NotOpen {
    /// The database does not answer now.
    Away(Failure),
    /// Somebody has to mend something first.
    Broken(Failure),
}

impl From<NotOpen> for Failure {
    fn from(why: NotOpen) -> Failure {
        match why {
            NotOpen::Away(failure) | NotOpen::Broken(failure) => failure,
        }
    }
}

impl Session {
    /// Starts or finds the database, connects once, and brings the schema up to date.
    pub(super) async fn open(system: &System, config: &Config) -> Result<Session, Failure> {
        let database = open_database(system, config).await?;
        Ok(Session::on(system, config, database).await?)
    }

    /// Connects once to a database that was started or found, and brings the schema up to date.
    pub(super) async fn on(
        system: &System,
        config: &Config,
        database: Database,
    ) -> Result<Session, NotOpen> {
        let mut access = database.access();
        access.options.connect_timeout = CONNECT_TIMEOUT;
        let (mut client, driver) = access
            .connect(system)
            .await
            .map_err(|error| NotOpen::Away(unreachable_database(config, &error.to_string())))?;
        system.spawn(move |_: mesh_runtime::Context<()>| async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "the command's connection ended");
            }
        });
        // A server that does not answer is not waited for for ever; a migration may take its time.
        let looked = Box::pin(migrate::is_due(&client));
        let is_due = match system.timeout(CONNECT_TIMEOUT, looked).await {
            Ok(is_due) => is_due.map_err(not_migrated)?,
            Err(_) => {
                let failure = unreachable_database(config, "it does not answer in time");
                return Err(NotOpen::Away(failure));
            }
        };
        if is_due {
            migrate::run(&mut client).await.map_err(not_migrated)?;
        }
        Ok(Session { database, client })
    }

    /// Lets go of the connection and of a private server that nobody else uses.
    pub(super) async fn close(self, system: &System) -> Result<(), Failure> {
        drop(self.client);
        self.database.close(system).await.map_err(Failure::new)
    }
}

fn not_migrated(error: MigrateError) -> NotOpen {
    let failure = Failure::new(&error);
    match error {
        MigrateError::Database(_) => NotOpen::Away(failure),
        _ => NotOpen::Broken(failure),
    }
}

/// Starts or finds the database without connecting.
pub(super) async fn open_database(system: &System, config: &Config) -> Result<Database, NotOpen> {
    let options = Options::new(&config.data_dir).search_path(env::search_path());
    let url = config.database_url.as_deref();
    Database::open(system, url, config.database_ca.as_deref(), options)
        .await
        .map_err(|error| {
            if is_directory_closed(&error) {
                return NotOpen::Broken(Failure::new(format!(
                    "{error}; let this user write there, or choose another directory with MESHER_DATA_DIR"
                )));
            }
            let failure = Failure::new(&error);
            match error {
                // As while a server recovers that was cut under a great load, or finds no memory or no room just now.
                DatabaseError::Embedded(
                    EmbeddedError::Timeout { .. }
                    | EmbeddedError::Tool { .. }
                    | EmbeddedError::Interrupted(_)
                    | EmbeddedError::Io { .. },
                ) => NotOpen::Away(failure),
                _ => NotOpen::Broken(failure),
            }
        })
}

/// Whether the data directory cannot be written by whoever runs this command.
fn is_directory_closed(error: &DatabaseError) -> bool {
    let DatabaseError::Embedded(EmbeddedError::Io { source, .. }) = error else {
        return false;
    };
    matches!(
        source.kind(),
        ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::NotADirectory
            | ErrorKind::AlreadyExists
    )
}

fn unreachable_database(config: &Config, cause: &str) -> Failure {
    let what = if config.database_url.is_some() {
        "the database of MESHER_DATABASE_URL"
    } else {
        "the embedded PostgreSQL"
    };
    let advice = if config.database_url.is_some() {
        "check that the server runs and that user, password and database are right, or unset it to use the embedded one"
    } else {
        "its log lies in the data directory"
    };
    Failure::new(format!("cannot reach {what}: {cause}; {advice}"))
}

/// Makes organisation and project `default` if there is no project; returns the project of that slug, if it is still there.
pub(super) async fn ensure_first_project(
    system: &System,
    client: &mut Client,
) -> Result<Option<ProjectRow>, Failure> {
    let mut key = [0; 16];
    system.entropy().fill(&mut key);
    let key: PublicKey = key
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>()
        .parse()
        .map_err(Failure::new)?;
    projects::ensure_first(
        client,
        OrganizationId::from_uuid(random_uuid(system.entropy())),
        ProjectId::from_uuid(random_uuid(system.entropy())),
        key,
    )
    .await
    .map_err(Failure::new)?;
    projects::find(client, "default")
        .await
        .map_err(Failure::new)
}
