//! First set-up, log-in, log-out, and how guessing is slowed down.

use dogfood_tests::Fault;
use dogfood_tests::api_probe::{Probe, Who};
use dogfood_tests::http::Response;
use dogfood_tests::server::Mesher;
use dogfood_tests::web_socket::WebSocket;
use serde_json::json;

use crate::Ground;

pub(crate) const EMAIL: &str = "owner@errors.example";
pub(crate) const PASSWORD: &str = "purple-monkey-dishwasher";

/// Wrong passwords that one address may try in a minute.
const ATTEMPTS_MAX: usize = 10;

pub(crate) fn run(mesher: &Mesher, probe: &mut Probe<'_>, ground: &Ground) -> Result<(), Fault> {
    set_up(probe, ground)?;
    let session = log_in(probe)?;
    let followed = follow(mesher, probe, &session, 101)?;
    let other = follow(mesher, probe, &ground.token(), 101)?;
    log_out(probe, &session)?;
    follow(mesher, probe, &session, 401)?;
    // The page that is still open hears no more; one that came by other means does.
    let mut followed = followed.ok_or("no live stream with a session")?;
    let ended = followed.receive()?;
    probe.check(ended.is_none(), || {
        format!("after log-out the live stream goes on: {ended:?}")
    });
    let mut other = other.ok_or("no live stream with a token")?;
    other.send(r#"{"subscribe":"nonsense"}"#)?;
    other.receive_kind("error")?;
    guess(probe)
}

fn setup_body(token: &str, email: &str, password: &str) -> Vec<u8> {
    json!({"token": token, "email": email, "name": "Owner", "password": password})
        .to_string()
        .into_bytes()
}

fn login_body(email: &str, password: &str) -> Vec<u8> {
    json!({"email": email, "password": password})
        .to_string()
        .into_bytes()
}

/// The session's secret, from the cookie that only the browser itself can read.
fn cookie(probe: &mut Probe<'_>, answer: &Response) -> Who {
    let header = answer.header("set-cookie").unwrap_or_default();
    let secret = header
        .strip_prefix("mesher_session=")
        .and_then(|rest| rest.split(';').next());
    let careful =
        header.contains("HttpOnly") && header.contains("SameSite=Lax") && header.contains("Path=/");
    probe.check(
        careful && secret.is_some_and(|secret| secret.len() > 20),
        || format!("the cookie is {header:?}"),
    );
    Who::Session(secret.unwrap_or_default().to_owned())
}

fn set_up(probe: &mut Probe<'_>, ground: &Ground) -> Result<(), Fault> {
    let open = probe
        .expect(200, &Who::Nobody, "GET", "/api/v1/session", b"")?
        .json()?;
    probe.check(
        open == json!({"setup_required": true, "user": null}),
        || format!("before set-up: {open}"),
    );
    let token = ground.setup_token.as_str();
    for body in [
        setup_body("wrong", EMAIL, PASSWORD),
        setup_body("", EMAIL, PASSWORD),
        setup_body(token, "nobody", PASSWORD),
        setup_body(token, EMAIL, "short"),
        setup_body(token, EMAIL, &"x".repeat(2_000)),
    ] {
        probe.expect(400, &Who::Nobody, "POST", "/api/v1/setup", &body)?;
    }
    let body = setup_body(token, EMAIL, PASSWORD);
    let done = probe.expect(201, &Who::Nobody, "POST", "/api/v1/setup", &body)?;
    let session = cookie(probe, &done);
    let me = probe
        .expect(200, &session, "GET", "/api/v1/me", b"")?
        .json()?;
    probe.check(me["email"] == EMAIL && me["role"] == "owner", || {
        format!("me: {me}")
    });
    for token in [token, "wrong"] {
        let body = setup_body(token, "second@errors.example", PASSWORD);
        probe.expect(409, &Who::Nobody, "POST", "/api/v1/setup", &body)?;
    }
    let closed = probe
        .expect(200, &session, "GET", "/api/v1/session", b"")?
        .json()?;
    probe.check(
        closed["setup_required"] == false && closed["user"]["email"] == EMAIL,
        || format!("after set-up: {closed}"),
    );
    let text = closed.to_string();
    probe.check(
        !text.contains("argon2") && !text.contains("password"),
        || format!("the hash is shown: {text}"),
    );
    Ok(())
}

fn log_in(probe: &mut Probe<'_>) -> Result<Who, Fault> {
    for (email, password) in [
        (EMAIL, "wrong-password"),
        ("nobody@errors.example", PASSWORD),
        (EMAIL, ""),
        ("a\0b@c", PASSWORD),
    ] {
        let answer = probe.expect(
            401,
            &Who::Nobody,
            "POST",
            "/api/v1/login",
            &login_body(email, password),
        )?;
        probe.check(answer.header("set-cookie").is_none(), || {
            "a cookie for a wrong password".to_owned()
        });
    }
    let shouted = EMAIL.to_uppercase();
    let answer = probe.expect(
        200,
        &Who::Nobody,
        "POST",
        "/api/v1/login",
        &login_body(&shouted, PASSWORD),
    )?;
    let session = cookie(probe, &answer);
    for path in [
        "me",
        "projects",
        "projects/default",
        "projects/default/issues",
        "runtime",
    ] {
        probe.expect(200, &session, "GET", &format!("/api/v1/{path}"), b"")?;
    }
    Ok(session)
}

/// The live stream with a session, as the dashboard's page opens it.
fn follow(
    mesher: &Mesher,
    probe: &mut Probe<'_>,
    session: &Who,
    status: u16,
) -> Result<Option<WebSocket>, Fault> {
    let (name, value) = session.header();
    let (got, page) = WebSocket::open(mesher.address(), "/api/v1/live", &[(name, &value)])?;
    probe.check(got == status, || {
        format!("the live stream with a session: expected {status}, got {got}")
    });
    Ok(page)
}

fn log_out(probe: &mut Probe<'_>, session: &Who) -> Result<(), Fault> {
    let answer = probe.expect(204, session, "POST", "/api/v1/logout", b"")?;
    probe.check(
        answer
            .header("set-cookie")
            .is_some_and(|cookie| cookie.contains("Max-Age=0")),
        || "log-out leaves the cookie".to_owned(),
    );
    probe.expect(401, session, "GET", "/api/v1/me", b"")?;
    let open = probe
        .expect(200, session, "GET", "/api/v1/session", b"")?
        .json()?;
    probe.check(
        open == json!({"setup_required": false, "user": null}),
        || format!("after log-out: {open}"),
    );
    probe.expect(204, session, "POST", "/api/v1/logout", b"")?;
    probe.expect(204, &Who::Nobody, "POST", "/api/v1/logout", b"")?;
    Ok(())
}

fn guess(probe: &mut Probe<'_>) -> Result<(), Fault> {
    let email = "guessed@errors.example";
    for _ in 0..ATTEMPTS_MAX {
        probe.expect(
            401,
            &Who::Nobody,
            "POST",
            "/api/v1/login",
            &login_body(email, "wrong-password"),
        )?;
    }
    let answer = probe.expect(
        429,
        &Who::Nobody,
        "POST",
        "/api/v1/login",
        &login_body(email, "wrong-password"),
    )?;
    let wait: Option<u64> = answer
        .header("retry-after")
        .and_then(|text| text.parse().ok());
    probe.check(
        wait.is_some_and(|seconds| (1..=61).contains(&seconds)),
        || format!("retry-after is {wait:?}"),
    );
    // The others are not kept waiting for it.
    probe.expect(
        200,
        &Who::Nobody,
        "POST",
        "/api/v1/login",
        &login_body(EMAIL, PASSWORD),
    )?;
    Ok(())
}
