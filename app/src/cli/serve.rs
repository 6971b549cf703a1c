//! `mesher serve`: brings everything up in order, says where it is, and takes it down in bounded time.

use std::convert::Infallible;
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener};
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{LocalBoxFuture, Shared};
use jiff::SignedDuration;
use mesh_runtime::http::Tls;
use mesh_runtime::postgres::PoolError;
use mesh_runtime::{ExitReason, SupervisorHandle, System};
use tokio::signal::unix::{SignalKind, signal};
use tokio_postgres::Client;

use super::Failure;
use super::connect::{self, NotOpen, Session};
use crate::config::clock::SteppedClock;
use crate::config::entropy::OsRandom;
use crate::config::{BaseUrl, Config, TlsFiles};
use crate::domain::wall;
use crate::storage::database::Database;
use crate::storage::embedded::Cluster;
use crate::storage::key_memory::KeyMemory;
use crate::storage::secret::Secret;
use crate::storage::{pool, projects, setup};
use crate::supervision::{self, Ground};

/// How long everything has to stop: requests in hand, the spool's last group, the writer's last chunk.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(20);

/// How long a set-up link is good for; every start without a user prints a new one.
const SETUP_LINK_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// How long a private database that is still coming up at a stop is waited for, to be stopped, too; the next start adopts it else.
const COMING_UP_DEADLINE: Duration = Duration::from_secs(10);

/// Between two attempts to reach a database that was away at the start.
const OPENING_PAUSE: Duration = Duration::from_secs(1);

/// Between the first two attempts to tell the operator what only the database knows; each pause after that is twice the one before.
const GREETING_PAUSE_MIN: Duration = Duration::from_secs(1);

/// An operator who has mended the database has the set-up link within this.
const GREETING_PAUSE_MAX: Duration = Duration::from_mins(1);

pub(super) fn serve(config: Config) -> Result<(), Failure> {
    let listener = bind(config.listen)?;
    let mut config = config;
    // Port 0 asks for any free port; links must name the one that was given.
    config.listen = listener.local_addr().map_err(Failure::new)?;
    std::fs::create_dir_all(&config.data_dir).map_err(|error| {
        Failure::new(format!(
            "cannot make the data directory {}: {error}; choose another with MESHER_DATA_DIR",
            config.data_dir.display()
        ))
    })?;
    let tls = config.tls.as_ref().map(certificate).transpose()?;
    let ground = ground(&config);
    connect::runtime()?.block_on(run(config, listener, tls, ground))
}

fn certificate(files: &TlsFiles) -> Result<Tls, Failure> {
    Tls::from_pem_files(&files.certificate, &files.key).map_err(|error| {
        Failure::new(format!(
            "cannot serve with TLS: {error}; see MESHER_TLS_CERTIFICATE and MESHER_TLS_KEY"
        ))
    })
}

fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).map_err(|error| {
        let advice = match error.kind() {
            ErrorKind::AddrInUse => format!(
                "another program listens there; stop it, or choose another port with MESHER_LISTEN={}:{}",
                address.ip(),
                address.port().wrapping_add(1).max(1024)
            ),
            ErrorKind::PermissionDenied => "ports below 1024 need privileges; choose another with MESHER_LISTEN".to_owned(),
            _ => "choose an address of this machine with MESHER_LISTEN".to_owned(),
        };
        Failure::new(format!("cannot listen on {address}: {error}; {advice}"))
    })
}

/// What this server remembers of its last run.
fn ground(config: &Config) -> Ground {
    let memory = KeyMemory::new(&config.data_dir, config.database_url.as_deref());
    // A private database that is still to be made knows none of them.
    if config.database_url.is_none() && !Cluster::is_made(&config.data_dir) {
        return Ground::new(memory, Vec::new());
    }
    let remembered = memory.recall().unwrap_or_else(|error| {
        tracing::warn!(keys.error = %error, "the keys of the last run cannot be recalled; the start waits for the database");
        Vec::new()
    });
    Ground::new(memory, remembered)
}

