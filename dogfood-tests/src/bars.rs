//! The bars of ingestion, measured one after the other on a server of its own, each with its verdict.
//!
//! Server, PostgreSQL and sender share the machine. The sender is `mesher load`, which costs less of it than a thread a connection.

mod host;

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use self::host::Host;
use crate::http::Client;
use crate::server::{Dsn, Mesher};
use crate::wait;
use crate::yardsticks;
use crate::{Fault, load};

/// How long each part takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spans {
    /// Sending standard events as fast as answers come, in seconds; the other parts take half of it.
    pub seconds: u64,
}

impl Default for Spans {
    fn default() -> Self {
        Self { seconds: 60 }
    }
}

impl Spans {
    /// Reads `--seconds N`; `None` if a word is something else.
    #[must_use]
    pub fn parse(words: &[&str]) -> Option<Self> {
        match words {
            [] => Some(Self::default()),
            ["--seconds", seconds] => {
                let seconds = seconds.parse().ok().filter(|seconds| *seconds > 0)?;
                Some(Self { seconds })
            }
            _ => None,
        }
    }
}

/// One bar, and how high we came.
#[derive(Clone, Debug)]
struct Bar {
    name: &'static str,
    figure: f64,
    unit: &'static str,
    limit: f64,
    /// Whether the figure must reach the limit, and not stay below it.
    is_floor: bool,
}

impl Bar {
    fn at_least(name: &'static str, figure: f64, unit: &'static str, limit: f64) -> Bar {
        Bar {
            name,
            figure,
            unit,
            limit,
            is_floor: true,
        }
    }

    fn at_most(name: &'static str, figure: f64, unit: &'static str, limit: f64) -> Bar {
        Bar {
            name,
            figure,
            unit,
            limit,
            is_floor: false,
        }
    }

    fn holds(&self) -> bool {
        if self.is_floor {
            self.figure >= self.limit
        } else {
            self.figure <= self.limit
        }
    }

    fn line(&self) -> String {
        let sign = if self.is_floor { "≥" } else { "≤" };
        let digits = if self.limit < 100.0 { 2 } else { 0 };
        format!(
            "{:<44} {:>9.digits$} {:<8} {sign} {:<6} {}",
            self.name,
            self.figure,
            self.unit,
            self.limit,
            if self.holds() { "holds" } else { "MISSED" }
        )
    }
}

/// Measures every bar and prints its line.
///
/// # Errors
/// When the server does not start or stop, or an acknowledged event was lost. A bar that is missed is no error: how high one comes
/// depends on the machine.
pub fn run(spans: Spans, mut tell: impl FnMut(&str)) -> Result<(), Fault> {
    let mut mesher = Mesher::new()?.with_env("MESHER_LOG", "warn");
    mesher.start()?;
    let dsn = mesher.dsn()?;
    wait::pause(Duration::from_secs(2));
    let idle_mib = memory_mib(&mesher, "VmRSS")?;
    let yardsticks = yardsticks::measure()?;
    tell(&format!(
        "standard events as fast as answers come, for {} s",
        spans.seconds
    ));
    let full = Table::of(&mesher, spans.seconds, &[])?;
    tell(&full.text);
    let disk_kb = disk_bytes_per_event(&mesher)? / 1000.0;
    let copied = copied_per_second(&mesher)?;
    let share = full.get("stored/s")? / copied;
    tell(&format!(
        "bare COPY        {copied:.0} rows/s; stored: {share:.2} of it"
    ));
    let rate = (full.get("accepted/s")? / 2.0).min(2500.0);
    let half_seconds = (spans.seconds / 2).max(1);
    tell(&format!("\n{rate:.0} standard events a second"));
    let half = Table::of(&mesher, half_seconds, &["--rate", &format!("{rate:.0}")])?;
    tell(&half.text);
    mesher.query("TRUNCATE events")?;
    tell("\nnative events of 1 KB in bulks of 100, as fast as answers come");
    let native = Table::of(&mesher, half_seconds, &["--native"])?;
    tell(&native.text);
    let copied = copied_per_second(&mesher)?;
    tell(&format!("bare COPY        {copied:.0} rows/s"));
    let loaded_mib = memory_mib(&mesher, "VmHWM")?;
    mesher.stop()?;
    let host = Host::now();
    let warm = warm_start(&mut mesher, &dsn)?;
    tell(&format!("\nwarm start\n{}", host.since()));
    mesher.stop()?;
    let lost = full.get("lost")? + half.get("lost")? + native.get("lost")?;
    let bars = [
        Bar::at_least(
            "standard events accepted",
            full.get("accepted/s")?,
            "/s",
            5000.0,
        ),
        Bar::at_least(
            "standard events stored",
            full.get("stored/s")?,
            "/s",
            3000.0,
        ),
        Bar::at_most("p99 at half load", half.get("p99")?, "ms", 12.0),
        Bar::at_least(
            "native events stored, of what bare COPY does",
            native.get("stored/s")? / copied,
            "",
            0.4,
        ),
        Bar::at_most("memory before any load", idle_mib, "MiB", 40.0),
        Bar::at_most("most memory under all loads", loaded_mib, "MiB", 120.0),
        Bar::at_most(
            "disk for a standard event, indexes included",
            disk_kb,
            "KB",
            7.0,
        ),
        Bar::at_most(
            "warm start until the first event is accepted",
            warm.as_secs_f64(),
            "s",
            0.3,
        ),
        Bar::at_most("acknowledged events lost", lost, "", 0.0),
    ];
    tell("");
    for bar in &bars {
        tell(&bar.line());
    }
    tell("\nyardsticks of this machine, for comparing it with others");
    for yardstick in &yardsticks {
        tell(&yardstick.line());
    }
    tell(&format!(
        "bare COPY                {copied:.0} rows/s; where the bars come from {REFERENCE_COPY:.0} rows/s"
    ));
    if lost > 0.0 {
        return Err(format!("{lost} acknowledged events are not stored").into());
    }
    Ok(())
}

