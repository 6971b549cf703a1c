//! A server with its private database: commands before and beside it, a second one, a database that dies, the end.

use std::fs;
use std::process::Stdio;

use dogfood_tests::operator::Ended;
use dogfood_tests::server::{Dsn, Mesher};
use dogfood_tests::wait::{self, PATIENCE};
use uuid::Uuid;

use crate::{
    SOON, answer, is_alive, postmaster, refusal, send_event, signal, wait_until_accepting,
    wait_until_stored,
};

#[test]
fn a_private_server_lives_as_its_operator_expects() {
    let mut mesher = Mesher::new().expect("a mesher");

    // The very first start, cut short while it initialises the database.
    mesher.spawn().expect("a start");
    wait::until("the first files of a database", PATIENCE, || {
        let begun = mesher.data_dir().join("postgres").exists();
        begun.then_some(()).ok_or_else(String::new)
    })
    .expect("a beginning");
    mesher
        .stop()
        .expect("SIGTERM ends a start with exit code 0");

    // Before any whole start: the commands bring the database up themselves, and down again.
    let dsn = answer(&mesher, &["dsn"]);
    assert_eq!(
        answer(&mesher, &["psql", "-At", "-c", "SELECT 40 + 2"]),
        "42"
    );
    assert_eq!(
        postmaster(&mesher),
        None,
        "the last command has stopped the database"
    );

    mesher.start().expect("a start");
    let database = postmaster(&mesher).expect("a database");
    assert_eq!(answer(&mesher, &["dsn"]), dsn);
    assert_eq!(answer(&mesher, &["dsn", "--project", "1"]), dsn);
    assert!(answer(&mesher, &["token", "create", "ci"]).starts_with("msh_"));
    assert_eq!(
        answer(&mesher, &["psql", "-At", "-c", "SELECT 40 + 2"]),
        "42"
    );
    refusal(
        &mut mesher.command(&["dsn", "--project", "nope"]),
        &["nope", "default"],
    );
    let failed = Ended::of(
        &mut mesher.command(&["psql", "-At", "-c", "SELECT nonsense"]),
        PATIENCE,
    );
    assert_eq!(
        failed.expect("psql ends").code,
        Some(1),
        "psql's own exit code"
    );
    a_command_leaves_interrupts_to_psql(&mesher);
    a_second_server_is_refused(&mesher);

    let dsn = Dsn::parse(&dsn).expect("a DSN");
    let mut ids = vec![send_event(&mesher, &dsn)];
    wait_until_stored(&mesher, &ids);
    signal("KILL", database);
    ids.extend((0..20).map(|_| send_event(&mesher, &dsn)));
    let revived = wait::until("the database to be started again", PATIENCE, || {
        postmaster(&mesher)
            .filter(|process| *process != database && is_alive(*process))
            .ok_or_else(String::new)
    });
    let revived = revived.expect("the keeper starts it");
    mesher.wait_ready().expect("ready again");
    wait_until_stored(&mesher, &ids);

    let link = mesher.setup_link().expect("a set-up link");
    let token = link.split_once("token=").expect("a token").1.to_owned();
    mesher.stop().expect("SIGTERM ends it with exit code 0");
    assert!(
        !is_alive(revived) && postmaster(&mesher).is_none(),
        "the database is stopped, too"
    );
    a_start_is_cut_as_soon_as_it_accepts(&mut mesher, &dsn, ids);
    let log = mesher.log().expect("a log");
    assert!(!log.contains("panicked"), "{log}");
    let logged: String = log.lines().filter(|line| line.starts_with('{')).collect();
    for secret in [&token, &dsn.key] {
        assert!(
            !logged.contains(secret.as_str()),
            "a secret is in the log: {logged}"
        );
    }

    another_major_version_is_refused(&mesher);
}

