//! The short commands: each opens the database, does one thing, prints the answer alone, and leaves.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use mesh_runtime::System;
use tokio::signal::unix::{SignalKind, signal};

use super::connect::{self, Session};
use super::{Failure, answer};
use crate::config::Config;
use crate::config::entropy::{OsRandom, random_uuid};
use crate::protocol::dsn::Dsn;
use crate::storage::secret::Secret;
use crate::storage::{projects, tokens};

pub(super) fn system() -> System {
    System::builder()
        .name("mesher")
        .entropy(Arc::new(OsRandom))
        .build()
}

pub(super) fn migrate(config: &Config) -> Result<(), Failure> {
    connect::runtime()?.block_on(async {
        let system = system();
        let session = Session::open(&system, config).await?;
        session.close(&system).await?;
        answer(&"the schema is up to date")
    })
}

/// The default project's DSN, with the address this machine reaches the server under: the public one may lie behind a proxy.
pub(super) async fn own_dsn(system: &System, config: &Config) -> Result<Dsn, Failure> {
    let mut session = Session::open(system, config).await?;
    let project = connect::ensure_first_project(system, &mut session.client).await?;
    session.close(system).await?;
    let project = project.ok_or_else(|| {
        Failure::new("there is no project of the name default; name another with --dsn")
    })?;
    let public_key = project
        .public_key
        .ok_or_else(|| Failure::new("the default project has no active key; use --dsn"))?;
    let ip = match config.listen.ip() {
        ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    let scheme = if config.tls.is_some() {
        "https"
    } else {
        "http"
    };
    Ok(Dsn {
        scheme: scheme.to_owned(),
        public_key,
        authority: SocketAddr::new(ip, config.listen.port()).to_string(),
        path: String::new(),
        project_number: project.number,
    })
}

pub(super) fn dsn(config: &Config, project: &str) -> Result<(), Failure> {
    connect::runtime()?.block_on(async {
        let system = system();
        let mut session = Session::open(&system, config).await?;
        connect::ensure_first_project(&system, &mut session.client).await?;
        let rows = projects::list(&session.client, None)
            .await
            .map_err(Failure::new)?;
        session.close(&system).await?;
        let found = rows.iter().find(|row| {
            row.slug == project
                || row.id.to_string() == project
                || row.number.to_string() == project
        });
        let Some(row) = found else {
            let known: Vec<&str> = rows.iter().map(|row| row.slug.as_str()).collect();
            return Err(Failure::new(format!(
                "no project {project:?}; there is: {}",
                known.join(", ")
            )));
        };
        let key = row
            .public_key
            .ok_or_else(|| Failure::new(format!("project {} has no active key", row.slug)))?;
        answer(&config.base_url().dsn(key, row.number))
    })
}

pub(super) fn token_create(config: &Config, name: &str) -> Result<(), Failure> {
    let name = name.trim();
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(Failure::new(
            "a token needs a name that says what it is for, such as: mesher token create ci",
        ));
    }
    connect::runtime()?.block_on(async {
        let system = system();
        let mut session = Session::open(&system, config).await?;
        connect::ensure_first_project(&system, &mut session.client).await?;
        let organization = tokens::first_organization(&session.client)
            .await
            .map_err(Failure::new)?
            .ok_or_else(|| Failure::new("there is no organisation yet; start mesher once"))?;
        let mut random = [0; 32];
        system.entropy().fill(&mut random);
        let secret = Secret::from_random(tokens::PREFIX, random);
        tokens::create(
            &session.client,
            random_uuid(system.entropy()),
            organization,
            name,
            &secret,
            None,
        )
        .await
        .map_err(Failure::new)?;
        session.close(&system).await?;
        answer(&secret.reveal())
    })
}

pub(super) fn psql(config: &Config, arguments: &[String]) -> Result<ExitCode, Failure> {
    connect::runtime()?.block_on(async {
        let system = system();
        let database = connect::open_database(&system, config).await?;
        let arguments: Vec<_> = arguments.iter().map(Into::into).collect();
        let mut command = database.psql_command(&arguments);
        // Ctrl-C reaches us as well as psql, which cancels its query and goes on: taken here, it must not end us under it.
        let _taken = signal(SignalKind::interrupt()).map_err(Failure::new)?;
        let ended = system
            .blocking(move || command.status())
            .await
            .map_err(Failure::new)?
            .map_err(|error| {
                Failure::new(format!(
                    "cannot run psql: {error}; install PostgreSQL's client programs"
                ))
            })?;
        database.close(&system).await.map_err(Failure::new)?;
        let code = ended
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(1);
        Ok(ExitCode::from(code))
    })
}