/// What `mesher load` printed.
struct Table {
    text: String,
    figures: HashMap<String, f64>,
}

impl Table {
    fn of(mesher: &Mesher, seconds: u64, options: &[&str]) -> Result<Table, Fault> {
        let seconds = seconds.to_string();
        let mut words = vec!["load", "--duration", &seconds];
        words.extend(options);
        let host = Host::now();
        let mut table = Table::read(mesher.run(&words)?);
        table.text = format!("{}\n{}", table.text, host.since());
        Ok(table)
    }

    fn read(text: String) -> Table {
        let figure = |line: &str| {
            let mut words = line.split_whitespace();
            let name = words.next()?.to_owned();
            Some((name, words.next()?.parse().ok()?))
        };
        Table {
            figures: text.lines().filter_map(figure).collect(),
            text: text.trim_end().to_owned(),
        }
    }

    fn get(&self, name: &str) -> Result<f64, Fault> {
        let figure = self.figures.get(name).copied();
        figure.ok_or_else(|| format!("mesher load did not tell {name}: {}", self.text).into())
    }
}

/// A field of the server's process, in MiB.
fn memory_mib(mesher: &Mesher, field: &str) -> Result<f64, Fault> {
    let process = mesher.process().ok_or("the server does not run")?;
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.ok_or_else(|| format!("no {field} in the status"))? / 1024.0)
}

/// What tables, indexes and large values of the events take, divided by how many there are.
fn disk_bytes_per_event(mesher: &Mesher) -> Result<f64, Fault> {
    let rows = mesher.query(
        "SELECT sum(pg_total_relation_size(relid))::float8 / (SELECT count(*) FROM events) \
         FROM pg_partition_tree('events') WHERE isleaf",
    )?;
    let figure = rows.first().and_then(|row| row.first()?.parse().ok());
    figure.ok_or_else(|| "the database does not tell the size of the events".into())
}

/// What a bare COPY of rows of 1.1 KB stored a second on the machine that the bars were drawn from.
const REFERENCE_COPY: f64 = 51_966.0;

/// The most rows that a bare COPY is given: a gigabyte or two.
const COPIED_MAX: u32 = 2_000_000;

/// How many of the rows that are stored a bare COPY stores a second in the same table with the same indexes. It is given all of them, in
/// their order: the larger the indexes, the slower it is. Afterwards the table is empty.
fn copied_per_second(mesher: &Mesher) -> Result<f64, Fault> {
    let file = mesher.data_dir().with_file_name("rows.copy");
    let file = file.display();
    mesher.run(&[
        "psql",
        "-X",
        "-q",
        "-c",
        &format!("\\copy (SELECT * FROM events LIMIT {COPIED_MAX}) TO '{file}' BINARY"),
    ])?;
    mesher.query("TRUNCATE events")?;
    let start = Instant::now();
    mesher.run(&[
        "psql",
        "-X",
        "-q",
        "-c",
        &format!("\\copy events FROM '{file}' BINARY"),
    ])?;
    let took = start.elapsed().as_secs_f64();
    let rows = mesher.query("SELECT count(*) FROM events")?;
    let count = rows
        .first()
        .and_then(|row| row.first()?.parse::<f64>().ok());
    mesher.query("TRUNCATE events")?;
    Ok(count.ok_or("no count of events")? / took)
}

/// Starts a server that was stopped; how long until it acknowledges an event.
fn warm_start(mesher: &mut Mesher, dsn: &Dsn) -> Result<Duration, Fault> {
    let authorization = format!("Bearer {}", dsn.key);
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
    ];
    let body = load::body(uuid::Uuid::from_u128(7));
    let start = Instant::now();
    mesher.spawn()?;
    while start.elapsed() < wait::PATIENCE {
        let answer = Client::new(mesher.address()).send("POST", "/api/v1/events", &headers, &body);
        if answer.is_ok_and(|answer| answer.status == 202) {
            return Ok(start.elapsed());
        }
        wait::pause(Duration::from_millis(2));
    }
    Err("the server does not accept an event after a restart".into())
}

#[cfg(test)]
mod tests {
    use super::{Bar, Spans, Table};

    #[test]
    fn words_become_spans_and_others_do_not() {
        assert_eq!(Spans::parse(&[]), Some(Spans { seconds: 60 }));
        assert_eq!(
            Spans::parse(&["--seconds", "5"]),
            Some(Spans { seconds: 5 })
        );
        for words in [&["--seconds"][..], &["--seconds", "0"], &["--count", "7"]] {
            assert_eq!(Spans::parse(words), None, "{words:?}");
        }
    }

    #[test]
    fn figures_are_read_from_the_table() {
        let table = Table::read(
            "accepted         12 events\naccepted/s       3\np99              4.5 ms\n".into(),
        );
        assert_eq!(table.get("accepted/s").unwrap(), 3.0);
        assert_eq!(table.get("p99").unwrap(), 4.5);
        assert!(table.get("stored/s").is_err());
    }

    #[test]
    fn a_bar_holds_from_its_limit_on() {
        assert!(Bar::at_least("x", 5.0, "", 5.0).holds());
        assert!(!Bar::at_least("x", 4.9, "", 5.0).holds());
        assert!(Bar::at_most("x", 5.0, "", 5.0).holds());
        let missed = Bar::at_most("x", 5.1, "ms", 5.0);
        assert!(!missed.holds() && missed.line().ends_with("MISSED"));
    }
}