/// Events are accepted before the private database is up; a stop just then leaves neither it nor a hole behind.
fn a_start_is_cut_as_soon_as_it_accepts(mesher: &mut Mesher, dsn: &Dsn, mut ids: Vec<Uuid>) {
    for _ in 0..3 {
        mesher.spawn().expect("a start");
        wait_until_accepting(mesher);
        ids.push(send_event(mesher, dsn));
        mesher.stop().expect("SIGTERM ends it with exit code 0");
        let log = mesher.log().expect("a log");
        // One that takes long to come up is left to the next start, which is said.
        let is_left = log.contains("is left to the next start");
        assert!(
            is_left || postmaster(mesher).is_none(),
            "the database is stopped, too"
        );
    }
    mesher.start().expect("a start");
    wait_until_stored(mesher, &ids);
    mesher.stop().expect("SIGTERM ends it with exit code 0");
}

/// Ctrl-C reaches the whole foreground group; psql cancels its query and goes on, so Mesher must not end under it.
fn a_command_leaves_interrupts_to_psql(mesher: &Mesher) {
    let mut command = mesher.command(&["psql", "-At", "-c", "SELECT 'slept' FROM pg_sleep(1.5)"]);
    let child = command.stdout(Stdio::piped()).spawn().expect("psql");
    wait::until("psql's query", PATIENCE, || {
        let rows = mesher.query("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%''slept''%' AND application_name = 'psql' AND pid <> pg_backend_pid()");
        match rows {
            Ok(rows) if rows[0][0] != "0" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .expect("psql asks");
    signal("INT", child.id());
    let output = child.wait_with_output().expect("an end");
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(0), &b"slept\n"[..])
    );
}

/// The first server owns the directory: the second says so, and takes nothing from the first, such as its set-up link.
fn a_second_server_is_refused(mesher: &Mesher) {
    let setup = |token: &str| {
        let body =
            format!(r#"{{"token":"{token}","email":"a@b.example","name":"A","password":"short"}}"#);
        mesher
            .client()
            .send("POST", "/api/v1/setup", &[], body.as_bytes())
            .expect("an answer")
            .status
    };
    let offered = || {
        mesher
            .query("SELECT encode(token_hash, 'hex') FROM setup_tokens")
            .expect("rows")
    };
    let before = offered();
    assert_eq!(before.len(), 1, "one link is open");
    let ended = Ended::of(
        mesher
            .command(&[])
            .env("MESHER_LISTEN", "127.0.0.1:0")
            .env("MESHER_LOG", "error"),
        SOON,
    );
    let ended = ended.expect("the second server ends");
    ended
        .refusal(&["another", "MESHER_DATA_DIR"], &[])
        .expect("a clear refusal");
    assert_eq!(
        offered(),
        before,
        "the first server's set-up link still works"
    );
    assert_eq!(setup("wrong"), 400);
}

fn another_major_version_is_refused(mesher: &Mesher) {
    let version = mesher.data_dir().join("postgres/data/PG_VERSION");
    fs::write(&version, "9\n").expect("a version");
    refusal(
        // That it begins to accept events is no news here.
        mesher.command(&[]).env("MESHER_LOG", "error"),
        &["PostgreSQL 9", "pg_upgrade"],
    );
}

/// `mesher serve | grep -m1 DSN`: whoever reads may leave; the server stays.
#[test]
fn a_reader_that_leaves_does_not_end_the_server() {
    let mesher = Mesher::new().expect("a mesher");
    let mut command = mesher.command(&[]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("mesher");
    drop((child.stdout.take(), child.stderr.take()));
    let ready = wait::until("a ready mesher", PATIENCE, || {
        if let Ok(Some(status)) = child.try_wait() {
            return Ok(Err(status));
        }
        match mesher.client().send("GET", "/readyz", &[], b"") {
            Ok(answer) if answer.status == 200 => Ok(Ok(())),
            other => Err(format!("{other:?}")),
        }
    });
    assert_eq!(ready, Ok(Ok(())));
    signal("TERM", child.id());
    let ended = wait::until("a clean stop", PATIENCE, || match child.try_wait() {
        Ok(Some(status)) => Ok(status.code()),
        _ => Err("still running".to_owned()),
    });
    assert_eq!(ended, Ok(Some(0)));
    assert_eq!(postmaster(&mesher), None);
}