async fn run(
    config: Config,
    listener: TcpListener,
    tls: Option<Tls>,
    ground: Ground,
) -> Result<(), Failure> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::new)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::new)?;
    let test_clock = config.test_hooks.then(SteppedClock::default);
    let mut builder = System::builder().name("mesher").entropy(Arc::new(OsRandom));
    if let Some(clock) = &test_clock {
        builder = builder.clock(Arc::new(clock.clone()));
    }
    let system = builder.build();
    let session = if ground.knows_keys() {
        None
    } else {
        tokio::select! {
            opened = Session::open(&system, &config) => Some(opened?),
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        }
    };
    let is_late = session.is_none();
    let late = come_up(&system, &config).boxed_local().shared();
    let (stopped, begun) = match start(
        &system,
        &config,
        (listener, tls),
        &ground,
        session,
        test_clock,
    )
    .await
    {
        Ok(root) => {
            let ended = tokio::select! {
                ended = live(&system, &config, &ground, &root, is_late.then(|| late.clone())) => ended,
                _ = interrupt.recv() => Ok(()),
                _ = terminate.recv() => Ok(()),
            };
            (ended, is_late)
        }
        Err(failure) => (Err(failure), false),
    };
    if stopped.is_ok() {
        tracing::info!("stopping: requests in hand are finished first");
    }
    if system.shutdown(SHUTDOWN_DEADLINE).await.is_err() {
        tracing::warn!("some processes had to be killed; nothing acknowledged is lost");
    }
    let database = match ground.database() {
        None if begun => match system.timeout(COMING_UP_DEADLINE, late).await {
            Ok(opened) => opened.ok(),
            Err(_) => {
                tracing::warn!(
                    "the private PostgreSQL is still coming up and is left to the next start"
                );
                None
            }
        },
        known => known.cloned(),
    };
    let closed = match database {
        Some(database) => database.close(&system).await,
        None => Ok(()),
    };
    stopped.and_then(|()| closed.map_err(Failure::new))
}

/// The first project, if the database is there already, and the tree.
async fn start(
    system: &System,
    config: &Config,
    (listener, tls): (TcpListener, Option<Tls>),
    ground: &Ground,
    session: Option<Session>,
    test_clock: Option<SteppedClock>,
) -> Result<SupervisorHandle, Failure> {
    if let Some(mut session) = session {
        tell_of(&session.database);
        ground.lay(session.database.clone());
        connect::ensure_first_project(system, &mut session.client).await?;
    }
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
    let tree = supervision::tree(system, config, ground, listener, tls, workers, test_clock);
    system.supervise(tree).await.map_err(|error| {
        Failure::new(format!(
            "cannot start: {error}; if another mesher uses the data directory, stop it, or choose another directory with MESHER_DATA_DIR"
        ))
    })
}

fn tell_of(database: &Database) {
    if let Database::Embedded(cluster) = database {
        tracing::info!("{}", cluster.description());
    }
}

/// A database that comes up beside the tree; whoever waits for it shares it.
type Late<'a> = Shared<LocalBoxFuture<'a, Result<Database, Failure>>>;

/// All that happens until the end: what came late begins, the operator is told.
async fn live(
    system: &System,
    config: &Config,
    ground: &Ground,
    root: &SupervisorHandle,
    late: Option<Late<'_>>,
) -> Result<(), Failure> {
    let serve = async {
        if let Some(late) = late {
            begin_storage(system, config, ground, root, late).await?;
        }
        match greet(system, config).await {}
    };
    tokio::select! {
        reason = system.wait_for_exit(root.pid()) => Err(gave_up(&reason)),
        failed = serve => failed,
    }
}

/// Brings the database up, for as long as it takes.
async fn come_up(system: &System, config: &Config) -> Result<Database, Failure> {
    patiently(system, async || {
        connect::open_database(system, config).await
    })
    .await
}

/// Starts the storage layer under a tree that accepts events already.
async fn begin_storage(
    system: &System,
    config: &Config,
    ground: &Ground,
    root: &SupervisorHandle,
    late: Late<'_>,
) -> Result<(), Failure> {
    tracing::info!("events are accepted with the keys of the last run until the database answers");
    let database = late.await?;
    tell_of(&database);
    let session = patiently(system, async || {
        let revived = database.revive(system).await;
        revived.map_err(|error| NotOpen::Away(Failure::new(error)))?;
        let mut session = Session::on(system, config, database.clone()).await?;
        // The keys of the last run say nothing of what the database holds now.
        let ensured = connect::ensure_first_project(system, &mut session.client).await;
        ensured.map_err(NotOpen::Away)?;
        Ok(session)
    });
    let session = session.await?;
    ground.lay(session.database);
    supervision::begin_storage(root)
        .await
        .map_err(|error| Failure::new(format!("cannot start what stores events: {error}")))
}

