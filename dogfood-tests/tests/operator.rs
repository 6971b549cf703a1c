//! What an operator meets: settings that are wrong, commands beside a server and without one, a database that goes away.

#[path = "operator/external.rs"]
mod external;
#[path = "operator/life.rs"]
mod life;
#[path = "operator/settings.rs"]
mod settings;
#[path = "operator/start.rs"]
mod start;
#[path = "operator/tls.rs"]
mod tls;

use std::fs;
use std::process::Command;
use std::time::Duration;

use dogfood_tests::operator::Ended;
use dogfood_tests::postgres::PASSWORD;
use dogfood_tests::server::{Dsn, Mesher};
use dogfood_tests::wait::{self, PATIENCE};
use uuid::Uuid;

/// A refusal needs no database, hence little time; the machine may be busy.
const SOON: Duration = Duration::from_secs(30);

fn refusal(command: &mut Command, says: &[&str]) {
    let ended = Ended::of(command, SOON).expect("a refusal ends");
    ended
        .refusal(says, &[PASSWORD, "hunter2"])
        .expect("a clear refusal");
}

fn answer(mesher: &Mesher, arguments: &[&str]) -> String {
    let ended = Ended::of(&mut mesher.command(arguments), PATIENCE).expect("a command ends");
    ended.answer().expect("an answer alone").to_owned()
}

/// Sends an event over the native door; its id once it is acknowledged.
fn send_event(mesher: &Mesher, dsn: &Dsn) -> Uuid {
    let authorization = format!("Bearer {}", dsn.key);
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
    ];
    let body = br#"{"level":"error","message":"the operator was here"}"#;
    let answer = mesher
        .client()
        .send("POST", "/api/v1/events", &headers, body)
        .expect("an answer");
    assert_eq!(answer.status, 202, "{answer:?}");
    let id = answer.json().expect("JSON")["id"]
        .as_str()
        .map(Uuid::parse_str);
    id.expect("an id").expect("a UUID")
}

fn wait_until_accepting(mesher: &Mesher) {
    let accepting = wait::until("a server that accepts events", PATIENCE, || {
        let answer = mesher.client().send("GET", "/readyz/events", &[], b"");
        match answer.map(|answer| answer.status) {
            Ok(200) => Ok(()),
            other => Err(format!("{other:?} {}", mesher.log_end())),
        }
    });
    accepting.expect("accepting");
}

fn wait_until_stored(mesher: &Mesher, ids: &[Uuid]) {
    wait::until(
        "every acknowledged event to be stored once",
        PATIENCE,
        || {
            let rows = mesher
                .query("SELECT id FROM events")
                .map_err(|fault| fault.to_string())?;
            let times = |id: &Uuid| rows.iter().filter(|row| row[0] == id.to_string()).count();
            let missing = ids.iter().filter(|id| times(id) != 1).count();
            if missing == 0 {
                Ok(())
            } else {
                Err(format!("{missing} of {} are not", ids.len()))
            }
        },
    )
    .expect("stored");
}

fn is_alive(process: u32) -> bool {
    // A process that has ended and was not yet collected by its parent is over, too.
    fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with('Z'))
    })
}

fn postmaster(mesher: &Mesher) -> Option<u32> {
    let file = fs::read_to_string(mesher.data_dir().join("postgres/data/postmaster.pid")).ok()?;
    file.lines().next()?.trim().parse().ok()
}

fn signal(name: &str, process: u32) {
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -{name} {process}")])
        .status();
    assert!(sent.expect("a shell").success(), "kill -{name} {process}");
}
