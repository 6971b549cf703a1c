//! A throw-away PostgreSQL of the suite's own, as an operator's external server: by TCP, with a password, started and stopped at will.

use std::env;
use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::Fault;

/// The password of the server's only user; a suite looks for it where it must not be.
pub const PASSWORD: &str = "correct-horse-battery-staple";

/// Where distributions put the programs, one folder a major version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// One server, stopped and removed when dropped.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    home: TempDir,
    port: u16,
    /// User and group that run the server; PostgreSQL refuses root.
    run_as: Option<(u32, u32)>,
}

impl Postgres {
    /// Initialises a cluster and starts its server on a free port.
    ///
    /// # Errors
    /// When there are no programs of PostgreSQL, or one of them fails; what it said is in the line.
    pub fn start_new() -> Result<Self, Fault> {
        let home = tempfile::Builder::new()
            .prefix("mesher-postgres-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()?;
        let postgres = Self {
            programs: programs()?,
            home,
            port: TcpListener::bind("127.0.0.1:0")?.local_addr()?.port(),
            run_as: unprivileged()?,
        };
        let (data, password) = (postgres.data(), postgres.home.path().join("password"));
        fs::create_dir(&data)?;
        fs::write(&password, PASSWORD)?;
        if let Some((user, group)) = postgres.run_as {
            chown(&data, Some(user), Some(group))?;
        }
        let data = data.to_string_lossy().into_owned();
        let password_file = format!("--pwfile={}", password.display());
        postgres.run(
            "initdb",
            &[
                "--pgdata",
                &data,
                "--username=mesher",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                &password_file,
            ],
        )?;
        postgres.start()?;
        Ok(postgres)
    }

    /// The URL that Mesher is given.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of(PASSWORD, "postgres")
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// A URL of one of its databases by way of another port, where a proxy listens.
    #[must_use]
    pub fn url_at(&self, port: u16, database: &str) -> String {
        format!("postgres://mesher:{PASSWORD}@127.0.0.1:{port}/{database}")
    }

    /// Asks the server itself, past any proxy; a row is its columns as text.
    ///
    /// # Errors
    /// When the statement fails; what was said is in the line.
    pub fn query(&self, sql: &str) -> Result<String, Fault> {
        let output = Command::new(self.programs.join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-U", "mesher", "-d", "postgres"])
            .env("PGPASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("psql ended with {}: {said}", output.status).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Changes a setting of the running server, for the connections that are open, too.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn set(&self, name: &str, value: &str) -> Result<(), Fault> {
        self.query(&format!("ALTER SYSTEM SET {name} = '{value}'"))?;
        self.query("SELECT pg_reload_conf()").map(drop)
    }

    /// A URL of this server with another password or database.
    #[must_use]
    pub fn url_of(&self, password: &str, database: &str) -> String {
        format!(
            "postgres://mesher:{password}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    /// Starts the server again after [`Postgres::stop`] and waits until it accepts connections.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(&self) -> Result<(), Fault> {
        let options = format!(
            "-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories= -c fsync=off -c logging_collector=on",
            self.port
        );
        self.pg_ctl(&["start", "--wait", "--silent", "-o", &options])
    }

    /// Cuts every connection and stops the server.
    ///
    /// # Errors
    /// When it does not stop.
    pub fn stop(&self) -> Result<(), Fault> {
        self.pg_ctl(&["stop", "--wait", "--silent", "--mode=fast"])
    }

    /// Ends the server as a crash does: nothing is finished, and the next start recovers.
    ///
    /// # Errors
    /// When it does not end.
    pub fn crash(&self) -> Result<(), Fault> {
        self.pg_ctl(&["stop", "--wait", "--silent", "--mode=immediate"])
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    fn pg_ctl(&self, arguments: &[&str]) -> Result<(), Fault> {
        let data = self.data().to_string_lossy().into_owned();
        self.run("pg_ctl", &[&["--pgdata", &data], arguments].concat())
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<(), Fault> {
        // A file, because a server that is left behind would hold a pipe open.
        let said = tempfile::NamedTempFile::new()?;
        let mut command = Command::new(self.programs.join(program));
        command
            .args(arguments)
            .current_dir("/")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(said.reopen()?)
            .stderr(said.reopen()?);
        if let Some((user, group)) = self.run_as {
            command.gid(group).uid(user);
        }
        let status = command.status()?;
        if status.success() {
            return Ok(());
        }
        let said = fs::read_to_string(said.path())?;
        Err(format!("{program} ended with {status}: {said}").into())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // It may be stopped already, which is an error that changes nothing here.
        let _ = self.pg_ctl(&["stop", "--wait", "--silent", "--mode=immediate"]);
    }
}

/// The folder with `initdb` and `pg_ctl`: on `PATH`, or the newest of the distribution's.
fn programs() -> Result<PathBuf, Fault> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    if let Ok(versions) = fs::read_dir(VERSIONS) {
        let mut found: Vec<PathBuf> = versions
            .flatten()
            .map(|version| version.path().join("bin"))
            .collect();
        found.sort();
        folders.extend(found.into_iter().rev());
    }
    let holds_both = |folder: &Path| {
        ["initdb", "pg_ctl"]
            .iter()
            .all(|name| folder.join(name).exists())
    };
    let found = folders.into_iter().find(|folder| holds_both(folder));
    let found = found.ok_or("no initdb and pg_ctl found; install PostgreSQL")?;
    // They may be links out of a folder without the other programs.
    let real = fs::canonicalize(found.join("pg_ctl"))?;
    Ok(real.parent().unwrap_or(&found).to_owned())
}

/// Who runs the server when this is root: the user `postgres`, or `nobody`.
///
/// # Errors
/// When this is root and neither exists.
pub fn unprivileged() -> Result<Option<(u32, u32)>, Fault> {
    if number(&["-u"]) != Some(0) {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let (Some(user), Some(group)) = (number(&["-u", name]), number(&["-g", name])) {
            return Ok(Some((user, group)));
        }
    }
    Err("root, and neither user postgres nor nobody exists".into())
}

fn number(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
