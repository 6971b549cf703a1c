//! What a scenario may do to a library, in words that fit them all, and the worker that every library runs.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::watch;

pub(crate) mod bastion;
pub(crate) mod kameo;
pub(crate) mod mesh;
pub(crate) mod ractor;

/// How long a scenario waits for what ought to happen at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);
/// How long a scenario watches for what ought not to happen.
pub(crate) const QUIET: Duration = Duration::from_millis(150);
/// The restarts of a plan count within this window.
pub(crate) const WITHIN: Duration = Duration::from_secs(60);
/// What a supervisor grants a child that is asked to stop, where the library has the setting.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_millis(200);

/// Why a row does not hold.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// The library has no such thing; what it has instead.
    Missing(String),
    /// It has it and does otherwise.
    Differs(String),
    /// A start was refused; a row about failing starts expects this.
    NotStarted(String),
}

/// How a library does in one row.
pub(crate) type Outcome<T = ()> = Result<T, Verdict>;

/// The row is about something the library does not have.
pub(crate) fn missing<T>(instead: &str) -> Outcome<T> {
    Err(Verdict::Missing(instead.to_owned()))
}

/// The library does otherwise.
pub(crate) fn differs<T>(how: impl fmt::Display) -> Outcome<T> {
    Err(Verdict::Differs(how.to_string()))
}

/// What a worker is told or asked. Every one asked is answered with the total, unless it ends the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Add(u64),
    Total,
    Panic,
    /// Ends normally.
    Stop,
    /// Ends with an error.
    Fail,
    /// Never comes back from an await.
    Hang,
    Nap(Duration),
    NapThenPanic(Duration),
    /// Calls itself; the answer is one of [`SelfCall`].
    CallSelf,
    /// Traps exits from now on.
    Trap,
    /// The state will panic when it is dropped.
    ArmDrop,
}

/// How a call to oneself ended, as the number a worker answers.
pub(crate) struct SelfCall;

impl SelfCall {
    pub(crate) const REFUSED: u64 = 1;
    pub(crate) const TIMEOUT: u64 = 2;
    pub(crate) const OTHER: u64 = 3;
    /// The deadline of that call, where the library has one.
    pub(crate) const LIMIT: Duration = Duration::from_millis(300);
}

/// What the library's own code has to do after the shared worker has handled a command.
pub(crate) enum Next {
    Reply(u64),
    Stop,
    Fail,
    CallSelf,
    Trap,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Value(u64),
    /// The callee ended, and the caller was told.
    Ended(String),
    Timeout,
}

/// A message was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full { given_back: bool },
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    Permanent,
    Transient,
    Temporary,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    OneForOne,
    OneForAll,
    RestForOne,
}

/// One worker.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) id: &'static str,
    pub(crate) journal: Journal,
    pub(crate) restart: Restart,
    /// Lives, counted from one, whose start fails.
    pub(crate) failing_lives: HashSet<u32>,
    pub(crate) keeps_mailbox: bool,
    /// Never comes back from its stop callback.
    pub(crate) clings: bool,
    lives: Arc<AtomicU32>,
}

impl Spec {
    pub(crate) fn new(id: &'static str, journal: &Journal) -> Spec {
        Spec {
            id,
            journal: journal.clone(),
            restart: Restart::Permanent,
            failing_lives: HashSet::new(),
            keeps_mailbox: false,
            clings: false,
            lives: Arc::new(AtomicU32::new(0)),
        }
    }

    pub(crate) fn restart(mut self, restart: Restart) -> Spec {
        self.restart = restart;
        self
    }
}

/// One supervisor, in the second place below another when `nested`.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) strategy: Strategy,
    pub(crate) restarts_max: u32,
    pub(crate) children: Vec<Spec>,
    pub(crate) nested: bool,
}

impl Plan {
    pub(crate) fn new(strategy: Strategy, children: Vec<Spec>) -> Plan {
        Plan {
            strategy,
            restarts_max: 3,
            children,
            nested: false,
        }
    }
}

/// What the workers of a scenario write down, and the scenario reads.
#[derive(Clone, Debug)]
pub(crate) struct Journal(Arc<watch::Sender<Vec<String>>>);

impl Journal {
    pub(crate) fn new() -> Journal {
        Journal(Arc::new(watch::Sender::new(Vec::new())))
    }

