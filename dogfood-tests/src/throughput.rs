//! Measures the way of a real event: how many the door acknowledges and the database holds a second, and how long an answer takes.
//!
//! Client and server share the machine, so the figures are a floor; they compare builds, not machines.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::Fault;
use crate::http::Client;
use crate::seed::Seed;
use crate::server::{Dsn, Mesher};
use crate::wait;

/// How often the stored events are counted.
const LOOK: Duration = Duration::from_millis(100);

/// How long the database may take for what the spool still holds when the load has ended.
const DRAIN: Duration = Duration::from_secs(600);

/// How much, how fast, and what.
#[derive(Clone, Debug)]
pub struct Load {
    /// Events to send.
    pub count: u64,
    /// Connections, each with a thread that waits for its answer.
    pub connections: u64,
    /// Events a second over all of them; `None`: as fast as answers come.
    pub rate_per_second: Option<u64>,
    /// A file with one event as an SDK sends it, in JSON.
    pub event: PathBuf,
}

impl Default for Load {
    fn default() -> Self {
        let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../app/tests/samples");
        Self {
            count: 20_000,
            connections: 32,
            rate_per_second: None,
            event: PathBuf::from(samples).join("python-flask-20-frames.json"),
        }
    }
}

impl Load {
    /// Reads `--count N`, `--connections N`, `--rate N` and `--event FILE`; `None` if a word is none of these.
    #[must_use]
    pub fn parse(words: &[&str]) -> Option<Self> {
        let mut load = Self::default();
        let (pairs, rest) = words.as_chunks::<2>();
        for [name, value] in pairs {
            let number = value.parse().ok().filter(|number| *number > 0);
            match *name {
                "--count" => load.count = number?,
                "--connections" => load.connections = number?,
                "--rate" => load.rate_per_second = Some(number?),
                "--event" => load.event = PathBuf::from(value),
                _ => return None,
            }
        }
        rest.is_empty().then_some(load)
    }
}

/// The answers of one second, or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Answers {
    /// How long each acknowledged event waited.
    acknowledged: Vec<Duration>,
    /// Everything that was not acknowledged.
    refused: u64,
}

impl Answers {
    fn join(&mut self, other: &Answers) {
        self.acknowledged.extend_from_slice(&other.acknowledged);
        self.refused += other.refused;
    }

    /// The wait that `percent` of the acknowledged did not exceed, in milliseconds.
    fn percentile_ms(&self, percent: usize) -> f64 {
        let mut waits = self.acknowledged.clone();
        waits.sort_unstable();
        let rank = (waits.len() * percent).div_ceil(100).max(1) - 1;
        waits.get(rank).map_or(0.0, |wait| wait.as_secs_f64() * 1e3)
    }
}

/// Starts a server of its own, sends, waits until all is stored, and tells a table.
///
/// # Errors
/// When the server does not start, or stores another number of events than it acknowledged.
pub fn run(load: &Load, mut tell: impl FnMut(&str)) -> Result<(), Fault> {
    let event = fs::read(&load.event)
        .map_err(|error| format!("cannot read {}: {error}", load.event.display()))?;
    let mut mesher = Mesher::new()?.with_env("MESHER_LOG", "warn");
    mesher.start()?;
    let (dsn, token) = (mesher.dsn()?, mesher.token("load")?);
    let rate = load
        .rate_per_second
        .map_or("as fast as answers come".to_owned(), |rate| {
            format!("{rate} a second")
        });
    tell(&format!(
        "{} events of {} bytes over {} connections, {rate}",
        load.count,
        event.len(),
        load.connections
    ));
    let sending = AtomicBool::new(true);
    let start = Instant::now();
    let (seconds, stored) = thread::scope(|scope| {
        let counter = scope.spawn(|| count_stored(&mesher, &token, start, &sending));
        let seconds = send(mesher.address(), &dsn, load, &event, start);
        sending.store(false, Ordering::Relaxed);
        (seconds, counter.join())
    });
    let sent_for = start.elapsed();
    let stored = stored.map_err(|_| "the counting of stored events panicked")?;
    report(&seconds, &stored?, sent_for, &mut tell)?;
    mesher.stop()
}

/// Sends all events; the answers of each second since `start`.
fn send(address: SocketAddr, dsn: &Dsn, load: &Load, event: &[u8], start: Instant) -> Vec<Answers> {
    let next = AtomicU64::new(0);
    let path = format!("/api/{}/envelope/", dsn.project);
    let auth = format!("Sentry sentry_version=7, sentry_key={}", dsn.key);
    let headers = [
        ("x-sentry-auth", auth.as_str()),
        ("content-type", "application/x-sentry-envelope"),
    ];
    let mut seed = Seed::from_env();
    let senders = |mut seed: Seed| {
        let (next, path, headers) = (&next, &path, &headers);
        move || {
            let mut client = Client::new(address);
            let mut seconds: Vec<Answers> = Vec::new();
            loop {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                if turn >= load.count {
                    return seconds;
                }
                if let Some(rate) = load.rate_per_second {
                    let due = start + Duration::from_secs_f64(turn as f64 / rate as f64);
                    wait::pause(due.saturating_duration_since(Instant::now()));
                }
                let body = envelope(seed.next_u64(), seed.next_u64(), event);
                let asked = Instant::now();
                let answer = client.send("POST", path, headers, &body);
                let second =
                    usize::try_from(start.elapsed().as_secs()).expect("a load ends within years");
                if seconds.len() <= second {
                    seconds.resize(second + 1, Answers::default());
                }
                match answer {
                    Ok(answer) if answer.status == 200 => {
                        seconds[second].acknowledged.push(asked.elapsed());
                    }
                    _ => seconds[second].refused += 1,
                }
            }
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..load.connections)
            .map(|_| scope.spawn(senders(seed.split())))
            .collect();
        let mut all: Vec<Answers> = Vec::new();
        for thread in threads {
            let seconds = thread.join().expect("a sender has nothing to panic about");
            all.resize(all.len().max(seconds.len()), Answers::default());
            for (sum, second) in all.iter_mut().zip(&seconds) {
                sum.join(second);
            }
        }
        all
    })
}

