//! What the runtime tells about itself: counters, events, metrics and dead letters, with their names.
//!
//! **Events** go to `tracing`. Their targets, levels and fields:
//!
//! | target | level | what happened | fields |
//! |---|---|---|---|
//! | [`PROCESS_PANICKED`] | error | a process panicked; logged once | `process.pid`, `process.label`, `panic.message`, `panic.location` |
//! | [`PROCESS_PANICKED`] | error | so many more, processes or handlers of requests, panicked at that place within a second; this was the last | `panic.count`, `process.pid`, `panic.message`, `panic.location` |
//! | [`SUPERVISOR`] | error | a child ended once too often and its supervisor gives up | `supervisor.child`, `exit.reason` |
//! | [`SUPERVISOR`] | warn | a child ended and is restarted | `supervisor.child`, `exit.reason` |
//! | [`SUPERVISOR`] | warn | so many more of a supervisor's children were restarted within a second; this was the last | `restart.count`, `supervisor.child`, `exit.reason` |
//! | [`SUPERVISOR`] | debug | a child ended and is not restarted | `supervisor.child`, `exit.reason` |
//! | [`PROCESS_STUCK`] | warn | a process holds a worker or one message too long | `process.pid`, `process.label`, `message.type`, `stuck.on` (`worker` or `message`), `stuck.limit_ms` |
//! | `mesh_runtime::http` and the modules below it | warn, debug | a connection could not be accepted, or was closed for its slowness | `http.error`, `http.overdue` |
//! | `mesh_runtime::http` and the modules below it | error | the handler of a request panicked and 500 was answered; in a storm the others are told by the line of [`PROCESS_PANICKED`] with their number | `http.panic` |
//! | `mesh_runtime::postgres` and the modules below it | info, warn | the database answers, or does not | `postgres.error` |
//!
//! **A storm** does not bury the log: of the panics at one place, and of the restarts by one supervisor, the first
//! [`STORM_LINES_MAX`](crate::limits::STORM_LINES_MAX) of a second are told line by line, and the others together when that second is over, or when
//! the supervisor or the system ends. Counters count every one.
//!
//! **A span** named `process`, target [`PROCESS_PANICKED`], level debug, is around everything a process does, where a subscriber wants it when the
//! process starts; what a handler logs is told inside it. Fields: `process.pid`, `process.behaviour`. Nobody pays for it who does not.
//!
//! **Metrics**, with the feature `metrics`, go to the recorder of the `metrics` crate when `System::record_metrics` is called, or every so often
//! with `SystemBuilder::metrics_every`. Each has the label `system`, the system's name.
//!
//! | name | kind | what |
//! |---|---|---|
//! | `mesh_runtime_processes` | gauge | processes alive |
//! | `mesh_runtime_mailbox_messages` | gauge | messages that wait, in all mailboxes |
//! | `mesh_runtime_mailbox_messages_max` | gauge | messages that wait in the fullest mailbox |
//! | `mesh_runtime_timers` | gauge | timers pending |
//! | `mesh_runtime_rooms` | gauge | rooms that have members |
//! | `mesh_runtime_processes_spawned_total` | counter | processes started |
//! | `mesh_runtime_processes_exited_total` | counter | processes ended |
//! | `mesh_runtime_processes_panicked_total` | counter | processes ended by a panic |
//! | `mesh_runtime_processes_stuck_total` | counter | processes reported by the watchdog |
//! | `mesh_runtime_restarts_total` | counter | restarts by supervisors |
//! | `mesh_runtime_dead_letters_total` | counter | dead letters, with the label `why`: `overflow` (with those of timers), `unread` or `late_reply` |
//! | `mesh_runtime_room_frames_missed_total` | counter | room frames that members missed |
//! | `mesh_runtime_room_members_disconnected_total` | counter | members put out of a room |
//!
//! The edges tell theirs as it happens:
//!
//! | name | kind | what |
//! |---|---|---|
//! | `mesh_runtime_http_requests_total` | counter | requests answered, with the labels `server`, `route` (see `http::named`), `method` and `status` |
//! | `mesh_runtime_http_request_seconds` | histogram | from a request's head to its answer's, with the labels `server` and `route` |
//! | `mesh_runtime_postgres_checkouts_total` | counter | connections asked for, with the labels `pool` and `outcome` (`lent`, `timeout`, `unavailable`, `closed`) |
//! | `mesh_runtime_postgres_wait_seconds` | histogram | how long they were waited for, with the label `pool` |
//!
//! **Dead letters** are messages that were accepted and that nobody will handle. They are counted in
//! [`SystemCounts`](crate::SystemCounts), and [`System::dead_letters`](crate::System::dead_letters) subscribes to them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};

use crate::pid::Pid;

pub(crate) mod storm;

/// Target of the event logged once when a process panics, and of the span around a process.
pub const PROCESS_PANICKED: &str = "mesh_runtime::process";

/// Target of the events of supervisors: restarts and giving up.
pub const SUPERVISOR: &str = "mesh_runtime::supervisor";

/// Target of the event of a process that holds a worker or one message too long.
pub const PROCESS_STUCK: &str = "mesh_runtime::stuck";

