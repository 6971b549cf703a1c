//! A server on the operator's own PostgreSQL: wrong passwords, the whole way of an event, and a database that goes away.

use std::time::Duration;

use dogfood_tests::postgres::{PASSWORD, Postgres};
use dogfood_tests::server::{Dsn, Mesher};
use dogfood_tests::wait::{self, PATIENCE};
use dogfood_tests::web_socket::WebSocket;

use crate::{answer, refusal, send_event, wait_until_stored};

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
    let log = mesher.log().expect("a log");
    assert!(
        !log.contains(PASSWORD) && !log.contains("panicked"),
        "{log}"
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
