//! `mesher load`: as many events as a server takes, or as many as are wanted, then a table, and a look whether any was lost.

mod tally;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mesh_runtime::{Context, System};
use serde_json::{Value, json};
use tokio_postgres::Client as Database;
use uuid::Uuid;

use self::tally::Tally;
use super::client::Client;
use super::connect::{self, Session};
use super::send_event::Target;
use super::{Failure, answer, commands};
use crate::config::Config;
use crate::config::entropy::random_uuid;
use crate::domain::ProjectNumber;
use crate::protocol::dsn::Dsn;
use crate::storage::events;

/// The event of a Flask application with 20 frames: 22.7 KB, as its SDK sends it.
const STANDARD: &str = include_str!("../../tests/samples/python-flask-20-frames.json");

/// Native events of one bulk.
const BULK_LEN: usize = 100;

/// How long a sender that was refused or cut off waits before it goes on.
const PAUSE: Duration = Duration::from_millis(50);

/// How often a second it is looked whether all senders are done.
const LOOKS_PER_LINE: u32 = 20;

/// How long the database may take for what the spool holds when the last event is sent.
const DRAIN: Duration = Duration::from_secs(120);

/// How long until it is looked again whether the newest event is stored. Each look has the database make a plan, beside the storing.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// What to send, and how fast.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Load {
    /// Where to; without it, the default project of the server that runs here
    #[arg(long, value_name = "DSN")]
    dsn: Option<Dsn>,
    /// Connections, each waiting for its answer
    #[arg(long, default_value_t = 32, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// How long, in seconds
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    duration: u64,
    /// Events a second over all connections (open loop); without it, as fast as answers come (closed loop)
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// How many issues the events fall into; of the standard event, each has a line of its own in the innermost frame, and each event its
    /// own value in a variable of each frame
    #[arg(long, default_value_t = 100, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    groups: u64,
    /// Native events of about 1 KB in bulks of 100, in place of the standard event of 22.7 KB in an envelope
    #[arg(long)]
    native: bool,
    /// Compress with gzip, as SDKs do
    #[arg(long)]
    gzip: bool,
}

