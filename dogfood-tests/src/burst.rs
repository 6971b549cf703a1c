//! A burst: far more events a second than the database takes. Memory stays bounded, the API goes on to answer, nothing acknowledged is lost.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Fault;
use crate::load::{self, Ledger, Promise, Shape};
use crate::machine;
use crate::seed::Seed;
use crate::server::Mesher;
use crate::verify;
use crate::wait;

/// The most resident memory the server may ever have, in MiB: a third of what a small machine has, whatever comes.
pub const RESIDENT_MIB_MAX: u64 = 320;

/// How often memory is looked at and the API is asked.
const LOOK: Duration = Duration::from_millis(50);

/// How long the database may take for what the spool holds in the end.
const DRAIN: Duration = Duration::from_secs(1_200);

/// How much, how fast.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    /// Events a second that are tried.
    pub rate_per_second: u32,
    /// How long.
    pub duration: Duration,
    /// Connections, each with a thread that waits for its answer.
    pub senders: u32,
}

impl Burst {
    /// For every change.
    pub const SMALL: Self = Self {
        rate_per_second: 2_000,
        duration: Duration::from_secs(3),
        senders: 8,
    };

    /// By command: ten thousand a second for a minute.
    pub const LARGE: Self = Self {
        rate_per_second: 10_000,
        duration: Duration::from_secs(60),
        senders: 64,
    };
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Events acknowledged, each stored exactly once.
    pub acknowledged: usize,
    /// Events refused for want of room.
    pub refused: u64,
    /// The most resident memory of the server.
    pub resident_bytes_max: u64,
    /// How long each read of the API took.
    pub reads: Vec<Duration>,
}

impl Seen {
    /// One line of figures.
    #[must_use]
    pub fn line(&self) -> String {
        let mut reads = self.reads.clone();
        reads.sort_unstable();
        let rank = (reads.len() * 99).div_ceil(100).max(1) - 1;
        let slow = reads.get(rank).map_or(0.0, |read| read.as_secs_f64() * 1e3);
        format!(
            "{} acknowledged and stored once, {} refused; at most {} MiB resident; {} reads of the API, p99 {slow:.0} ms",
            self.acknowledged,
            self.refused,
            self.resident_bytes_max >> 20,
            reads.len()
        )
    }
}

/// Starts a server with a private database, sends, and checks the end.
///
/// # Errors
/// When memory is not bounded, the API does not answer, or a promise is broken.
pub fn run(burst: Burst, mut seed: Seed, mut report: impl FnMut(&str)) -> Result<Seen, Fault> {
    report(&format!("seed {}", seed.number()));
    let mut mesher = Mesher::new()?.with_env("MESHER_LOG", "warn");
    mesher.start()?;
    let (dsn, token) = (mesher.dsn()?, mesher.token("burst")?);
    let process = mesher.process().ok_or("the server is not running")?;
    if machine::has_huge_pages(process) {
        return Err("the server's memory may lie in huge pages, which hold what was freed".into());
    }
    let (ledger, stop) = (Mutex::new(Ledger::default()), AtomicBool::new(false));
    let shape = Shape {
        senders: burst.senders,
        rate_per_second: Some(burst.rate_per_second),
    };
    let (resident_bytes_max, reads) = thread::scope(|scope| {
        let address = mesher.address();
        let watch = scope.spawn(|| watch(process, &stop));
        let read = scope.spawn(|| read(&mesher, &token, &stop));
        let (dsn, seed, ledger, running) = (&dsn, &mut seed, &ledger, &stop);
        scope.spawn(move || {
            load::drive(
                address,
                std::slice::from_ref(dsn),
                shape,
                seed,
                ledger,
                running,
            )
        });
        wait::pause(burst.duration);
        stop.store(true, Ordering::Relaxed);
        (watch.join(), read.join())
    });
    let resident_bytes_max = resident_bytes_max.map_err(|_| "the watch over memory panicked")?;
    let reads = reads.map_err(|_| "the reader panicked")??;
    wait::until("the spool to be empty", DRAIN, || waiting(&mesher))?;
    let ledger = ledger
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let answered = |status: u16| ledger.answers.get(&status).copied().unwrap_or(0);
    let strange: Vec<u16> = ledger.answers.keys().copied().collect();
    if strange.iter().any(|status| ![202, 429].contains(status)) {
        return Err(format!("answers other than 202 and 429: {:?}", ledger.answers).into());
    }
    verify::equality(&mesher, &ledger).map_err(|fault| format!("{fault}\n{}", mesher.log_end()))?;
    let seen = Seen {
        acknowledged: ledger.with(Promise::Acknowledged).len(),
        refused: answered(429),
        resident_bytes_max,
        reads,
    };
    report(&seen.line());
    mesher.stop()?;
    if seen.resident_bytes_max >> 20 > RESIDENT_MIB_MAX {
        return Err(format!("more than {RESIDENT_MIB_MAX} MiB resident").into());
    }
    if seen.acknowledged == 0 || seen.reads.is_empty() {
        return Err("nothing was acknowledged or read: nothing was tested".into());
    }
    Ok(seen)
}

/// The most memory of a process until told to stop.
fn watch(process: u32, stop: &AtomicBool) -> u64 {
    let mut most = 0;
    while !stop.load(Ordering::Relaxed) {
        most = most.max(machine::resident_bytes_of(process));
        wait::pause(LOOK);
    }
    most
}

/// Asks the API for the first page of issues until told to stop; each must be answered.
fn read(mesher: &Mesher, token: &str, stop: &AtomicBool) -> Result<Vec<Duration>, Fault> {
    let mut reads = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        mesher.api(token, "/api/v1/projects/default/issues")?;
        reads.push(asked.elapsed());
        wait::pause(LOOK);
    }
    Ok(reads)
}

/// Whether anything waits in the spool, as the server's own metrics say.
fn waiting(mesher: &Mesher) -> Result<(), String> {
    let answer = mesher.client().send("GET", "/metrics", &[], b"");
    let answer = answer.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let line = text
        .lines()
        .find(|line| line.starts_with("mesher_spool_records_waiting "));
    match line {
        Some("mesher_spool_records_waiting 0") => Ok(()),
        other => Err(format!("{other:?}")),
    }
}
