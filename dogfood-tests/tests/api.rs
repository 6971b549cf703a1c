//! Every promise of the HTTP face, against one real server: who may ask what, what bad input gets, lists, the live stream.
//!
//! One server for all of it; every broken rule is told, not only the first.

#[path = "api/access.rs"]
mod access;
#[path = "api/ingestion.rs"]
mod ingestion;
#[path = "api/limits.rs"]
mod limits;
#[path = "api/lists.rs"]
mod lists;
#[path = "api/live.rs"]
mod live;
#[path = "api/routes.rs"]
mod routes;
#[path = "api/socket.rs"]
mod socket;

use dogfood_tests::api_probe::{Probe, Who};
use dogfood_tests::server::{Dsn, Mesher};
use dogfood_tests::wait::{self, PATIENCE};
use dogfood_tests::{Fault, http::Response};
use serde_json::{Value, json};

/// What the cases know of the server.
struct Ground {
    dsn: Dsn,
    token: String,
    setup_token: String,
}

impl Ground {
    fn key(&self) -> Who {
        Who::Bearer(self.dsn.key.clone())
    }

    fn token(&self) -> Who {
        Who::Bearer(self.token.clone())
    }
}

/// One file's cases.
type Case = fn(&Mesher, &mut Probe<'_>, &Ground) -> Result<(), Fault>;

/// Sends events over the native door and waits until each is stored.
fn store(
    mesher: &Mesher,
    probe: &Probe<'_>,
    ground: &Ground,
    events: &[Value],
) -> Result<(), Fault> {
    let count = || -> Result<usize, Fault> {
        Ok(mesher.query("SELECT count(*) FROM events")?[0][0].parse()?)
    };
    let before = count()?;
    for event in events {
        let answer = probe.ask(
            &ground.key(),
            "POST",
            "/api/v1/events",
            event.to_string().as_bytes(),
        )?;
        if answer.status != 202 {
            return Err(format!("an event was refused: {answer:?}").into());
        }
    }
    wait::until("the events to be stored", PATIENCE, || match count() {
        Ok(now) if now == before + events.len() => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    Ok(())
}

fn data(answer: &Response) -> Vec<Value> {
    let body = answer.json().unwrap_or_default();
    body["data"].as_array().cloned().unwrap_or_default()
}

#[test]
fn the_http_face_keeps_its_promises() {
    let mut mesher = Mesher::new()
        .expect("a mesher")
        .with_env("MESHER_LOG", "trace,tokio_postgres::query=trace");
    mesher.start().expect("a start");
    let link = mesher.setup_link().expect("a set-up link");
    let ground = Ground {
        dsn: mesher.dsn().expect("a DSN"),
        token: mesher.token("api").expect("a token"),
        setup_token: link.split_once("token=").expect("a token").1.to_owned(),
    };
    let mut probe = Probe::new(&mesher);
    let cases: [(&str, Case); 8] = [
        ("routes", routes::run),
        ("ingestion", ingestion::run),
        ("lists", lists::run),
        ("live", live::run),
        ("socket", socket::run),
        ("access", access::run),
        ("limits", limits::run),
        ("log", log_holds_no_secret),
    ];
    for (name, case) in cases {
        if let Err(fault) = case(&mesher, &mut probe, &ground) {
            probe.check(false, || format!("{name} stopped: {fault}"));
        }
    }
    let verdict = probe.verdict();
    let log_end = mesher.log_end();
    mesher.stop().expect("SIGTERM ends it with exit code 0");
    if let Err(broken) = verdict {
        panic!("{broken}\n{log_end}");
    }
}

/// Nothing that opens a door is in the log, however much is logged; the welcome on standard output names link and DSN on purpose.
fn log_holds_no_secret(
    mesher: &Mesher,
    probe: &mut Probe<'_>,
    ground: &Ground,
) -> Result<(), Fault> {
    let log = mesher.log()?;
    let logged: Vec<&str> = log.lines().filter(|line| line.starts_with('{')).collect();
    probe.check(logged.len() > 20, || {
        "there is no log to look at".to_owned()
    });
    probe.check(!log.contains("panicked"), || {
        "something panicked".to_owned()
    });
    let key_bytes: Vec<String> = (0..16)
        .map(|at| {
            u8::from_str_radix(&ground.dsn.key[2 * at..2 * at + 2], 16).map(|byte| byte.to_string())
        })
        .collect::<Result<_, _>>()?;
    for (what, secret) in [
        ("the DSN's key", ground.dsn.key.clone()),
        ("the DSN's key in bytes", key_bytes.join(", ")),
        ("the token", ground.token.clone()),
        ("the set-up token", ground.setup_token.clone()),
        ("the password", access::PASSWORD.to_owned()),
        ("the e-mail address", access::EMAIL.to_owned()),
        ("an event's text", ingestion::PRIVATE_TEXT.to_owned()),
    ] {
        let found = logged.iter().find(|line| line.contains(&secret));
        probe.check(found.is_none(), || {
            format!("{what} is in the log: {}", found.unwrap_or(&""))
        });
    }
    Ok(())
}

/// An exception of this type, a fixed moment ago for all, so that lists have ties.
fn event(kind: &str) -> Value {
    json!({
        "level": "error",
        "timestamp": "2026-01-01T00:00:00Z",
        "exception": {"type": kind, "value": "broken"},
    })
}
