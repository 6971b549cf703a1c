//! One step towards a running server, and one step towards leaving it.

#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use parking_lot::Mutex;

use super::account::Account;
use super::binaries::{self, Binaries};
use super::initialise;
use super::layout::Layout;
use super::pid_file::{self, PidFile, Written};
use super::{Attempt, Cluster, EmbeddedError, Options, Stopped};

/// How long `pg_ctl` itself waits for the server before the step ends; the next step goes on waiting. Seconds.
const STEP_WAIT_SECONDS: &str = "10";

/// The shared side of `users.lock`, and the watcher that waits for the exclusive side.
#[derive(Debug)]
pub(super) struct Usage {
    lock: File,
    watcher: Option<Child>,
}

/// What a look at the cluster found.
enum Found {
    /// A server that accepts connections.
    Ready,
    /// One that is coming up or going down.
    Busy(&'static str),
    /// None.
    Nothing,
}

/// What the first half of a start came to.
#[derive(Debug)]
pub(super) enum Begun {
    /// Nothing is left to wait for.
    Settled(Attempt),
    /// A server comes up.
    Starting(Box<Starting>),
}

/// A directory of which it is known whether a server runs on it.
enum Surveyed {
    /// One does, or somebody is at work.
    Settled(Attempt),
    /// None does.
    Down(Box<Ground>),
}

/// Where a server is to be started, and the locks that are held meanwhile.
#[derive(Debug)]
struct Ground {
    layout: Layout,
    binaries: Binaries,
    users: File,
    start: File,
}

/// A server that comes up.
#[derive(Debug)]
pub(super) struct Starting {
    ground: Ground,
    /// The lock file that an earlier server left.
    left: Option<Written>,
    pid: i32,
}

/// The whole of an attempt.
pub(super) fn attempt(options: &Options) -> Result<Attempt, EmbeddedError> {
    match survey(options)? {
        Surveyed::Settled(attempt) => Ok(attempt),
        Surveyed::Down(ground) => {
            if start_and_wait(&ground.layout, &ground.binaries)? {
                Ok(ground.ready())
            } else {
                Ok(Attempt::Busy("the server is recovering"))
            }
        }
    }
}

/// The first half of a start: what follows is [`Starting::look`], again and again.
pub(super) fn begin(options: &Options) -> Result<Begun, EmbeddedError> {
    Ok(match survey(options)? {
        Surveyed::Settled(attempt) => Begun::Settled(attempt),
        Surveyed::Down(ground) => {
            let left = Written::read(&ground.layout.data)?;
            let pid = start_server(&ground.layout, &ground.binaries)?;
            Begun::Starting(Box::new(Starting {
                ground: *ground,
                left,
                pid,
            }))
        }
    })
}

impl Starting {
    /// Looks whether the server is up.
    pub(super) fn look(self: Box<Self>) -> Result<Begun, EmbeddedError> {
        let has_ended = pid_file::has_ended(self.pid);
        if self.is_up() {
            return Ok(Begun::Settled(self.ground.ready()));
        }
        if !has_ended {
            return Ok(Begun::Starting(self));
        }
        not_started(&self.ground.layout, "postgres")?;
        Ok(Begun::Settled(Attempt::Busy("the server is recovering")))
    }