#[cfg(all(feature = "metrics", feature = "http"))]
pub(crate) const HTTP_REQUESTS: &str = "mesh_runtime_http_requests_total";
#[cfg(all(feature = "metrics", feature = "http"))]
pub(crate) const HTTP_SECONDS: &str = "mesh_runtime_http_request_seconds";
#[cfg(all(feature = "metrics", feature = "postgres"))]
pub(crate) const POSTGRES_CHECKOUTS: &str = "mesh_runtime_postgres_checkouts_total";
#[cfg(all(feature = "metrics", feature = "postgres"))]
pub(crate) const POSTGRES_SECONDS: &str = "mesh_runtime_postgres_wait_seconds";

/// Why nobody handles a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LostTo {
    /// The overflow policy of a full mailbox dropped it.
    Overflow,
    /// A timer was due and found the mailbox full, or its process ending.
    Timer,
    /// It waited in the mailbox when the process ended.
    Unread,
    /// It is the answer to a call that was over.
    LateReply,
}

/// A message that was accepted and that nobody will handle. The message itself was the user's and has been dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Whom it was for; `None` for a late reply, whose caller need not be a process.
    pub to: Option<Pid>,
    /// Its type, or that of the reply.
    pub message_type: &'static str,
    /// What became of it.
    pub lost_to: LostTo,
}

/// A subscription to dead letters. Ends when it is dropped.
///
/// It holds as many as it was made for; what comes while it is full is not kept but counted, see [`DeadLetters::missed`]. Nobody who sends
/// waits for it.
#[derive(Debug)]
pub struct DeadLetters {
    queue: mpsc::Receiver<DeadLetter>,
    missed: Arc<AtomicU64>,
}

impl DeadLetters {
    /// The next dead letter, or `None` when the system is gone.
    ///
    /// Cancel safety: a dropped future has taken none.
    pub async fn next(&mut self) -> Option<DeadLetter> {
        self.queue.recv().await
    }

    /// One that is already here.
    pub fn try_next(&mut self) -> Option<DeadLetter> {
        self.queue.try_recv().ok()
    }

    /// How many came while this subscription was full, since it began.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

/// Those who want to know of dead letters.
#[derive(Default)]
struct Subscribers {
    /// How many there are; lets those who lose a message skip the lock.
    count: AtomicUsize,
    queues: Mutex<Vec<(mpsc::Sender<DeadLetter>, Arc<AtomicU64>)>>,
}

impl fmt::Debug for Subscribers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Subscribers")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

/// What one system counts. Each field only grows.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) spawned: AtomicU64,
    pub(crate) exited: AtomicU64,
    pub(crate) panicked: AtomicU64,
    pub(crate) late_replies: AtomicU64,
    pub(crate) messages_dropped: AtomicU64,
    pub(crate) messages_unread: AtomicU64,
    pub(crate) room_frames_missed: AtomicU64,
    pub(crate) room_members_disconnected: AtomicU64,
    pub(crate) restarts: AtomicU64,
    pub(crate) stuck: AtomicU64,
    subscribers: Subscribers,
}

impl Counters {
    /// Counts a message of type `M` that nobody will handle, and tells those who want to know.
    pub(crate) fn dead_letter<M>(&self, to: Option<Pid>, lost_to: LostTo) {
        count(match lost_to {
            LostTo::Overflow | LostTo::Timer => &self.messages_dropped,
            LostTo::Unread => &self.messages_unread,
            LostTo::LateReply => &self.late_replies,
        });
        if self.subscribers.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let letter = DeadLetter {
            to,
            message_type: std::any::type_name::<M>(),
            lost_to,
        };
        self.tell(&letter);
    }

    fn tell(&self, letter: &DeadLetter) {
        // Nobody is woken under the lock.
        let queues = self.subscribers.queues.lock().clone();
        for (queue, missed) in &queues {
            if let Err(mpsc::error::TrySendError::Full(_)) = queue.try_send(letter.clone()) {
                count(missed);
            }
        }
        if queues.iter().any(|(queue, _)| queue.is_closed()) {
            let mut queues = self.subscribers.queues.lock();
            queues.retain(|(queue, _)| !queue.is_closed());
            self.subscribers
                .count
                .store(queues.len(), Ordering::Relaxed);
        }
    }

    /// Subscribes to dead letters, of which at most `bound`, and at least one, wait.
    pub(crate) fn dead_letters(&self, bound: usize) -> DeadLetters {
        let (sender, queue) = mpsc::channel(bound.clamp(1, Semaphore::MAX_PERMITS));
        let missed = Arc::new(AtomicU64::new(0));
        let mut queues = self.subscribers.queues.lock();
        queues.push((sender, missed.clone()));
        self.subscribers
            .count
            .store(queues.len(), Ordering::Relaxed);
        drop(queues);
        DeadLetters { queue, missed }
    }
}

/// Adds one to a counter; ordering does not matter, only the sum.
pub(crate) fn count(counter: &AtomicU64) {
    count_by(counter, 1);
}

/// Adds to a counter.
pub(crate) fn count_by(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
