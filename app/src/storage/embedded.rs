//! The private PostgreSQL cluster: find the binaries, initialise, start or adopt the server, stop it when the last instance leaves.
//!
//! Nothing here runs in the background. [`Cluster::attempt`] is one bounded, blocking step of plain `std` code. [`Cluster::start`]
//! starts a server in one such step and looks in many short ones whether it is up, each through the runtime's blocking door, until it
//! is ready or the deadline passes.
//!
//! Two file locks order the instances on one directory. `start.lock` is held during one attempt, or until the server that
//! [`Cluster::start`] started is up or has failed; so one instance runs `initdb` and one starts the server. `users.lock` is held, shared, as long as an instance uses the server; the kernel lets go of it whatever way
//! the instance ends. A small watcher process waits for the exclusive side of `users.lock`: it gets it when the last
//! instance has left, by a clean stop or by `kill -9`, and stops the server. Where `flock` is missing there is no
//! watcher; the orphaned server is then adopted at the next start.

mod account;
mod binaries;
mod error;
mod initialise;
mod layout;
mod pid_file;
mod server;
mod settings;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use mesh_runtime::System;
use parking_lot::Mutex;

pub use self::error::EmbeddedError;

/// How often a start that has to wait looks again.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How often it is looked whether a server that is coming up is there.
const STARTING_INTERVAL: Duration = Duration::from_millis(3);

/// How long a start waits for a server to come up, or for another instance to bring it up or down.
///
/// Recovery after a crash replays up to `max_wal_size` of log, so this is minutes, not seconds.
const START_DEADLINE: Duration = Duration::from_secs(180);

/// How long a stop waits for the server to write its last checkpoint.
const STOP_DEADLINE: Duration = Duration::from_secs(60);

/// What [`Cluster::start`] needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// Mesher's data directory; the cluster lives in its `postgres` folder.
    pub data_dir: PathBuf,
    /// The value of `PATH`, searched for the PostgreSQL binaries before the distribution's directories.
    pub search_path: Option<OsString>,
    /// Directories searched after `PATH`; only tests set it.
    pub binary_dirs: Option<Vec<PathBuf>>,
    /// How long to wait for the server.
    pub deadline: Duration,
}

impl Options {
    /// The defaults for the data directory `data_dir`.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Options {
        Options {
            data_dir: data_dir.into(),
            search_path: None,
            binary_dirs: None,
            deadline: START_DEADLINE,
        }
    }

    /// Searches the directories of `search_path` (the value of `PATH`) first.
    #[must_use]
    pub fn search_path(mut self, search_path: Option<OsString>) -> Options {
        self.search_path = search_path;
        self
    }
}

/// One instance's use of the private server; the server stops when the last one is stopped or dropped.
#[derive(Debug)]
pub struct Cluster {
    layout: layout::Layout,
    binaries: binaries::Binaries,
    /// Taken out by [`Cluster::stop`].
    usage: Mutex<Option<server::Usage>>,
    adopted: bool,
}

/// What one attempt to reach the server came to.
#[derive(Debug)]
pub enum Attempt {
    /// The server accepts connections.
    Ready(Box<Cluster>),
    /// Somebody is at work; try again shortly. The text says who, for the log.
    Busy(&'static str),
}

/// How [`Cluster::stop`] left the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Nobody else used it; it is down.
    Down,
    /// Another instance uses it; it goes on.
    LeftToOthers,
}

impl Cluster {
    /// Makes one bounded attempt to reach or start the server. Blocks for as long as `initdb` and `pg_ctl` take.
    ///
    /// # Errors
    ///
    /// See [`EmbeddedError`]; none of them is cured by trying again at once.
    pub fn attempt(options: &Options) -> Result<Attempt, EmbeddedError> {
        server::attempt(options)
    }

    /// Brings the server up, or adopts the one that runs, and waits until it accepts connections.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError::Timeout`] when it has waited longer than the options' deadline, in which its own `initdb` does not count;
    /// otherwise what [`Cluster::attempt`] reports.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave a server behind that nobody uses; the next start adopts it.
    pub async fn start(system: &System, options: Options) -> Result<Cluster, EmbeddedError> {
        let mut end = None;
        let mut wait = async |what, interval| {
            let now = system.clock().now();
            if now >= *end.get_or_insert(now.saturating_add(options.deadline)) {
                return Err(EmbeddedError::Timeout {
                    what,
                    after: options.deadline,
                });
            }
            system.sleep(interval).await;
            Ok(())
        };
        loop {
            let step = options.clone();
            let mut begun = blocking(system, move || server::begin(&step)).await?;
            let attempt = loop {
                match begun {
                    server::Begun::Settled(attempt) => break attempt,
                    server::Begun::Starting(starting) => {
                        wait("the server is starting", STARTING_INTERVAL).await?;
                        begun = blocking(system, move || starting.look()).await?;
                    }
                }
            };
            match attempt {
                Attempt::Ready(cluster) => return Ok(*cluster),
                Attempt::Busy(what) => wait(what, POLL_INTERVAL).await?,
            }
        }
    }

