//! Real SDKs against a real server: an exception and a message from each are stored, grouped right, and a second copy raises the count.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use uuid::Uuid;

use crate::Fault;
use crate::server::Mesher;
use crate::verify;
use crate::wait::{self, PATIENCE};

/// What one run of a sender program sent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    platform: String,
    exception: Uuid,
    message: Uuid,
}

/// Runs each SDK twice and checks rows and API; `report` gets a line a step.
///
/// `script/test sdks` installs them into `.cache` first; `SDK_PYTHON` (an interpreter that has `sentry-sdk`), `SDK_NODE` and `SDK_RUST` (the
/// built sender) name others.
///
/// # Errors
/// When an SDK fails to send or something stored differs from what was sent.
pub fn run(mut report: impl FnMut(&str)) -> Result<(), Fault> {
    let mut mesher = Mesher::new()?;
    mesher.start()?;
    let (dsn, token) = (mesher.dsn()?, mesher.token("sdks")?);
    let mut first = Vec::new();
    for copy in 1..=2 {
        for program in programs() {
            let sent = program.send(&dsn.text)?;
            report(&format!(
                "{} sent copy {copy}: exception {}, message {}",
                sent.platform, sent.exception, sent.message
            ));
            for id in [sent.exception, sent.message] {
                let (issue, count) = wait_for_issue(&mesher, id)?;
                expect(count == copy, || {
                    format!("issue {issue} of event {id} counts {count}, not {copy}")
                })?;
            }
            if copy == 1 {
                first.push(sent);
            }
        }
    }
    let number = Some(dsn.project.parse::<u64>()?);
    let projects = mesher.api(&token, "/api/v1/projects")?;
    let project = entry(&projects, |row| row["number"].as_u64() == number)?;
    let slug = project["slug"]
        .as_str()
        .ok_or("a project without slug")?
        .to_owned();
    for sent in &first {
        check_event(&mesher, &token, &slug, sent)?;
    }
    let issues = mesher.api(
        &token,
        &format!("/api/v1/projects/{slug}/issues?status=all"),
    )?;
    let issues = issues["data"]
        .as_array()
        .ok_or("the issue list has no data")?;
    let expected = first.len() * 2;
    expect(issues.len() == expected, || {
        format!("{expected} issues expected, the API lists {}", issues.len())
    })?;
    let counted = issues.iter().all(|issue| issue["event_count"] == 2);
    expect(counted, || {
        format!("every issue counts 2 events: {issues:?}")
    })?;
    let differing = verify::counters(&mesher)?;
    expect(differing.is_empty(), || differing.join("\n"))?;
    report(&format!("{expected} issues with 2 events each"));
    mesher.stop()
}

/// The stored exception keeps what the SDK saw: platform, the exception's frames, and which of them are the application's own.
fn check_event(mesher: &Mesher, token: &str, slug: &str, sent: &Sent) -> Result<(), Fault> {
    let answer = mesher.api(
        token,
        &format!("/api/v1/projects/{slug}/events/{}", sent.exception),
    )?;
    let event = &answer["event"];
    expect(event["platform"] == sent.platform.as_str(), || {
        format!("platform {} of {}", event["platform"], sent.platform)
    })?;
    let exceptions = event["exception"]["values"]
        .as_array()
        .or(event["exception"].as_array());
    let last = exceptions
        .and_then(|values| values.last())
        .ok_or("the stored event has no exception")?;
    let frames = last["stacktrace"]["frames"]
        .as_array()
        .ok_or("the stored exception has no frames")?;
    let own = frames.iter().any(|frame| frame["in_app"] == true);
    expect(own, || {
        format!(
            "no frame of the application among {} of {}",
            frames.len(),
            sent.platform
        )
    })
}

/// The issue of a stored event and the number of events it counts, once both are in the database.
fn wait_for_issue(mesher: &Mesher, id: Uuid) -> Result<(String, u64), Fault> {
    let sql = format!(
        "SELECT i.id, i.event_count, (SELECT count(*) FROM events WHERE id = '{id}')
         FROM events e JOIN issues i ON i.id = e.issue_id WHERE e.id = '{id}'"
    );
    let row = wait::until(&format!("event {id} to be stored"), PATIENCE, || {
        let mut rows = mesher.query(&sql).map_err(|fault| fault.to_string())?;
        rows.pop()
            .ok_or_else(|| format!("no such row\n{}", mesher.log_end()))
    })?;
    expect(row[2] == "1", || {
        format!("event {id} is stored {} times", row[2])
    })?;
    Ok((row[0].clone(), row[1].parse()?))
}

struct Program {
    interpreter: PathBuf,
    script: Option<PathBuf>,
}

impl Program {
    fn send(&self, dsn: &str) -> Result<Sent, Fault> {
        let name = self.interpreter.display();
        let mut command = Command::new(&self.interpreter);
        command
            .args(&self.script)
            .env("SENTRY_DSN", dsn)
            .stdin(Stdio::null());
        let output = command
            .output()
            .map_err(|error| format!("{name}: {error}"))?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            return Err(format!(
                "{name} {:?} ended with {}: {error}",
                self.script, output.status
            )
            .into());
        }
        sent(&serde_json::from_slice(&output.stdout)?)
    }
}

fn programs() -> [Program; 3] {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cache = package.join("../.cache");
    let interpreter =
        |name: &str, otherwise: PathBuf| env::var_os(name).map_or(otherwise, PathBuf::from);
    [
        Program {
            interpreter: interpreter("SDK_PYTHON", cache.join("sdk-python/bin/python")),
            script: Some(package.join("sdk/python/send.py")),
        },
        Program {
            interpreter: interpreter("SDK_NODE", "node".into()),
            script: Some(package.join("sdk/node/send.mjs")),
        },
        Program {
            interpreter: interpreter("SDK_RUST", cache.join("sdk-rust/debug/mesher-dogfood-rust")),
            script: None,
        },
    ]
}

fn sent(printed: &Value) -> Result<Sent, Fault> {
    let text = |field: &str| {
        printed[field]
            .as_str()
            .ok_or_else(|| format!("no {field} in {printed}"))
    };
    Ok(Sent {
        platform: text("platform")?.to_owned(),
        exception: Uuid::parse_str(text("exception")?)?,
        message: Uuid::parse_str(text("message")?)?,
    })
}

fn entry(list: &Value, wanted: impl Fn(&Value) -> bool) -> Result<&Value, Fault> {
    let rows = list["data"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    rows.iter()
        .find(|row| wanted(row))
        .ok_or_else(|| format!("not in the list: {list}").into())
}

fn expect(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Fault> {
    if holds {
        Ok(())
    } else {
        Err(otherwise().into())
    }
}

#[cfg(test)]
mod tests {
    use super::sent;
    use serde_json::json;

    #[test]
    fn reads_what_a_program_printed() {
        let id = "0123456789abcdef0123456789abcdef";
        let printed = json!({"platform": "python", "exception": id, "message": id});
        assert_eq!(sent(&printed).unwrap().exception.simple().to_string(), id);
        assert!(sent(&json!({"platform": "python", "exception": null, "message": id})).is_err());
    }
}
