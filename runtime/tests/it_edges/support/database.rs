//! A PostgreSQL server of its own for one test: in a temporary directory, on a unix socket, gone afterwards.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Where the distributions keep the server's programs when they are not on the path; the newest counts.
const PROGRAM_DIRECTORIES: &str = "/usr/lib/postgresql";

/// A server that listens on a socket in its own directory.
pub(crate) struct Database {
    directory: TempDir,
    programs: PathBuf,
}

impl Database {
    /// Makes a cluster and does not start it.
    pub(crate) fn stopped() -> Database {
        let directory = TempDir::new().expect("a temporary directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let database = Database {
            directory,
            programs: programs(),
        };
        let data = database.data();
        database.program(
            "initdb",
            &["-D", &data, "-U", "postgres", "-A", "trust", "--no-sync"],
        );
        database
    }

    /// Makes a cluster and starts it.
    pub(crate) fn started() -> Database {
        let database = Database::stopped();
        database.start();
        database
    }

    /// Starts the server and waits until it answers.
    pub(crate) fn start(&self) {
        let settings = format!(
            "-c listen_addresses= -c unix_socket_directories={} -c fsync=off",
            self.path().display()
        );
        let log = self.path().join("log").display().to_string();
        self.program(
            "pg_ctl",
            &[
                "-D",
                &self.data(),
                "-w",
                "-l",
                &log,
                "-o",
                &settings,
                "start",
            ],
        );
    }

    /// Stops the server at once, connections or not.
    pub(crate) fn stop(&self) {
        self.program("pg_ctl", &["-D", &self.data(), "-w", "-m", "fast", "stop"]);
    }

    /// How to reach it.
    pub(crate) fn config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host_path(self.path())
            .user("postgres")
            .dbname("postgres");
        config
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn data(&self) -> String {
        self.path().join("data").display().to_string()
    }

    fn program(&self, name: &str, arguments: &[&str]) {
        let outcome = self
            .command(name, arguments)
            .output()
            .expect("the program runs");
        let text = String::from_utf8_lossy(&outcome.stderr);
        assert!(outcome.status.success(), "{name} failed: {text}");
    }

    /// The server refuses to run as root, so root becomes `postgres` first.
    fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let program: OsString = self.programs.join(name).into();
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
                .arg(program);
            command
        } else {
            Command::new(program)
        };
        command
            .args(arguments)
            .current_dir(self.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A test may have stopped it itself.
        let arguments = ["-D", &self.data(), "-w", "-m", "immediate", "stop"];
        let _ = self.command("pg_ctl", &arguments).output();
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id runs");
    id.stdout.starts_with(b"0\n")
}

fn programs() -> PathBuf {
    let mut versions: Vec<PathBuf> = fs::read_dir(PROGRAM_DIRECTORIES)
        .map(|entries| {
            entries
                .flatten()
                .map(|entry| entry.path().join("bin"))
                .collect()
        })
        .unwrap_or_default();
    versions.retain(|bin| bin.join("initdb").exists());
    versions.sort();
    // Else the search path is asked.
    versions.pop().unwrap_or_default()
}