/// An envelope around the event, whose id in the header wins over the event's own.
fn envelope(high: u64, low: u64, event: &[u8]) -> Vec<u8> {
    let id = Uuid::from_u64_pair(high, low).simple();
    let mut body = format!(
        "{{\"event_id\":\"{id}\"}}\n{{\"type\":\"event\",\"length\":{}}}\n",
        event.len()
    )
    .into_bytes();
    body.extend_from_slice(event);
    body.push(b'\n');
    body
}

/// Counts what is stored until nothing is sent any more and nothing more comes: pairs of a time and a count.
fn count_stored(
    mesher: &Mesher,
    token: &str,
    start: Instant,
    sending: &AtomicBool,
) -> Result<Vec<(Duration, u64)>, Fault> {
    let mut counts = vec![(Duration::ZERO, 0)];
    let mut quiet_since = Instant::now();
    while sending.load(Ordering::Relaxed) || quiet_since.elapsed() < Duration::from_secs(2) {
        let project = mesher.api(token, "/api/v1/projects/default")?;
        let count = project["event_count"].as_u64().unwrap_or(0);
        if counts.last().is_some_and(|(_, last)| *last != count) {
            counts.push((start.elapsed(), count));
            quiet_since = Instant::now();
        }
        if start.elapsed() > DRAIN {
            return Err("the database has not caught up".into());
        }
        wait::pause(LOOK);
    }
    Ok(counts)
}

fn report(
    seconds: &[Answers],
    stored: &[(Duration, u64)],
    sent_for: Duration,
    tell: &mut impl FnMut(&str),
) -> Result<(), Fault> {
    tell("second   accepted/s   refused/s   stored/s   p50 ms   p99 ms");
    let stored_by = |second: usize| {
        let until = Duration::from_secs(second as u64);
        let before = stored.iter().take_while(|(at, _)| *at <= until);
        before.last().map_or(0, |(_, count)| *count)
    };
    let mut all = Answers::default();
    let (end, total) = stored.last().copied().unwrap_or_default();
    let drained = usize::try_from(end.as_secs())? + 1;
    for second in 0..seconds.len().max(drained) {
        let answers = seconds.get(second).cloned().unwrap_or_default();
        tell(&row(
            &second.to_string(),
            answers.acknowledged.len() as f64,
            answers.refused as f64,
            (stored_by(second + 1) - stored_by(second)) as f64,
            &answers,
        ));
        all.join(&answers);
    }
    let span = sent_for.min(Duration::from_secs(seconds.len() as u64));
    tell(&row(
        "all",
        all.acknowledged.len() as f64 / span.as_secs_f64(),
        all.refused as f64 / span.as_secs_f64(),
        total as f64 / end.as_secs_f64().max(f64::EPSILON),
        &all,
    ));
    if total == all.acknowledged.len() as u64 {
        Ok(())
    } else {
        let acknowledged = all.acknowledged.len();
        Err(format!("{acknowledged} events were acknowledged and {total} are stored").into())
    }
}

fn row(name: &str, accepted: f64, refused: f64, stored: f64, answers: &Answers) -> String {
    let (p50, p99) = (answers.percentile_ms(50), answers.percentile_ms(99));
    format!(
        "{name:>6}   {accepted:>10.0}   {refused:>9.0}   {stored:>8.0}   {p50:>6.2}   {p99:>6.2}"
    )
}

#[cfg(test)]
mod tests {
    use super::{Answers, Load, report};
    use std::time::Duration;

    #[test]
    fn words_become_a_load_and_others_do_not() {
        let load = Load::parse(&["--rate", "200", "--count", "7"]).unwrap();
        assert_eq!((load.rate_per_second, load.count), (Some(200), 7));
        for words in [
            &["--rate"][..],
            &["--rate", "0"],
            &["--count", "x"],
            &["--speed", "9"],
        ] {
            assert!(Load::parse(words).is_none(), "{words:?}");
        }
    }

    #[test]
    fn percentiles_are_waits_that_were_measured() {
        let answers = Answers {
            acknowledged: (1..=200).rev().map(Duration::from_millis).collect(),
            refused: 0,
        };
        assert_eq!(answers.percentile_ms(50), 100.0);
        assert_eq!(answers.percentile_ms(99), 198.0);
        assert_eq!(Answers::default().percentile_ms(99), 0.0);
    }

    #[test]
    fn a_table_tells_each_second_and_misses_nothing() {
        let second = Answers {
            acknowledged: vec![Duration::from_millis(2); 30],
            refused: 1,
        };
        let seconds = [second.clone(), second];
        let stored = [
            (Duration::ZERO, 0),
            (Duration::from_millis(900), 20),
            (Duration::from_millis(2500), 60),
        ];
        let mut lines = Vec::new();
        let mut tell = |line: &str| lines.push(line.to_owned());
        report(&seconds, &stored, Duration::from_secs(2), &mut tell).unwrap();
        assert_eq!(lines.len(), 5);
        assert!(
            lines[4]
                .split_whitespace()
                .eq(["all", "30", "1", "24", "2.00", "2.00"]),
            "{lines:?}"
        );
        let missing = report(&seconds, &stored[..2], Duration::from_secs(2), &mut |_| ());
        assert!(missing.is_err());
    }
}
