//! What the tests share: a deadline for every wait, and a process that reports what it sees.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use mesh_runtime::{
    Actor, Address, CallError, ChildSpec, Context, ExitReason, Flow, ReplyTo, Signal, Supervisor,
    SupervisorHandle, System,
};
use tokio::sync::mpsc;

/// Long enough for a loaded machine; no test asserts on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Fails instead of hanging.
pub(crate) async fn soon<F: Future>(system: &System, future: F) -> F::Output {
    system
        .timeout(PATIENCE, future)
        .await
        .expect("the awaited thing happens in time")
}

/// Waits for a condition that nobody signals.
pub(crate) async fn until(system: &System, mut condition: impl FnMut() -> bool) {
    soon(system, async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// The log of this program, whichever test writes to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// For all threads: a subscriber of one thread may miss an event that another thread was the first to reach.
    pub(crate) fn of_all() -> Log {
        static LOG: OnceLock<Log> = OnceLock::new();
        let install = || {
            let log = Log::default();
            let sink = log.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_ansi(false)
                .with_max_level(tracing::Level::DEBUG)
                .with_writer(move || sink.clone())
                .finish();
            tracing::subscriber::set_global_default(subscriber).expect("nobody else sets one");
            log
        };
        LOG.get_or_init(install).clone()
    }

    pub(crate) fn text(&self) -> String {
        let bytes = self.0.lock().expect("no writer panics").clone();
        String::from_utf8(bytes).expect("lines are text")
    }

    /// The lines in which all of this stands.
    pub(crate) fn lines(&self, words: &[&str]) -> Vec<String> {
        let text = self.text();
        let fits = |line: &&str| words.iter().all(|word| line.contains(word));
        text.lines().filter(fits).map(str::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .expect("no writer panics")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// More than any test writes.
const JOURNAL_LINES_MAX: usize = 10_000;

/// A channel that a process writes what happened to.
pub(crate) fn journal<T>() -> (Pen<T>, Journal<T>) {
    let (sender, receiver) = mpsc::channel(JOURNAL_LINES_MAX);
    (Pen(sender), Journal(receiver))
}

/// Writes a journal.
#[derive(Debug)]
pub(crate) struct Pen<T>(mpsc::Sender<T>);

impl<T> Clone for Pen<T> {
    fn clone(&self) -> Pen<T> {
        Pen(self.0.clone())
    }
}

impl<T> Pen<T> {
    /// Fails when nobody reads the journal any more.
    pub(crate) fn send(&self, line: T) -> Result<(), &'static str> {
        self.0.try_send(line).map_err(|_| "the journal is closed")
    }
}

pub(crate) struct Journal<T>(mpsc::Receiver<T>);

impl<T> Journal<T> {
    pub(crate) async fn next(&mut self, system: &System) -> T {
        soon(system, self.0.recv())
            .await
            .expect("the journal is still written")
    }

    pub(crate) fn rest(&mut self) -> Vec<T> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }
}

/// What the worker of the supervisor tests understands.
#[derive(Debug)]
pub(crate) enum Message {
    Pid(ReplyTo<mesh_runtime::Pid>),
    Add(u64),
    Total(ReplyTo<u64>),
    Stop(ExitReason),
    Panic(String),
    PanicInCall(ReplyTo<()>),
    Hold(ReplyTo<()>),
}

/// What it writes to its journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Started(&'static str),
    Terminated(&'static str, String),
}

#[derive(Clone, Debug)]
pub(crate) struct Args {
    pub(crate) name: &'static str,
    pub(crate) journal: Pen<Life>,
    pub(crate) trap: bool,
}

/// A worker that counts, crashes on demand and keeps a journal.
#[derive(Debug)]
pub(crate) struct Worker {
    args: Args,
    total: u64,
    held: Vec<ReplyTo<()>>,
}

impl Actor for Worker {
    type Args = Args;
    type Message = Message;

    async fn init(args: Args, cx: &mut Context<Message>) -> Result<Self, ExitReason> {
        cx.trap_exit(args.trap);
        args.journal
            .send(Life::Started(args.name))
            .map_err(ExitReason::error)?;
        Ok(Worker {
            args,
            total: 0,
            held: Vec::new(),
        })
    }

    async fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Flow {
        match message {
            Message::Pid(to) => to.reply(cx.pid()),
            Message::Add(n) => self.total += n,
            Message::Total(to) => to.reply(self.total),
            Message::Stop(reason) => return Flow::Stop(reason),
            Message::Panic(text) => panic!("{text}"),
            Message::PanicInCall(_to) => panic!("in the middle of a call"),
            Message::Hold(to) => self.held.push(to),
        }
        Flow::Continue
    }

    async fn handle_signal(&mut self, signal: Signal, _cx: &mut Context<Message>) -> Flow {
        match signal {
            Signal::Exit { reason, .. } => Flow::Stop(reason),
            _ => Flow::Continue,
        }
    }

    async fn terminate(&mut self, reason: &ExitReason, _cx: &mut Context<Message>) {
        let _ = self
            .args
            .journal
            .send(Life::Terminated(self.args.name, reason.to_string()));
    }
}

pub(crate) fn worker(name: &'static str, journal: &Pen<Life>) -> ChildSpec {
    ChildSpec::worker::<Worker>(
        name,
        Args {
            name,
            journal: journal.clone(),
            trap: true,
        },
    )
}

pub(crate) async fn supervise(system: &System, tree: Supervisor) -> SupervisorHandle {
    soon(system, system.supervise(tree))
        .await
        .expect("the tree starts")
}

pub(crate) fn address(system: &System, name: &str) -> Address<Message> {
    system
        .whereis(name)
        .expect("the child is registered under its id")
}

/// Sends to a supervised child and waits until its life is over.
pub(crate) async fn crash(system: &System, name: &str, message: Message) -> ExitReason {
    let address = address(system, name);
    let pid = soon(system, address.call(Message::Pid))
        .await
        .expect("the child lives");
    let ended = system.wait_for_exit(pid);
    let mut ended = std::pin::pin!(ended);
    // Registers the monitor before the crash.
    assert!(
        std::future::poll_fn(|cx| std::task::Poll::Ready(ended.as_mut().poll(cx).is_pending()))
            .await
    );
    address.send(message).expect("the child takes messages");
    soon(system, ended).await
}

/// The total of a child, through whatever life is behind its address.
pub(crate) async fn total(system: &System, name: &str) -> Result<u64, CallError> {
    soon(system, address(system, name).call(Message::Total)).await
}