    pub(crate) fn write(&self, line: impl Into<String>) {
        self.0.send_modify(|lines| lines.push(line.into()));
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    pub(crate) fn count(&self, line: &str) -> usize {
        self.0
            .borrow()
            .iter()
            .filter(|known| *known == line)
            .count()
    }

    /// Whether `line` stands there `times` times before the patience ends.
    pub(crate) async fn sees(&self, line: &str, times: usize) -> bool {
        let enough =
            |lines: &Vec<String>| lines.iter().filter(|known| *known == line).count() >= times;
        let mut reader = self.0.subscribe();
        tokio::time::timeout(PATIENCE, reader.wait_for(enough))
            .await
            .is_ok_and(|found| found.is_ok())
    }
}

/// Waits without the runtime under test: its own timers are not to be trusted here.
pub(crate) async fn pause(duration: Duration) {
    let _ = tokio::time::timeout(duration, std::future::pending::<()>()).await;
}

/// The state of a worker, the same in every library. It writes `start`, `fail`, `stop` and `gone` with its id.
#[derive(Debug)]
pub(crate) struct State {
    spec: Spec,
    total: u64,
    drop_panics: bool,
}

impl State {
    /// The start of one life.
    pub(crate) fn start(spec: Spec) -> Result<State, String> {
        let life = spec.lives.fetch_add(1, Ordering::SeqCst) + 1;
        if spec.failing_lives.contains(&life) {
            spec.journal.write(format!("fail {}", spec.id));
            return Err(format!("life {life} does not start"));
        }
        spec.journal.write(format!("start {}", spec.id));
        Ok(State {
            spec,
            total: 0,
            drop_panics: false,
        })
    }

    pub(crate) async fn handle(&mut self, command: Command) -> Next {
        match command {
            Command::Add(n) => self.total += n,
            Command::Total => {}
            Command::Panic => panic!("told to"),
            Command::Stop => return Next::Stop,
            Command::Fail => return Next::Fail,
            Command::Hang => std::future::pending::<()>().await,
            Command::Nap(duration) => pause(duration).await,
            Command::NapThenPanic(duration) => {
                pause(duration).await;
                panic!("told to");
            }
            Command::CallSelf => return Next::CallSelf,
            Command::Trap => return Next::Trap,
            Command::ArmDrop => self.drop_panics = true,
        }
        Next::Reply(self.total)
    }

    /// The library's stop callback.
    pub(crate) async fn stopped(&self) {
        self.write("stop");
        if self.spec.clings {
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn write(&self, what: &str) {
        self.spec.journal.write(format!("{what} {}", self.spec.id));
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.write("gone");
        assert!(!self.drop_panics, "told to, in the drop");
    }
}

/// One library. A value of it serves one cell of the table.
pub(crate) trait Subject: Sized + 'static {
    /// The name of its crate.
    const NAME: &'static str;
    type Tree;
    type Worker: Clone;

    fn new() -> Self;
    /// Starts a supervisor with its children.
    fn supervise(&self, plan: Plan) -> impl Future<Output = Outcome<Self::Tree>>;
    /// The child's address.
    fn child(&self, tree: &Self::Tree, id: &str) -> Outcome<Self::Worker>;
    /// Asks the supervisor to stop with its children.
    fn stop(&self, tree: Self::Tree) -> impl Future<Output = Outcome>;
    /// Starts a worker that nobody restarts, and tells whether it started.
    fn spawn(&self, spec: Spec) -> impl Future<Output = Outcome<Self::Worker>>;
    fn spawn_bounded(&self, spec: Spec) -> impl Future<Output = Outcome<Self::Worker>>;
    fn spawn_named(
        &self,
        spec: Spec,
        name: &'static str,
    ) -> impl Future<Output = Outcome<Self::Worker>>;
    fn whereis(&self, name: &'static str) -> bool;
    fn tell(&self, worker: &Self::Worker, command: Command) -> Result<(), Refusal>;
    fn ask(
        &self,
        worker: &Self::Worker,
        command: Command,
        limit: Duration,
    ) -> impl Future<Output = Answer>;
    fn kill(&self, worker: &Self::Worker) -> Outcome;
    fn link(&self, a: &Self::Worker, b: &Self::Worker) -> impl Future<Output = Outcome>;
    /// `watcher` writes `down` with its id for each notice that `target` has ended.
    fn monitor(
        &self,
        watcher: &Self::Worker,
        target: &Self::Worker,
    ) -> impl Future<Output = Outcome>;
}

/// How many messages the mailbox of [`Subject::spawn_bounded`] holds.
pub(crate) const BOUND: usize = 4;