/// Tries again and again while the database is away; what stands in its way is said once.
async fn patiently<T>(
    system: &System,
    attempt: impl AsyncFn() -> Result<T, NotOpen>,
) -> Result<T, Failure> {
    let mut told = None;
    loop {
        let failure = match attempt().await {
            Ok(opened) => return Ok(opened),
            Err(NotOpen::Broken(failure)) => return Err(failure),
            Err(NotOpen::Away(failure)) => failure.to_string(),
        };
        if told.as_ref() != Some(&failure) {
            tracing::warn!(error = %failure, "the database is away; events are accepted and kept until it answers");
            told = Some(failure);
        }
        system.sleep(OPENING_PAUSE).await;
    }
}

/// Tells the operator, last: a start that fails must not have replaced the set-up link of the server that owns the data directory. The server
/// serves already, so a database that goes away just now is no reason to end: it is waited for, ever more patiently, and that is said once.
async fn greet(system: &System, config: &Config) -> Infallible {
    let pool = pool::named(system);
    for (attempt, pause) in greeting_pauses().enumerate() {
        let prepared = async {
            let mut client = pool.get().await?;
            Welcome::prepare(system, &mut client, &config.base_url()).await
        };
        match prepared.await {
            Ok(welcome) => {
                welcome.print(config);
                return std::future::pending().await;
            }
            Err(error) if attempt == 0 => {
                tracing::warn!(%error, "the welcome waits for the database");
            }
            Err(error) => tracing::debug!(%error, "the welcome still waits for the database"),
        }
        system.sleep(pause).await;
    }
    unreachable!("the pauses never end")
}

/// How long to wait after each failed attempt; never ends.
fn greeting_pauses() -> impl Iterator<Item = Duration> {
    let twice = |pause: &Duration| Some((*pause * 2).min(GREETING_PAUSE_MAX));
    std::iter::successors(Some(GREETING_PAUSE_MIN), twice)
}

fn gave_up(reason: &ExitReason) -> Failure {
    Failure::new(format!(
        "the supervision tree gave up ({reason}); the log above says what crashed; nothing acknowledged is lost, start mesher again"
    ))
}

/// What the operator needs to know at start.
struct Welcome {
    setup_link: Option<String>,
    dsn: Option<String>,
    base_url: BaseUrl,
}

impl Welcome {
    /// Makes a set-up link if there is nobody, and reads the default project's DSN.
    async fn prepare(
        system: &System,
        client: &mut Client,
        base_url: &BaseUrl,
    ) -> Result<Welcome, PoolError> {
        let setup_link = if setup::is_required(client).await? {
            let mut random = [0; 32];
            system.entropy().fill(&mut random);
            let secret = Secret::from_random("", random);
            let now = wall::timestamp(system.clock().wall());
            setup::offer(client, &secret, now + SETUP_LINK_LIFE).await?;
            Some(base_url.setup_link(secret.reveal()))
        } else {
            None
        };
        let project = projects::find(client, "default").await?;
        let dsn =
            project.and_then(|project| Some(base_url.dsn(project.public_key?, project.number)));
        Ok(Welcome {
            setup_link,
            dsn,
            base_url: base_url.clone(),
        })
    }

    /// To standard output, so that a person and a script both find it apart from the log.
    fn print(&self, config: &Config) {
        // Whoever reads may have seen enough and left (`mesher | grep -m1 DSN`); the server stays.
        if let Err(error) = io::stdout().write_all(self.text(config).as_bytes()) {
            tracing::debug!(%error, "nobody reads the welcome");
        }
    }

    fn text(&self, config: &Config) -> String {
        let base = &self.base_url;
        let mut lines = vec![
            String::new(),
            "  Mesher is ready.".to_owned(),
            String::new(),
            format!("  Dashboard   {base}"),
        ];
        if let Some(link) = &self.setup_link {
            lines.push(format!("  Set up      {link}"));
            lines.push(
                "              (opens once, for 24 hours; a restart prints a new one)".to_owned(),
            );
        }
        if let Some(dsn) = &self.dsn {
            lines.push(format!("  DSN         {dsn}"));
            if let Some((key, _)) = dsn
                .split_once("://")
                .and_then(|(_, rest)| rest.split_once('@'))
            {
                lines.extend([
                    String::new(),
                    "  Send a first event:".to_owned(),
                    String::new(),
                    format!("    curl {base}/api/v1/events \\"),
                    format!("      -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\"),
                    "      -d '{\"level\":\"error\",\"message\":\"hello from curl\"}'".to_owned(),
                ]);
            }
        }
        lines.push(String::new());
        lines.push(format!("  Data        {}", config.data_dir.display()));
        lines.push("\n".to_owned());
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::greeting_pauses;

    #[test]
    fn the_welcome_waits_longer_and_longer_but_never_more_than_a_minute() {
        let seconds: Vec<u64> = greeting_pauses().take(9).map(|it| it.as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }
}