    /// Whether the process that was started says of itself that it accepts connections.
    ///
    /// In a container the numbers begin anew, so an earlier server that was killed may have had the same one, and its file says that it
    /// is ready until this one writes its own.
    fn is_up(&self) -> bool {
        let data = &self.ground.layout.data;
        let Ok(Some(now)) = Written::read(data) else {
            return false;
        };
        self.left.as_ref() != Some(&now)
            && now.parse().is_some_and(|server| {
                server.pid == self.pid && server.is_ready() && server.is_alive_and_ours(data)
            })
    }
}

impl Ground {
    fn ready(self) -> Attempt {
        let attempt = in_use(self.layout, self.binaries, self.users, false);
        // Held until the server has its watcher.
        drop(self.start);
        attempt
    }
}

/// The server is up: it is used from now on.
fn in_use(layout: Layout, binaries: Binaries, users: File, adopted: bool) -> Attempt {
    let watcher = watch(&layout, &binaries);
    Attempt::Ready(Box::new(Cluster {
        layout,
        binaries,
        usage: Mutex::new(Some(Usage {
            lock: users,
            watcher,
        })),
        adopted,
    }))
}

fn survey(options: &Options) -> Result<Surveyed, EmbeddedError> {
    let busy = |what| Ok(Surveyed::Settled(Attempt::Busy(what)));
    let account = Account::current()?;
    let layout = Layout::resolve(&options.data_dir, &account)?;
    layout.create()?;
    // Resolved again: the first time the directory may not have existed, and so not have had its one name.
    let layout = Layout::resolve(&options.data_dir, &account)?;
    layout.create()?;
    let users = open_lock(&layout, &layout.users_lock)?;
    if !try_shared(&users, &layout.users_lock)? {
        return busy("the last server of this directory is stopping");
    }
    let start = open_lock(&layout, &layout.start_lock)?;
    if !try_exclusive(&start, &layout.start_lock)? {
        return busy("another instance is starting the server");
    }
    let cluster = cluster_version(&layout.data)?;
    let binaries = binaries::find(options, cluster.as_deref(), &layout.data)?;
    if cluster.is_none() && !initialise::run(&layout, &binaries)? {
        return busy("a start that was cut is still ending");
    }
    match look(&layout)? {
        Found::Busy(what) => busy(what),
        Found::Ready => Ok(Surveyed::Settled(in_use(layout, binaries, users, true))),
        Found::Nothing => Ok(Surveyed::Down(Box::new(Ground {
            layout,
            binaries,
            users,
            start,
        }))),
    }
}

/// Starts a server that went away under an instance that still holds its share of `users.lock`.
pub(super) fn revive(layout: &Layout, binaries: &Binaries) -> Result<bool, EmbeddedError> {
    let start = open_lock(layout, &layout.start_lock)?;
    if !try_exclusive(&start, &layout.start_lock)? {
        return Ok(false);
    }
    match look(layout)? {
        Found::Ready => Ok(true),
        Found::Busy(_) => Ok(false),
        Found::Nothing => start_and_wait(layout, binaries),
    }
}

pub(super) fn is_ready(layout: &Layout) -> bool {
    matches!(look(layout), Ok(Found::Ready))
}

/// The way out: let go of the shared lock, then find out whether others stay or the server goes down.
#[derive(Debug)]
pub(super) struct Leaving {
    layout: Layout,
    binaries: Binaries,
    watcher: Option<Child>,
    lock: File,
}

impl Leaving {
    pub(super) fn new(layout: Layout, binaries: Binaries, usage: Usage) -> Leaving {
        Leaving {
            layout,
            binaries,
            watcher: usage.watcher,
            lock: usage.lock,
        }
    }

    /// One bounded step; `Some` when it is settled.
    pub(super) fn step(&mut self) -> Result<Option<Stopped>, EmbeddedError> {
        let path = &self.layout.users_lock;
        self.lock
            .unlock()
            .map_err(EmbeddedError::io("unlock", path))?;
        if try_exclusive(&self.lock, path)? {
            // The last one, and the watcher, if there is one, waits behind us or is done.
            stop_server(&self.layout, &self.binaries)?;
            self.lock
                .unlock()
                .map_err(EmbeddedError::io("unlock", path))?;
            self.reap();
            return Ok(Some(Stopped::Down));
        }
        if try_shared(&self.lock, path)? {
            // Others hold their share: the server is theirs now, and so is the watcher.
            return Ok(Some(Stopped::LeftToOthers));
        }
        // The watcher has the exclusive side and stops the server.
        Ok(None)
    }

