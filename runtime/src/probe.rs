//! `Probe`: a process that a test reads.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::address::Address;
use crate::exit::ExitReason;
use crate::limits::PROBE_PATIENCE;
use crate::mailbox::Capacity;
use crate::pid::Pid;
use crate::process::context::{Context, Event, Work};
use crate::process::home::Home;
use crate::process::{Birth, links, monitors, spawn};
use crate::reference::Ref;
use crate::signal::Signal;
use crate::system::System;
use crate::timer;

/// What a probe's behaviour is called.
pub(crate) const BEHAVIOUR: &str = "Probe";

/// A process whose messages and signals a test reads: it stands in for whoever would get them.
///
/// Give its [address](Probe::address) to the process under test. It traps exits, has no bound, and works on any system; in the laboratory
/// (feature `sim`) its waits take no time. Everything that arrives waits in order until it is asked for; an expectation that is not met in time
/// panics and says what had arrived instead.
///
/// ```
/// use mesh_runtime::{Context, Probe, ReplyTo, System};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let system = System::new();
/// let mut probe = Probe::start(&system);
/// let printer = probe.address();
/// let worker = system.spawn(move |mut cx: Context<u32>| async move {
///     let copies = cx.receive().await;
///     for copy in 0..copies {
///         let _ = printer.send(copy);
///     }
/// });
///
/// probe.monitor(worker.pid());
/// worker.send(3).unwrap();
/// assert_eq!(probe.expect().await, 0);
/// assert_eq!(probe.expect_match(|copy| *copy == 2).await, 2);
/// assert!(probe.expect_down().await.is_normal());
/// assert_eq!(probe.drain().await, [1]); // what `expect_match` went past
/// # }
/// ```
pub struct Probe<M: Send + 'static> {
    home: Arc<Home<M>>,
    pid: Pid,
    handed_over: Option<oneshot::Receiver<Context<M>>>,
    context: Option<Context<M>>,
    messages: VecDeque<M>,
    signals: VecDeque<Signal>,
    patience: Duration,
}

impl<M: Send + 'static> fmt::Debug for Probe<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Probe")
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

impl<M: Send + 'static> Drop for Probe<M> {
    fn drop(&mut self) {
        self.home.kernel().kill(self.pid);
    }
}

