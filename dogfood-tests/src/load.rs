//! Load: senders of native events, and the ledger of what the server promised about each.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use crate::Fault;
use crate::http::Client;
use crate::seed::Seed;
use crate::server::Dsn;
use crate::wait::{self, PATIENCE};

const PLACES: [&str; 12] = [
    "kitchen", "harbour", "library", "orchard", "station", "bakery", "foundry", "meadow", "tower",
    "cellar", "bridge", "market",
];

/// One event in so many is one sent before, whether it was acknowledged or not: an SDK whose answer got lost sends again.
const RETRY_ONE_IN: u64 = 20;

/// What the server said about one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// 202: it must be stored exactly once.
    Acknowledged,
    /// No answer, or one that promises nothing: it may be stored once or not at all.
    Open,
}

/// Every event sent, with what was promised, and how often each status was answered.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The promise about each id; acknowledged never falls back to open.
    pub promises: HashMap<Uuid, Promise>,
    /// How often each id was answered 202.
    pub accepted: HashMap<Uuid, u64>,
    /// Every id, in the order first sent.
    sent: Vec<Uuid>,
    /// Answers by status; 0 counts the requests without one.
    pub answers: BTreeMap<u16, u64>,
}

impl Ledger {
    /// Notes one answer (`None`: the connection was cut).
    pub fn note(&mut self, id: Uuid, status: Option<u16>) {
        *self.answers.entry(status.unwrap_or(0)).or_default() += 1;
        let known = self.promises.get(&id).copied();
        if known.is_none() {
            self.sent.push(id);
        }
        if status == Some(202) {
            *self.accepted.entry(id).or_default() += 1;
        }
        let kept = status == Some(202) || known == Some(Promise::Acknowledged);
        let promise = if kept {
            Promise::Acknowledged
        } else {
            Promise::Open
        };
        self.promises.insert(id, promise);
    }

    /// The ids with a given promise, in order.
    #[must_use]
    pub fn with(&self, promise: Promise) -> Vec<Uuid> {
        let mut ids: Vec<Uuid> = self
            .promises
            .iter()
            .filter(|(_, now)| **now == promise)
            .map(|(id, _)| *id)
            .collect();
        ids.sort_unstable();
        ids
    }

    /// Refusals that no fault excuses: a valid event with a valid key answered 4xx other than 429.
    #[must_use]
    pub fn unfair_refusals(&self) -> Vec<(u16, u64)> {
        let unfair = |status: u16| (400..500).contains(&status) && status != 429;
        self.answers
            .iter()
            .filter(|(status, _)| unfair(**status))
            .map(|(status, n)| (*status, *n))
            .collect()
    }
}

/// How to send.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Connections, each with a thread.
    pub senders: u32,
    /// Events a second over all of them; `None`: as fast as answers come.
    pub rate_per_second: Option<u32>,
}

/// Sends until `stop` is set: new events, and now and then one sent before, as an SDK's retry does. Which of the projects an event goes to
/// follows from its id.
pub fn drive(
    address: SocketAddr,
    dsns: &[Dsn],
    shape: Shape,
    seed: &mut Seed,
    ledger: &Mutex<Ledger>,
    stop: &AtomicBool,
) {
    let interval = shape
        .rate_per_second
        .map(|rate| Duration::from_secs(u64::from(shape.senders)) / rate.max(1));
    thread::scope(|scope| {
        for _ in 0..shape.senders {
            let mut seed = seed.split();
            scope.spawn(move || {
                let mut sender = Sender::new(address, dsns);
                let mut due = Instant::now();
                while !stop.load(Ordering::Relaxed) {
                    let id = next_id(&mut seed, ledger);
                    let status = sender.post(id);
                    lock(ledger).note(id, status);
                    if status.is_none() {
                        // The server is away: do not spin on a refused connection.
                        wait::pause(Duration::from_millis(20));
                    }
                    if let Some(interval) = interval {
                        due += interval;
                        wait::pause(due.saturating_duration_since(Instant::now()));
                    }
                }
            });
        }
    });
}

/// Sends again every id whose promise is open, once, and notes the answers.
pub fn resend_open(address: SocketAddr, dsns: &[Dsn], ledger: &Mutex<Ledger>) {
    let mut sender = Sender::new(address, dsns);
    let open = lock(ledger).with(Promise::Open);
    for id in open {
        let status = sender.post(id);
        lock(ledger).note(id, status);
    }
}

/// Sends so many new events, one after the other, and notes the answers; returns how many.
pub fn send_fresh(
    address: SocketAddr,
    dsns: &[Dsn],
    seed: &mut Seed,
    ledger: &Mutex<Ledger>,
    count: u32,
) -> usize {
    let mut sender = Sender::new(address, dsns);
    for _ in 0..count {
        let id = fresh_id(seed);
        let status = sender.post(id);
        lock(ledger).note(id, status);
    }
    count as usize
}

/// Sends so many new events of about 9 KB that say much the same, one after the other, and notes the answers: what a dictionary is learned of.
/// None of them is ever sent again.
pub fn send_alike(
    address: SocketAddr,
    dsn: &Dsn,
    seed: &mut Seed,
    ledger: &Mutex<Ledger>,
    count: u32,
) {
    let mut sender = Sender::new(address, std::slice::from_ref(dsn));
    for _ in 0..count {
        let id = fresh_id(seed);
        let status = sender.post_body(id, &body_alike(id));
        lock(ledger).note(id, status);
    }
}

