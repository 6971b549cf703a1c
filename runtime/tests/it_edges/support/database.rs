//! A PostgreSQL server of its own for one test: in a temporary directory, on a unix socket, gone afterwards.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::certificate::{Certificate, NAME};

/// Where the distributions keep the server's programs when they are not on the path; the newest counts.
const PROGRAM_DIRECTORIES: &str = "/usr/lib/postgresql";

/// A server that listens on a socket in its own directory.
pub(crate) struct Database {
    directory: TempDir,
    programs: PathBuf,
    /// Where it listens for TLS besides.
    port: Option<u16>,
}

impl Database {
    /// Makes a cluster and does not start it.
    pub(crate) fn stopped() -> Database {
        let directory = TempDir::new().expect("a temporary directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let database = Database {
            directory,
            programs: programs(),
            port: None,
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

    /// Makes a cluster that can be reached through TLS and starts it.
    pub(crate) fn secured(certificate: &Certificate) -> Database {
        let mut database = Database::stopped();
        for (from, to) in [
            (certificate.chain(), "server.crt"),
            (certificate.key(), "server.key"),
        ] {
            // The server takes a key only from its own user's hands.
            let text = fs::read_to_string(from).unwrap();
            let script = format!("umask 077; printf '%s' \"$0\" > data/{to}");
            database.program("/bin/sh", &["-c", &script, &text]);
        }
        let free = TcpListener::bind((NAME, 0)).unwrap();
        database.port = Some(free.local_addr().unwrap().port());
        drop(free);
        database.start();
        database
    }

    /// How to reach it through TLS.
    pub(crate) fn secure_config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        let port = self.port.expect("it was made with a certificate");
        config
            .host(NAME)
            .port(port)
            .user("postgres")
            .dbname("postgres");
        config
    }

    /// Starts the server and waits until it answers.
    pub(crate) fn start(&self) {
        let listen = match self.port {
            Some(port) => format!("-c listen_addresses={NAME} -c port={port} -c ssl=on"),
            None => "-c listen_addresses=".to_owned(),
        };
        let settings = format!(
            "{listen} -c unix_socket_directories={} -c fsync=off",
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

    /// The socket it listens on.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path().join(".s.PGSQL.5432")
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