impl<M: Send + 'static> Probe<M> {
    /// Starts a probe.
    #[must_use]
    pub fn start(system: &System) -> Probe<M> {
        let (hand_over, handed_over) = oneshot::channel();
        let kernel = system.kernel();
        let home = Home::new(kernel, Capacity::unbounded());
        let birth = Birth {
            behaviour: Some(|| BEHAVIOUR),
            ..Birth::default()
        };
        // The process only lives; the test holds its hands.
        let pid = spawn(&home, birth, |context| async move {
            drop(hand_over.send(context));
            std::future::pending::<ExitReason>().await
        });
        if let Some(process) = kernel.table().get(pid) {
            process.set_trap_exit(true);
        }
        Probe {
            home,
            pid,
            handed_over: Some(handed_over),
            context: None,
            messages: VecDeque::new(),
            signals: VecDeque::new(),
            patience: PROBE_PATIENCE,
        }
    }

    /// How long it waits for what is expected; by default 5 s.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Probe<M> {
        self.patience = patience;
        self
    }

    /// Where to send what the probe is to read.
    #[must_use]
    pub fn address(&self) -> Address<M> {
        Address::of(self.home.clone())
    }

    /// The probe's process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Watches a process; its end is a `Down` signal.
    pub fn monitor(&mut self, pid: Pid) -> Ref {
        let reference = Ref::next();
        monitors::watch_as(self.home.kernel(), self.pid, pid, reference);
        reference
    }

    /// Links itself to a process; its end is an `Exit` signal.
    pub fn link(&mut self, pid: Pid) {
        links::link(self.home.kernel(), self.pid, pid);
    }

    /// The next message.
    ///
    /// # Panics
    /// When none comes in time.
    pub async fn expect(&mut self) -> M {
        self.expect_within(self.patience).await
    }

    /// The next message, if it comes within `limit`.
    ///
    /// # Panics
    /// When it does not.
    pub async fn expect_within(&mut self, limit: Duration) -> M {
        match self.message(limit, |_| true).await {
            Some(message) => message,
            None => panic!(
                "expected a message, none came within {limit:?}{}",
                self.left()
            ),
        }
    }

    /// The first message that fits. What it goes past stays, in order.
    ///
    /// # Panics
    /// When none comes in time.
    pub async fn expect_match(&mut self, fits: impl FnMut(&M) -> bool) -> M {
        let limit = self.patience;
        match self.message(limit, fits).await {
            Some(message) => message,
            None => panic!(
                "expected a message that fits, none came within {limit:?}{}",
                self.left()
            ),
        }
    }

    /// The next signal.
    ///
    /// # Panics
    /// When none comes in time.
    pub async fn expect_signal(&mut self) -> Signal {
        let limit = self.patience;
        let end = self.end(limit);
        while self.signals.is_empty() {
            if !self.take_event(end).await {
                panic!(
                    "expected a signal, none came within {limit:?}{}",
                    self.left()
                );
            }
        }
        self.signals.pop_front().expect("it is not empty")
    }

    /// The reason of the next `Down`.
    ///
    /// # Panics
    /// When another signal comes, or none in time.
    pub async fn expect_down(&mut self) -> ExitReason {
        match self.expect_signal().await {
            Signal::Down { reason, .. } => reason,
            other => panic!("expected a Down, got {other:?}"),
        }
    }

    /// Nothing arrives within `limit`, no message and no signal.
    ///
    /// # Panics
    /// When something does, or waits already.
    pub async fn refute(&mut self, limit: Duration) {
        let end = self.end(limit);
        let quiet = self.messages.is_empty() && self.signals.is_empty();
        if !quiet || self.take_event(end).await {
            panic!("expected nothing within {limit:?}{}", self.left());
        }
    }

    /// Every message that has arrived, without waiting for more.
    pub async fn drain(&mut self) -> Vec<M> {
        let now = self.home.kernel().timers().now();
        while self.take_event(now).await {}
        self.messages.drain(..).collect()
    }

    fn end(&self, limit: Duration) -> Duration {
        self.home.kernel().timers().now().saturating_add(limit)
    }

    async fn message(&mut self, limit: Duration, mut fits: impl FnMut(&M) -> bool) -> Option<M> {
        let end = self.end(limit);
        let mut seen = 0;
        loop {
            let known = self.messages.iter().skip(seen).position(&mut fits);
            if let Some(place) = known {
                return self.messages.remove(seen + place);
            }
            seen = self.messages.len();
            if !self.take_event(end).await {
                return None;
            }
        }
    }

    /// Puts the next message or signal aside; `false` when none came until `end`.
    async fn take_event(&mut self, end: Duration) -> bool {
        if let Some(handing) = &mut self.handed_over {
            // Comes as soon as the process has its first turn; fails when it was killed before.
            self.context = handing.await.ok();
            self.handed_over = None;
        }
        let kernel = self.home.kernel().clone();
        let left = kernel.until(end);
        let context = &mut self.context;
        // Not `receive_event`: the budget is that of processes, and this is none.
        let event = poll_fn(|task| match context {
            Some(context) => context.poll_work(task, false),
            None => Poll::Pending,
        });
        match timer::timeout(kernel.timers(), left, event).await {
            Ok(Work::Event(Event::Message(message))) => self.messages.push_back(message),
            Ok(Work::Event(Event::Signal(signal))) => self.signals.push_back(signal),
            Ok(Work::Question(_)) => unreachable!("it was not asked for one"),
            Err(_) => return false,
        }
        true
    }

    /// What had arrived, for the message of a panic.
    fn left(&self) -> String {
        let alive = if self.home.kernel().is_alive(self.pid) {
            ""
        } else {
            "; the probe has been killed"
        };
        format!(
            "; {} messages and {} signals wait{alive}{}",
            self.messages.len(),
            self.signals.len(),
            self.signals
                .iter()
                .map(|signal| format!("\n  {signal:?}"))
                .collect::<String>()
        )
    }
}