pub(super) fn run(config: &Config, load: &Load) -> Result<ExitCode, Failure> {
    connect::runtime()?.block_on(async {
        let system = commands::system();
        let dsn = match &load.dsn {
            Some(dsn) => dsn.clone(),
            None => commands::own_dsn(&system, config).await?,
        };
        let target = Target::of(&dsn)?;
        let tally = Arc::new(Tally::default());
        let start = system.clock().now();
        let shared = Arc::new(Shared {
            load: load.clone(),
            target,
            authority: dsn.authority.clone(),
            tally: tally.clone(),
            turn: AtomicU64::new(0),
            start,
            frames: native_frames(),
            parts: Parts::of_standard(),
        });
        for _ in 0..load.connections {
            let (shared, system) = (shared.clone(), system.clone());
            tally.begin();
            system.clone().spawn(move |_: Context<()>| async move {
                shared.send(&system).await;
                shared.tally.end();
            });
        }
        watch(&system, &tally, start).await;
        let span = system.clock().now().saturating_sub(start);
        // Only where the database is ours to ask can it be known that nothing is lost.
        let lost = match load.dsn {
            Some(_) => None,
            None => Some(missing(&system, config, dsn.project_number, &tally).await?),
        };
        answer(&table(&tally, span, lost.as_ref()))?;
        let is_well = lost.is_none_or(|stored| stored.missing == 0) && tally.accepted() > 0;
        Ok(if is_well {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    })
}

struct Shared {
    load: Load,
    target: Target,
    authority: String,
    tally: Arc<Tally>,
    turn: AtomicU64,
    start: Duration,
    /// See [`native_frames`].
    frames: String,
    parts: Parts,
}

impl Shared {
    /// One connection's work, until the time is over.
    async fn send(&self, system: &System) {
        let mut client = Client::new(system, &self.authority);
        let len = if self.load.native { BULK_LEN as u64 } else { 1 };
        let path = if self.load.native {
            &self.target.native
        } else {
            &self.target.envelope
        };
        let mut headers = self.target.headers.clone();
        if self.load.gzip {
            headers.push_str("content-encoding: gzip\r\n");
        }
        let end = self.start + Duration::from_secs(self.load.duration);
        loop {
            let turn = self.turn.fetch_add(len, Ordering::Relaxed);
            if let Some(rate) = self.load.rate {
                let due = self.start + Duration::from_micros(turn.saturating_mul(1_000_000) / rate);
                if due >= end {
                    return;
                }
                let wait = due.saturating_sub(system.clock().now());
                if !wait.is_zero() {
                    system.sleep(wait).await;
                }
            }
            if system.clock().now() >= end {
                return;
            }
            let ids: Vec<Uuid> = (0..len).map(|_| random_uuid(system.entropy())).collect();
            let body = self.body(turn, &ids);
            let asked = system.clock().now();
            match client.post(path, &headers, &body).await {
                Ok(answer) if matches!(answer.status, 200 | 202) => {
                    let waited = system.clock().now().saturating_sub(asked);
                    self.tally.accept(accepted(&answer.body, ids), waited);
                }
                Ok(answer) => {
                    self.tally.refuse(answer.status, len);
                    system.sleep(PAUSE).await;
                }
                Err(_) => {
                    self.tally.fail(len);
                    system.sleep(PAUSE).await;
                }
            }
        }
    }

    fn body(&self, turn: u64, ids: &[Uuid]) -> Vec<u8> {
        let group = |at: u64| (turn + at) % self.load.groups;
        let body = if self.load.native {
            let mut lines = String::new();
            for (at, id) in (0..).zip(ids) {
                native(&mut lines, &self.frames, *id, group(at));
                lines.push('\n');
            }
            lines
        } else {
            self.parts.envelope(ids[0], group(0))
        };
        if !self.load.gzip {
            return body.into_bytes();
        }
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder
            .write_all(body.as_bytes())
            .and_then(|()| encoder.finish())
            .expect("a vector takes every byte")
    }
}

/// Of a bulk, the events that were taken; of an envelope, its one.
fn accepted(answer: &[u8], ids: Vec<Uuid>) -> Vec<Uuid> {
    if ids.len() == 1 {
        return ids;
    }
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let results = answer["results"].as_array().cloned().unwrap_or_default();
    ids.into_iter()
        .zip(results)
        .filter(|(_, result)| result.get("id").is_some())
        .map(|(id, _)| id)
        .collect()
}

/// What stands in the standard event around what each event has of its own.
struct Parts {
    /// From behind the opening brace up to the number of the innermost frame's line.
    before_line: Vec<&'static str>,
    /// From behind that number to the end.
    behind_line: Vec<&'static str>,
}

impl Parts {
    fn of_standard() -> Parts {
        const LINE: &str = "\"lineno\": ";
        let split = || {
            let event = STANDARD.trim().strip_prefix('{')?;
            let (before, behind) = event.split_at(event.rfind(LINE)? + LINE.len());
            let behind = behind.trim_start_matches(|c: char| c.is_ascii_digit());
            Some(Parts {
                before_line: Parts::at_variables(before),
                behind_line: Parts::at_variables(behind),
            })
        };
        split().expect("the standard event's innermost frame has a line")
    }

    /// A text cut where variables begin.
    fn at_variables(text: &'static str) -> Vec<&'static str> {
        const VARIABLES: &str = "\"vars\": {\"";
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(VARIABLES) {
            let (piece, behind) = rest.split_at(at + VARIABLES.len() - 1);
            pieces.push(piece);
            rest = behind;
        }
        pieces.push(rest);
        pieces
    }

    /// The standard event with an id and an issue of its own. No two real events are alike: of each frame that has variables one has a
    /// value that is never the same again, and the innermost frame's line is the issue's, so that a server gains no more than in real life
    /// by what it saw before.
    fn envelope(&self, id: Uuid, group: u64) -> String {
        let mut text = String::with_capacity(STANDARD.len() + 2048);
        let mut values = Values(id.as_u128());
        let mut written = write!(
            text,
            "{{\"event_id\":\"{}\"}}\n{{\"type\":\"event\"}}\n{{\"fingerprint\":[\"load-{group}\"],",
            id.simple()
        );
        for (line, pieces) in [
            (None, &self.before_line),
            (Some(group + 1), &self.behind_line),
        ] {
            if let Some(line) = line {
                written = written.and_then(|()| write!(text, "{line}"));
            }
            for (nth, piece) in pieces.iter().enumerate() {
                if nth > 0 {
                    let value = values.next().simple();
                    written = written.and_then(|()| write!(text, "\"load\": \"{value}\", "));
                }
                text.push_str(piece);
            }
        }
        written.expect("a string takes every text");
        text.push('\n');
        text
    }
}

/// Values that are never the same again, from an event's id: by the cheapest mix that leaves nothing to guess for a compressor.
struct Values(u128);

impl Values {
    fn next(&mut self) -> Uuid {
        const ODD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
        self.0 = self.0.wrapping_add(ODD).wrapping_mul(ODD);
        self.0 ^= self.0 >> 67;
        Uuid::from_u128(self.0)
    }
}

/// The frames of a native event, as JSON: the same in each, and most of it.
fn native_frames() -> String {
    let frame = |depth| {
        json!({ "function": format!("step_{depth}"), "module": "shop.checkout", "filename": "shop/checkout.py",
            "lineno": 40 + depth, "in_app": true, "context_line": "    return step(order, total)" })
    };
    Value::from_iter((0..6).map(frame)).to_string()
}

/// Adds a native event of about 1 KB to `out`. Written by hand: the sender shares the machine with the server it measures.
fn native(out: &mut String, frames: &str, id: Uuid, group: u64) {
    write!(
        out,
        r#"{{"environment":"load","event_id":"{}","exception":{{"stacktrace":{{"frames":{frames}}},"type":"LoadError{group}","value":"card declined"}},"level":"error","message":"order {id} could not be paid","release":"shop@1.2.3","tags":{{"group":"{group}","region":"eu-1"}}}}"#,
        id.simple(),
    )
    .expect("a string takes every text");
}

/// A line a second on standard error, until all senders are done.
async fn watch(system: &System, tally: &Tally, start: Duration) {
    let mut before = 0;
    loop {
        // Looked at more often than told, so that the end is not noticed a second late.
        for _ in 0..LOOKS_PER_LINE {
            system.sleep(Duration::from_secs(1) / LOOKS_PER_LINE).await;
            if tally.is_done() {
                break;
            }
        }
        let now = tally.accepted();
        let second = system.clock().now().saturating_sub(start).as_secs();
        // Whoever watches may have left.
        let _ = writeln!(
            io::stderr(),
            "{second:>4} s   {:>8} accepted   {:>8} refused   {:>6} failed",
            now - before,
            tally.refused(),
            tally.failed()
        );
        before = now;
        if tally.is_done() {
            return;
        }
    }
}

/// What the database holds of what was acknowledged.
#[derive(Clone, Copy)]
struct Stored {
    missing: usize,
    /// From the last event sent to the last one found.
    drained_after: Duration,
}

/// Waits until everything acknowledged is stored, or the time for it is over.
///
/// Until the newest is stored only that one is looked for: a look at all of them, again and again, would cost the database more than
/// the storing it waits for.
async fn missing(
    system: &System,
    config: &Config,
    project: ProjectNumber,
    tally: &Tally,
) -> Result<Stored, Failure> {
    let start = system.clock().now();
    let session = Session::open(system, config).await?;
    // The partition that is being filled has no statistics: whoever asks for one event would read all of it.
    let asked = session.client.batch_execute("SET enable_seqscan = off");
    asked.await.map_err(Failure::new)?;
    let mut open = tally.ids();
    open.reverse();
    loop {
        let drained_after = system.clock().now().saturating_sub(start);
        let is_over = drained_after > DRAIN;
        let newest = open.first().into_iter().copied().collect();
        if is_over
            || not_stored(&session.client, project, newest)
                .await?
                .is_empty()
        {
            open = not_stored(&session.client, project, open).await?;
            if is_over || open.is_empty() {
                session.close(system).await?;
                return Ok(Stored {
                    missing: open.len(),
                    drained_after,
                });
            }
        }
        system.sleep(LOOK_PAUSE).await;
    }
}

async fn not_stored(
    client: &Database,
    project: ProjectNumber,
    ids: Vec<Uuid>,
) -> Result<Vec<Uuid>, Failure> {
    const STEP: usize = 10_000;
    let mut open = Vec::new();
    for step in ids.chunks(STEP) {
        let found = events::known(client, project, step)
            .await
            .map_err(Failure::new)?;
        open.extend(step.iter().filter(|id| !found.contains(id)));
    }
    Ok(open)
}

fn table(tally: &Tally, span: Duration, stored: Option<&Stored>) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        writeln!(text, "{name:<16} {value}").expect("a string takes every text");
    };
    let seconds = span.as_secs_f64().max(f64::EPSILON);
    let accepted = tally.accepted();
    line("accepted", format!("{accepted} events"));
    line("accepted/s", format!("{:.0}", accepted as f64 / seconds));
    for (status, count) in tally.refusals() {
        let advice = if status == 429 {
            "; the key has a limit of rate: MESHER_RATE_LIMIT=0 is none"
        } else {
            ""
        };
        line(
            "refused",
            format!("{count} events, status {status}{advice}"),
        );
    }
    if tally.failed() > 0 {
        line("no answer", format!("{} events", tally.failed()));
    }
    for (name, per_mille) in [("p50", 500), ("p90", 900), ("p99", 990), ("max", 1000)] {
        line(name, format!("{:.1} ms", tally.wait_ms(per_mille)));
    }
    if let Some(stored) = stored {
        let total = seconds + stored.drained_after.as_secs_f64();
        let held = accepted - stored.missing as u64;
        line("stored/s", format!("{:.0}", held as f64 / total));
        line("lost", format!("{} events", stored.missing));
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Parts, accepted, native, native_frames};
    use serde_json::{Value, json};
    use std::collections::HashSet;
    use uuid::Uuid;

    #[test]
    fn bodies_are_what_the_server_reads() {
        let id = Uuid::from_u128(7);
        let parts = Parts::of_standard();
        let text = parts.envelope(id, 3);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        let event: Value = serde_json::from_str(lines[2]).unwrap();
        assert_eq!(event["fingerprint"], json!(["load-3"]));
        let frames = event.pointer("/exception/values/0/stacktrace/frames");
        let frames = frames.and_then(Value::as_array).unwrap();
        assert_eq!(frames[19]["lineno"], 4);
        let values: HashSet<&str> = frames
            .iter()
            .filter_map(|frame| frame["vars"]["load"].as_str())
            .collect();
        assert_eq!((frames.len(), values.len()), (20, 20));
        let other = parts.envelope(Uuid::from_u128(8), 3);
        assert!(values.iter().all(|value| !other.contains(value)));
        let mut text = String::new();
        native(&mut text, &native_frames(), id, 3);
        let event: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(event["event_id"], id.simple().to_string());
        assert_eq!(event["exception"]["type"], "LoadError3");
        let frames = event["exception"]["stacktrace"]["frames"].as_array();
        assert_eq!(frames.map(Vec::len), Some(6));
        assert!((700..1500).contains(&text.len()));
    }

    #[test]
    fn of_a_bulk_only_what_was_taken_counts() {
        let ids = [1, 2, 3].map(Uuid::from_u128).to_vec();
        let answer =
            json!({ "results": [{ "id": "x" }, { "error": {} }, { "id": "y" }] }).to_string();
        assert_eq!(accepted(answer.as_bytes(), ids.clone()), [ids[0], ids[2]]);
        assert!(accepted(b"", ids).is_empty());
    }
}