    /// Whether there is a cluster for `data_dir`; starts and makes nothing.
    #[must_use]
    pub fn is_made(data_dir: &Path) -> bool {
        account::Account::current()
            .and_then(|account| layout::Layout::resolve(data_dir, &account))
            .is_ok_and(|layout| layout.data.join("PG_VERSION").exists())
    }

    /// The connection settings of the server that runs in `data_dir`, if one is ready; starts nothing.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read.
    pub fn connect_existing(
        data_dir: &Path,
    ) -> Result<Option<tokio_postgres::Config>, EmbeddedError> {
        let account = account::Account::current()?;
        let layout = layout::Layout::resolve(data_dir, &account)?;
        Ok(pid_file::PidFile::read(&layout.data)?
            .filter(|server| server.is_alive_and_ours(&layout.data) && server.is_ready())
            .map(|_| layout.connection()))
    }

    /// How to connect: Unix socket, user and database `mesher`.
    #[must_use]
    pub fn config(&self) -> tokio_postgres::Config {
        self.layout.connection()
    }

    /// The directory of the server's socket.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        &self.layout.socket
    }

    /// Whether the server already ran when this instance came.
    #[must_use]
    pub fn was_adopted(&self) -> bool {
        self.adopted
    }

    /// What was found and where, in words for the log.
    #[must_use]
    pub fn description(&self) -> String {
        format!(
            "PostgreSQL {} from {}, cluster in {}",
            self.binaries.version,
            self.binaries.dir.display(),
            self.layout.root.display()
        )
    }

    /// Whether the server is up and ready now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        server::is_ready(&self.layout)
    }

    /// Starts the server again if it went away; one bounded, blocking step. `true` when it is ready, `false` when it is
    /// coming up or this instance has stopped using it.
    ///
    /// # Errors
    ///
    /// As [`Cluster::attempt`].
    pub fn revive(&self) -> Result<bool, EmbeddedError> {
        // Held throughout, so that a stop waits for a start that is under way.
        let usage = self.usage.lock();
        if usage.is_none() {
            return Ok(false);
        }
        if self.is_ready() {
            return Ok(true);
        }
        server::revive(&self.layout, &self.binaries)
    }

    /// `psql` on this cluster with `args` passed on, ready to spawn.
    #[must_use]
    pub fn psql_command(&self, args: &[OsString]) -> Command {
        let mut command = Command::new(self.binaries.client("psql"));
        command
            .arg("--host")
            .arg(&self.layout.socket)
            .args(["--username", layout::USER, "--dbname", layout::DATABASE])
            .args(args);
        command
    }

    /// Lets go of the server and, when this was the last instance, waits until it is down. A second stop does nothing.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError::Timeout`] when the server is not down after a minute, [`EmbeddedError::Stop`] when it cannot be stopped.
    pub async fn stop(&self, system: &System) -> Result<Stopped, EmbeddedError> {
        let usage = self.usage.lock().take();
        let Some(usage) = usage else {
            return Ok(Stopped::LeftToOthers);
        };
        let mut leaving = server::Leaving::new(self.layout.clone(), self.binaries.clone(), usage);
        let end = system.clock().now().saturating_add(STOP_DEADLINE);
        loop {
            let (back, step) = system
                .blocking(move || {
                    let step = leaving.step();
                    (leaving, step)
                })
                .await
                .map_err(|error| EmbeddedError::Interrupted(error.to_string()))?;
            leaving = back;
            if let Some(stopped) = step? {
                return Ok(stopped);
            }
            if system.clock().now() >= end {
                return Err(EmbeddedError::Timeout {
                    what: "the server is stopping",
                    after: STOP_DEADLINE,
                });
            }
            system.sleep(POLL_INTERVAL).await;
        }
    }
}

/// One step of plain `std` code, through the runtime's blocking door.
async fn blocking<T: Send + 'static>(
    system: &System,
    step: impl FnOnce() -> Result<T, EmbeddedError> + Send + 'static,
) -> Result<T, EmbeddedError> {
    system
        .blocking(step)
        .await
        .map_err(|error| EmbeddedError::Interrupted(error.to_string()))?
}
