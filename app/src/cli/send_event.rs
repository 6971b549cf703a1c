//! `mesher send-event`: one event the way an SDK sends it, to see that everything between here and the database works.

use mesh_runtime::System;
use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::{Failure, answer, commands, connect};
use crate::config::Config;
use crate::config::entropy::random_uuid;
use crate::protocol::dsn::Dsn;

/// What to send.
#[derive(Debug, clap::Args)]
pub(super) struct SendEvent {
    /// What it says
    #[arg(default_value = "hello from mesher send-event", value_name = "MESSAGE")]
    message: String,
    /// Where to; without it, the default project of the server that runs here
    #[arg(long, value_name = "DSN")]
    dsn: Option<Dsn>,
    /// debug, info, warning, error or fatal
    #[arg(long, default_value = "error", value_name = "LEVEL")]
    level: String,
}

pub(super) fn run(config: &Config, wanted: &SendEvent) -> Result<(), Failure> {
    connect::runtime()?.block_on(async {
        let system = commands::system();
        let dsn = match &wanted.dsn {
            Some(dsn) => dsn.clone(),
            None => commands::own_dsn(&system, config).await?,
        };
        let id = send(&system, &dsn, wanted).await?;
        answer(&id)
    })
}

async fn send(system: &System, dsn: &Dsn, wanted: &SendEvent) -> Result<String, Failure> {
    let target = Target::of(dsn)?;
    let id = random_uuid(system.entropy()).simple();
    let header = json!({ "event_id": id.to_string(), "dsn": dsn.to_string() });
    let event = json!({
        "event_id": id.to_string(),
        "message": wanted.message,
        "level": wanted.level,
        "platform": "other",
        "sdk": { "name": "mesher.cli", "version": env!("CARGO_PKG_VERSION") },
    });
    let envelope = format!("{header}\n{{\"type\":\"event\"}}\n{event}\n");
    let mut client = Client::new(system, &dsn.authority);
    let answer = client
        .post(&target.envelope, &target.headers, envelope.as_bytes())
        .await
        .map_err(|error| {
            Failure::new(format!(
                "cannot send to {}: {error}; is mesher running there?",
                dsn.authority
            ))
        })?;
    if answer.status == 200 {
        return Ok(id.to_string());
    }
    Err(Failure::new(refused(&answer)))
}

/// Why an event was refused, in a line that says what to do.
pub(super) fn refused(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let said = body["error"]["message"]
        .as_str()
        .unwrap_or("no reason given");
    let advice = match answer.status {
        401 | 403 => "; mesher dsn prints a DSN that is valid",
        429 => "; wait, or raise the key's limit (MESHER_RATE_LIMIT=0 is none)",
        _ => "",
    };
    format!(
        "the event was refused with status {}: {said}{advice}",
        answer.status
    )
}

/// The parts of every request to one project.
pub(super) struct Target {
    pub(super) envelope: String,
    pub(super) native: String,
    /// Whole header lines.
    pub(super) headers: String,
}

impl Target {
    pub(super) fn of(dsn: &Dsn) -> Result<Target, Failure> {
        if dsn.scheme != "http" {
            return Err(Failure::new(
                "this command speaks plain HTTP only: use the server's own address, behind the proxy",
            ));
        }
        let key = dsn.public_key;
        Ok(Target {
            envelope: format!("{}/api/{}/envelope/", dsn.path, dsn.project_number),
            native: format!("{}/api/v1/events/bulk", dsn.path),
            headers: format!(
                "x-sentry-auth: Sentry sentry_version=7, sentry_client=mesher-cli/{}, sentry_key={key}\r\n\
                 user-agent: mesher-cli\r\n",
                env!("CARGO_PKG_VERSION")
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Target, refused};

    #[test]
    fn a_dsn_becomes_paths_and_only_plain_ones() {
        let dsn = |scheme: &str| {
            let key = "a94ae32be2584e0bbd7a4cbb95971fee";
            format!("{scheme}://{key}@localhost:9000/base/7")
                .parse()
                .unwrap()
        };
        let target = Target::of(&dsn("http")).unwrap();
        assert_eq!(target.envelope, "/base/api/7/envelope/");
        assert!(target.headers.ends_with("\r\n"));
        assert!(Target::of(&dsn("https")).is_err());
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let answer = |status, body: &str| Answer {
            status,
            body: body.as_bytes().to_vec(),
        };
        let body = r#"{"error":{"message":"unknown or revoked key"}}"#;
        assert_eq!(
            refused(&answer(403, body)),
            "the event was refused with status 403: unknown or revoked key; mesher dsn prints a DSN that is valid"
        );
        assert!(refused(&answer(500, "")).contains("no reason given"));
    }
}
