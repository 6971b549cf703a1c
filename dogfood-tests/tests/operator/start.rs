//! Starts that accept events before their private database is up, and what may befall that database meanwhile.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use dogfood_tests::server::{Dsn, Mesher};
use dogfood_tests::wait::{self, PATIENCE};

use crate::{answer, postmaster, send_event, signal, wait_until_accepting, wait_until_stored};

/// Nobody but the start itself can start it again: its keeper begins with the tables.
#[test]
fn a_private_database_that_dies_while_a_start_waits_for_it_is_started_again() {
    let mut mesher = Mesher::new().expect("a mesher");
    mesher.start().expect("a start");
    let dsn = Dsn::parse(&answer(&mesher, &["dsn"])).expect("a DSN");
    mesher.stop().expect("a stop");
    let holds = "LOCK TABLE refinery_schema_history; SELECT pg_sleep(600)";
    let mut holder = mesher
        .command(&["psql", "-X", "-q", "-c", holds])
        .spawn()
        .expect("psql");
    wait_for_lock(&mesher, "granted");
    mesher.spawn().expect("a start");
    wait_until_accepting(&mesher);
    let ids = [send_event(&mesher, &dsn)];
    wait_for_lock(&mesher, "NOT granted");
    signal("KILL", postmaster(&mesher).expect("a database"));
    holder.wait().expect("psql ends with its server");
    mesher.wait_ready().expect("ready");
    wait_until_stored(&mesher, &ids);
    mesher.stop().expect("a stop");
}

/// Waits until somebody has a lock on what was migrated, or waits for one.
fn wait_for_lock(mesher: &Mesher, which: &str) {
    let sql = format!(
        "SELECT 1 FROM pg_locks WHERE relation = 'refinery_schema_history'::regclass AND {which}"
    );
    let locked = wait::until("a lock", PATIENCE, || match mesher.query(&sql) {
        Ok(rows) if !rows.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    });
    locked.expect("a lock");
}

/// A database that does not start now may start in a while: a server that accepts events goes on with that.
#[test]
fn a_private_database_that_fails_to_start_is_tried_again() {
    let programs = Programs::new();
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", programs.directory.path().display());
    let mut mesher = Mesher::new().expect("a mesher").with_env("PATH", &path);
    mesher.start().expect("a start");
    let dsn = Dsn::parse(&answer(&mesher, &["dsn"])).expect("a DSN");
    mesher.stop().expect("a stop");
    programs.fail(2);
    mesher.spawn().expect("a start");
    wait_until_accepting(&mesher);
    let ids = [send_event(&mesher, &dsn)];
    mesher.wait_ready().expect("ready");
    assert_eq!(programs.failures_left(), 0, "it did fail");
    let log = mesher.log().expect("a log");
    assert!(log.contains("no room for it"), "{log}");
    wait_until_stored(&mesher, &ids);
    mesher.stop().expect("a stop");
}

/// The keys of the last run say nothing of what the database holds now.
#[test]
fn a_database_that_was_emptied_is_set_up_as_a_new_one() {
    let mut mesher = Mesher::new().expect("a mesher");
    mesher.start().expect("a start");
    mesher.stop().expect("a stop");
    for sql in ["DROP DATABASE mesher", "CREATE DATABASE mesher"] {
        mesher
            .run(&["psql", "-X", "-q", "-d", "postgres", "-c", sql])
            .expect(sql);
    }
    let told = mesher.log().expect("a log").len();
    mesher.start().expect("a start");
    let token = wait::until("a set-up link", PATIENCE, || {
        let log = mesher.log().map_err(|fault| fault.to_string())?;
        let link = log[told..].split_once("/setup?token=");
        let token = link.and_then(|(_, rest)| Some(rest.split_once('\n')?.0.trim().to_owned()));
        token.ok_or_else(|| mesher.log_end())
    });
    let token = token.expect("a set-up link");
    let body = format!(
        r#"{{"token":"{token}","email":"a@b.example","name":"A","password":"long enough to be one"}}"#
    );
    let done = mesher
        .client()
        .send("POST", "/api/v1/setup", &[], body.as_bytes())
        .expect("an answer");
    assert!((200..300).contains(&done.status), "{done:?}");
    let log = mesher.log().expect("a log");
    assert!(
        log[told..].contains("DSN"),
        "the project's DSN is told: {log}"
    );
    let dsn = Dsn::parse(&answer(&mesher, &["dsn"])).expect("a DSN");
    let ids = [send_event(&mesher, &dsn)];
    wait_until_stored(&mesher, &ids);
    mesher.stop().expect("a stop");
}

/// PostgreSQL's programs, of which the server fails to start as often as it is told.
struct Programs {
    directory: tempfile::TempDir,
}

impl Programs {
    fn new() -> Programs {
        let directory = tempfile::Builder::new()
            .prefix("mesher-programs-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .expect("a directory");
        let programs = Programs { directory };
        let real = newest_server();
        for name in ["initdb", "pg_ctl", "psql"] {
            symlink(real.join(name), programs.directory.path().join(name)).expect("a link");
        }
        let left = programs.left();
        let server = programs.directory.path().join("postgres");
        let script = format!(
            "#!/bin/sh\nleft=$(cat '{left}')\nif [ \"$1\" = -D ] && [ \"$left\" -gt 0 ]; then\n\
             echo $((left - 1)) >'{left}'\necho 'no room for it' >&2\nexit 1\nfi\nexec '{real}' \"$@\"\n",
            left = left.display(),
            real = real.join("postgres").display(),
        );
        fs::write(&server, script).expect("a script");
        fs::set_permissions(&server, Permissions::from_mode(0o755)).expect("a program");
        programs.fail(0);
        fs::set_permissions(&left, Permissions::from_mode(0o666))
            .expect("a file for the server's user");
        programs
    }

    fn left(&self) -> PathBuf {
        self.directory.path().join("failures")
    }

    fn fail(&self, times: u32) {
        fs::write(self.left(), format!("{times}\n")).expect("a file");
    }

    fn failures_left(&self) -> u32 {
        let left = fs::read_to_string(self.left()).expect("a file");
        left.trim().parse().expect("a number")
    }
}

/// Where the newest of the distribution's servers lies.
fn newest_server() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL of the distribution");
    let found = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    let newest = found
        .filter(|bin| bin.join("postgres").exists())
        .max_by_key(|bin| version(bin));
    newest.expect("a server")
}

fn version(bin: &Path) -> u32 {
    let name = bin.parent().and_then(Path::file_name);
    name.and_then(|name| name.to_str()?.parse().ok())
        .unwrap_or(0)
}
