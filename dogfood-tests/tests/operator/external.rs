//! A server on the operator's own PostgreSQL: wrong passwords, the whole way of an event, and a database that goes away.

use std::time::Duration;

use dogfood_tests::postgres::{PASSWORD, Postgres};
use dogfood_tests::server::{Dsn, Mesher, free_address};
use dogfood_tests::wait::{self, PATIENCE};
use dogfood_tests::web_socket::WebSocket;
use uuid::Uuid;

use crate::{answer, refusal, send_event, wait_until_accepting, wait_until_stored};

#[test]
fn an_external_database_may_go_away_and_come_back() {
    let database = Postgres::start_new().expect("a PostgreSQL");
    let mut mesher = Mesher::new()
        .expect("a mesher")
        .with_env("MESHER_DATABASE_URL", &database.url())
        .with_env("MESHER_PUBLIC_URL", "https://errors.example");
    for (url, says) in [
        (
            database.url_of("hunter2", "postgres"),
            "password authentication failed",
        ),
        (
            database.url_of(PASSWORD, "nowhere"),
            "\"nowhere\" does not exist",
        ),
    ] {
        for arguments in [&[][..], &["migrate"], &["token", "create", "ci"]] {
            let mut command = mesher.command(arguments);
            refusal(
                command.env("MESHER_DATABASE_URL", &url),
                &["MESHER_DATABASE_URL", says],
            );
        }
    }

    mesher.start().expect("a start");
    assert!(
        !mesher.data_dir().join("postgres").exists(),
        "no private database beside it"
    );
    // Everybody on the machine may read a program's arguments.
    let arguments = [
        "psql",
        "-At",
        "-c",
        "\\! tr '\\000' ' ' </proc/$PPID/cmdline; echo",
    ];
    let arguments = answer(&mesher, &arguments);
    assert!(
        arguments.contains("psql") && !arguments.contains(PASSWORD),
        "{arguments}"
    );

    let dsn = Dsn::parse(&answer(&mesher, &["dsn"])).expect("a DSN");
    assert!(dsn.text.ends_with("@errors.example/1"), "{}", dsn.text);
    behind_a_proxy(&mesher);
    let mut ids = vec![send_event(&mesher, &dsn)];
    wait_until_stored(&mesher, &ids);

    database.stop().expect("a stop");
    ids.push(send_event(&mesher, &dsn));
    let reason = wait::until("/readyz to say why", PATIENCE, || {
        let answer = mesher
            .client()
            .send("GET", "/readyz", &[], b"")
            .map_err(|error| error.to_string())?;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        if answer.status == 503 {
            Ok(body)
        } else {
            Err(body)
        }
    });
    let reason = reason.expect("not ready");
    assert!(
        reason.contains("database does not answer") && !reason.contains(PASSWORD),
        "{reason}"
    );
    let alive = mesher
        .client()
        .send("GET", "/healthz", &[], b"")
        .expect("an answer");
    assert_eq!(alive.status, 200);
    ids.extend((0..20).map(|_| send_event(&mesher, &dsn)));
    let asked = mesher.client().send(
        "GET",
        "/api/v1/projects",
        &[("authorization", "Bearer x")],
        b"",
    );
    let asked = asked.expect("an answer");
    assert_eq!(
        (asked.status, asked.header("retry-after").is_some()),
        (503, true),
        "{asked:?}"
    );
    // Long enough for everything that retries to have failed more than once.
    wait::pause(Duration::from_secs(5));
    ids.push(send_event(&mesher, &dsn));
    database.start().expect("a start");
    mesher.wait_ready().expect("ready again");
    wait_until_stored(&mesher, &ids);

    database.stop().expect("a stop");
    mesher
        .stop()
        .expect("SIGTERM ends it with exit code 0 while the database is away");
    a_start_without_the_database(&mut mesher, &database, &dsn, ids);
    let log = mesher.log().expect("a log");
    assert!(
        !log.contains(PASSWORD) && !log.contains("panicked"),
        "{log}"
    );
}

/// A server that knows its keys from before takes events though the database is away when it starts, and says what it can do.
fn a_start_without_the_database(
    mesher: &mut Mesher,
    database: &Postgres,
    dsn: &Dsn,
    mut ids: Vec<Uuid>,
) {
    mesher.spawn().expect("a start");
    wait_until_accepting(mesher);
    ids.push(send_event(mesher, dsn));
    let asked = |path| {
        let answer = mesher
            .client()
            .send("GET", path, &[("authorization", "Bearer x")], b"");
        let answer = answer.expect("an answer");
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        (answer.status, body)
    };
    let (status, body) = asked("/readyz");
    assert!(
        status == 503
            && body.contains("\"accepting\":true")
            && body.contains("database does not answer"),
        "{status} {body}"
    );
    assert_eq!(asked("/healthz").0, 200);
    assert_eq!(asked("/api/v1/projects").0, 503);
    let metrics = mesher.client().send("GET", "/metrics", &[], b"");
    let metrics = String::from_utf8(metrics.expect("metrics").body).expect("text");
    assert!(metrics.contains("mesher_database_up 0"), "{metrics}");
    // Nobody can tell yet whether it was made meanwhile: its sender is to come again.
    let unknown = format!("Bearer {}", "0".repeat(32));
    let headers = [("authorization", unknown.as_str())];
    let answer = mesher
        .client()
        .send("POST", "/api/v1/events", &headers, b"{}");
    let answer = answer.expect("an answer");
    assert_eq!(
        (answer.status, answer.header("retry-after").is_some()),
        (429, true)
    );
    mesher.stop().expect("SIGTERM ends it with exit code 0");

    // What was accepted so outlives the process as everything else does.
    mesher.spawn().expect("a start");
    wait_until_accepting(mesher);
    ids.extend((0..20).map(|_| send_event(mesher, dsn)));
    mesher.kill_nine();
    mesher.spawn().expect("a start");
    wait_until_accepting(mesher);
    ids.push(send_event(mesher, dsn));
    database.start().expect("a start");
    mesher.wait_ready().expect("ready");
    wait_until_stored(mesher, &ids);
    let answer = mesher
        .client()
        .send("POST", "/api/v1/events", &headers, b"{}");
    assert_eq!(answer.expect("an answer").status, 403, "now it is known");
    let accepted = mesher
        .query("SELECT sum(quantity), (SELECT count(*) FROM events) FROM outcomes WHERE outcome = 'accepted'")
        .expect("sums");
    assert_eq!(accepted[0], [ids.len().to_string(), ids.len().to_string()]);
    mesher.stop().expect("SIGTERM ends it with exit code 0");

    // Another database has other keys: those of this one open nothing there.
    let address = free_address().expect("an address");
    let other = format!("postgres://mesher:hunter2@{address}/mesher");
    refusal(
        mesher.command(&[]).env("MESHER_DATABASE_URL", &other),
        &["cannot reach the database of MESHER_DATABASE_URL"],
    );
}

/// A proxy may name us as it likes in the host header: pages of the public URL follow the live stream, others do not.
fn behind_a_proxy(mesher: &Mesher) {
    let token = answer(mesher, &["token", "create", "proxy"]);
    let authorization = format!("Bearer {token}");
    for (origin, status) in [
        ("https://errors.example", 101),
        ("https://evil.example", 403),
    ] {
        let headers = [
            ("authorization", authorization.as_str()),
            ("origin", origin),
        ];
        let opened = WebSocket::open(mesher.address(), "/api/v1/live", &headers);
        assert_eq!(opened.expect("an answer").0, status, "{origin}");
    }
}