/// Waits until so many events are acknowledged.
///
/// # Errors
/// When that takes longer than a minute.
pub fn wait_for_acknowledged(ledger: &Mutex<Ledger>, at_least: usize) -> Result<(), Fault> {
    wait::until("events to be acknowledged", PATIENCE, || {
        let ledger = lock(ledger);
        match ledger.with(Promise::Acknowledged).len() {
            acknowledged if acknowledged >= at_least => Ok(()),
            acknowledged => Err(format!(
                "{acknowledged} of {at_least}; answers by status: {:?}",
                ledger.answers
            )),
        }
    })?;
    Ok(())
}

/// The ledger, also after a sender's panic: what it noted before stays true.
pub fn lock(ledger: &Mutex<Ledger>) -> std::sync::MutexGuard<'_, Ledger> {
    ledger
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn next_id(seed: &mut Seed, ledger: &Mutex<Ledger>) -> Uuid {
    if seed.below(RETRY_ONE_IN) == 0 {
        let ledger = lock(ledger);
        let at = seed.below(ledger.sent.len() as u64);
        if let Some(id) = usize::try_from(at).ok().and_then(|at| ledger.sent.get(at)) {
            return *id;
        }
    }
    fresh_id(seed)
}

/// To which of so many projects an event goes: a retry goes where the first one went.
#[must_use]
pub fn place(id: Uuid, projects: usize) -> usize {
    let high = id.as_u64_pair().0;
    usize::try_from(high % projects.max(1) as u64).unwrap_or(0)
}

/// A random id, by the seed.
pub fn fresh_id(seed: &mut Seed) -> Uuid {
    let (high, low) = (seed.next_u64(), seed.next_u64());
    uuid::Builder::from_random_bytes(((u128::from(high) << 64) | u128::from(low)).to_be_bytes())
        .into_uuid()
}

/// The native body of an event: everything in it follows from its id, so that a retry is the same event.
#[must_use]
pub fn body(id: Uuid) -> Vec<u8> {
    let number = id.as_u64_pair().1;
    let place = PLACES[usize::try_from(number % PLACES.len() as u64).unwrap_or(0)];
    let event = json!({
        "event_id": id.simple().to_string(),
        "level": if number.is_multiple_of(3) { "warning" } else { "error" },
        "message": format!("the {place} did not answer within {} ms", number % 5000),
        "environment": "dogfood",
        "release": "dogfood@1",
        "tags": { "place": place, "sender": "dogfood" },
    });
    event.to_string().into_bytes()
}

/// The native body of an event that repeats nothing within itself, and all other such events.
fn body_alike(id: Uuid) -> Vec<u8> {
    let mut words = Seed::new(7);
    let mut word = || format!("{:016x}{:016x}", words.next_u64(), words.next_u64());
    let extra: serde_json::Map<String, serde_json::Value> =
        (0..100).map(|_| (word(), word().into())).collect();
    let event = json!({
        "event_id": id.simple().to_string(),
        "message": "much the same",
        "extra": extra,
    });
    event.to_string().into_bytes()
}

struct Sender {
    client: Client,
    authorizations: Vec<String>,
}

impl Sender {
    fn new(address: SocketAddr, dsns: &[Dsn]) -> Self {
        let bearer = |dsn: &Dsn| format!("Bearer {}", dsn.key);
        Self {
            client: Client::new(address),
            authorizations: dsns.iter().map(bearer).collect(),
        }
    }

    fn post(&mut self, id: Uuid) -> Option<u16> {
        self.post_body(id, &body(id))
    }

    fn post_body(&mut self, id: Uuid, body: &[u8]) -> Option<u16> {
        let authorization = &self.authorizations[place(id, self.authorizations.len())];
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
        ];
        let answer = self.client.send("POST", "/api/v1/events", &headers, body);
        answer.ok().map(|response| response.status)
    }
}

#[cfg(test)]
mod tests {
    use super::{Ledger, Promise, body};
    use uuid::Uuid;

    #[test]
    fn an_acknowledgement_is_never_taken_back() {
        let (mut ledger, id) = (Ledger::default(), Uuid::from_u128(1));
        ledger.note(id, None);
        assert_eq!(ledger.with(Promise::Open), [id]);
        ledger.note(id, Some(202));
        ledger.note(id, Some(500));
        assert_eq!(ledger.with(Promise::Acknowledged), [id]);
        assert_eq!(ledger.answers[&0], 1);
    }

    #[test]
    fn a_refusal_without_a_reason_is_unfair() {
        let mut ledger = Ledger::default();
        for status in [202, 429, 500, 403, 403] {
            ledger.note(Uuid::from_u128(1), Some(status));
        }
        assert_eq!(ledger.unfair_refusals(), [(403, 2)]);
    }

    #[test]
    fn a_retry_is_the_same_event() {
        assert_eq!(body(Uuid::from_u128(7)), body(Uuid::from_u128(7)));
    }
}