    fn reap(&mut self) {
        if let Some(mut watcher) = self.watcher.take() {
            // It has nothing left to do; it gets the lock at once and finds no server.
            if let Err(error) = watcher.wait() {
                tracing::debug!(error = %error, "the watcher could not be reaped");
            }
        }
    }
}

fn look(layout: &Layout) -> Result<Found, EmbeddedError> {
    let Some(server) = PidFile::read(&layout.data)? else {
        return Ok(Found::Nothing);
    };
    if server.is_alive_and_ours(&layout.data) {
        return Ok(if server.is_ready() {
            Found::Ready
        } else if server.is_stopping() {
            Found::Busy("the last server is stopping")
        } else {
            Found::Busy("the server is starting")
        });
    }
    Ok(Found::Nothing)
}

/// Starts the server and does not wait for it; returns its process. `pg_ctl` would ask for its own version and the server's first, and
/// look ten times a second whether it is there.
fn start_server(layout: &Layout, binaries: &Binaries) -> Result<i32, EmbeddedError> {
    // As behind `pg_ctl`, the server is nobody's child when the shell has ended.
    const SCRIPT: &str = r#""$0" -D "$1" >&2 & echo $!"#;
    let log = prepare(layout)?;
    let mut shell = layout.account.command("/bin/sh");
    shell
        .args(["-c", SCRIPT])
        .arg(binaries.program("postgres"))
        .arg(&layout.data)
        .stderr(log);
    let output = shell
        .output()
        .map_err(EmbeddedError::io("run", "/bin/sh"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    said.trim().parse().map_err(|_| EmbeddedError::Tool {
        tool: "/bin/sh",
        said: format!("{}: no process was started", output.status),
    })
}

/// Starts the server and waits for it, ten seconds at most; `false` when it is still recovering.
fn start_and_wait(layout: &Layout, binaries: &Binaries) -> Result<bool, EmbeddedError> {
    let log = prepare(layout)?;
    let to_log = |file: &File| {
        let copy = file.try_clone().map(Stdio::from);
        copy.map_err(EmbeddedError::io("write", first_words(layout)))
    };
    let mut pg_ctl = layout.account.command(binaries.program("pg_ctl"));
    pg_ctl
        .arg("start")
        .arg("--pgdata")
        .arg(&layout.data)
        .args(["--wait", "--silent", "--timeout", STEP_WAIT_SECONDS])
        .stdout(to_log(&log)?)
        .stderr(to_log(&log)?);
    let status = pg_ctl
        .status()
        .map_err(EmbeddedError::io("run", binaries.program("pg_ctl")))?;
    if status.success() {
        return Ok(true);
    }
    not_started(layout, "pg_ctl start").map(|()| false)
}

/// Clears the way for a server; returns where it writes before it has its log.
fn prepare(layout: &Layout) -> Result<File, EmbeddedError> {
    remove_stale_locks(layout)?;
    initialise::write_settings(layout, &layout.data)?;
    let first_words = first_words(layout);
    OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .open(&first_words)
        .map_err(EmbeddedError::io("write", &first_words))
}

/// Where a server writes before it has its log.
fn first_words(layout: &Layout) -> PathBuf {
    layout.log.join("start.log")
}

/// Why there is no server though `tool` was to start it; nothing if it may come up yet, or may be started again shortly.
fn not_started(layout: &Layout, tool: &'static str) -> Result<(), EmbeddedError> {
    if matches!(look(layout)?, Found::Ready | Found::Busy(_)) {
        return Ok(());
    }
    let said = fs::read_to_string(first_words(layout)).unwrap_or_default();
    if said.contains("pre-existing shared memory block") {
        // The last server's workers are still leaving.
        return Ok(());
    }
    Err(EmbeddedError::Tool {
        tool,
        said: format!(
            "{} (more in {})",
            initialise::last_lines(&said, 4),
            layout.log.display()
        ),
    })
}

/// Removes lock files whose number now belongs to a stranger; PostgreSQL would refuse to start.
///
/// Files that name a dead process stay: PostgreSQL removes them itself, after checking that no worker of the old server
/// lives.
fn remove_stale_locks(layout: &Layout) -> Result<(), EmbeddedError> {
    if let Some(server) = PidFile::read(&layout.data)?
        && server.is_alive()
        && !server.is_alive_and_ours(&layout.data)
    {
        remove(&layout.data.join("postmaster.pid"), server.pid)?;
    }
    let lock = layout.socket_lock();
    if let Some(pid) = pid_file::lock_file_pid(&lock) {
        remove(&lock, pid)?;
        remove(&lock.with_extension(""), pid)?;
    }
    Ok(())
}

fn remove(path: &Path, pid: i32) -> Result<(), EmbeddedError> {
    match fs::remove_file(path) {
        Ok(()) => {
            tracing::info!(file = %path.display(), process.id = pid, "removed a stale lock file");
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(EmbeddedError::io("remove", path)(error)),
    }
}

fn stop_server(layout: &Layout, binaries: &Binaries) -> Result<(), EmbeddedError> {
    if PidFile::read(&layout.data)?.is_none() {
        return Ok(());
    }
    let mut pg_ctl = layout.account.command(binaries.program("pg_ctl"));
    pg_ctl.arg("stop").arg("--pgdata").arg(&layout.data).args([
        "--mode",
        "fast",
        "--wait",
        "--silent",
        "--timeout",
        "50",
    ]);
    let output = initialise::run_to_end(&mut pg_ctl)?;
    if output.status.success() || matches!(look(layout)?, Found::Nothing) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(EmbeddedError::Stop(initialise::last_lines(&said, 3)))
}

/// Spawns the process that stops the server when the last instance has left, however it left.
fn watch(layout: &Layout, binaries: &Binaries) -> Option<Child> {
    let mut flock = layout.account.command("flock");
    flock
        .arg("--exclusive")
        .arg(&layout.users_lock)
        .arg(binaries.program("pg_ctl"))
        .arg("stop")
        .arg("--pgdata")
        .arg(&layout.data)
        .args(["--mode", "fast", "--wait", "--silent"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match flock.spawn() {
        Ok(child) => Some(child),
        Err(error) => {
            tracing::debug!(error = %error, "no watcher: an orphaned server stays until the next start");
            None
        }
    }
}

/// The major version of the cluster in `data`; `None` when there is none.
fn cluster_version(data: &Path) -> Result<Option<String>, EmbeddedError> {
    let path = data.join("PG_VERSION");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(EmbeddedError::io("read", &path)(error)),
    }
}

fn open_lock(layout: &Layout, path: &Path) -> Result<File, EmbeddedError> {
    let existed = path.exists();
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(EmbeddedError::io("open", path))?;
    if !existed {
        // The watcher, which runs as the server's user, opens it too.
        layout.account.own(path, 0o600)?;
    }
    Ok(file)
}

fn try_shared(file: &File, path: &Path) -> Result<bool, EmbeddedError> {
    locked(file.try_lock_shared(), path)
}

fn try_exclusive(file: &File, path: &Path) -> Result<bool, EmbeddedError> {
    locked(file.try_lock(), path)
}

fn locked(result: Result<(), TryLockError>, path: &Path) -> Result<bool, EmbeddedError> {
    match result {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(EmbeddedError::io("lock", path)(error)),
    }
}
