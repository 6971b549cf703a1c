//! `Actor`: the behaviour of a process that is a state and callbacks.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::error::StartError;
use crate::exit::ExitReason;
use crate::mailbox::Capacity;
use crate::pid::Pid;
use crate::process::context::{Context, Event, Work};
use crate::process::home::Home;
use crate::process::{Birth, run, spawn};
use crate::reply_to;
use crate::signal::Signal;

/// Whether a process goes on after a callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Takes the next message.
    Continue,
    /// Ends with this reason, after `terminate`.
    Stop(ExitReason),
}

/// A process as state and callbacks: OTP's gen_server without the macros.
///
/// Implementations write `async fn`. A call is a message that carries a [`ReplyTo`](crate::ReplyTo).
pub trait Actor: Sized + Send + 'static {
    /// What `init` is given, again at every restart.
    type Args: Send + 'static;
    /// Everything the process understands.
    type Message: Send + 'static;

    /// Builds the state. Whoever starts the process waits for it; its error is the start's error.
    fn init(
        args: Self::Args,
        cx: &mut Context<Self::Message>,
    ) -> impl Future<Output = Result<Self, ExitReason>> + Send;

    /// Work after the starter has gone on and before the first message: gen_server's `handle_continue`.
    fn started(&mut self, _cx: &mut Context<Self::Message>) -> impl Future<Output = Flow> + Send {
        async { Flow::Continue }
    }

    /// One message.
    fn handle(
        &mut self,
        message: Self::Message,
        cx: &mut Context<Self::Message>,
    ) -> impl Future<Output = Flow> + Send;

    /// A trapped exit or the `Down` of a monitor. Unless overridden, a trapped exit stops the process.
    fn handle_signal(
        &mut self,
        signal: Signal,
        _cx: &mut Context<Self::Message>,
    ) -> impl Future<Output = Flow> + Send {
        let flow = match signal {
            Signal::Exit { reason, .. } => Flow::Stop(reason),
            Signal::Down { .. } => Flow::Continue,
        };
        async move { flow }
    }

    /// Cleans up. Runs after a stop and after a panic of a callback; not after a kill or an untrapped exit signal, as OTP.
    fn terminate(
        &mut self,
        _reason: &ExitReason,
        _cx: &mut Context<Self::Message>,
    ) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// The bound of the mailbox and what happens at it.
    #[must_use]
    fn mailbox() -> Capacity {
        Capacity::default()
    }
}

/// A life that is about to begin.
pub(crate) struct Starting {
    pub(crate) pid: Pid,
    ready: oneshot::Receiver<Result<(), StartError>>,
    ended: oneshot::Receiver<ExitReason>,
}

/// The life's end of a [`Starting`].
pub(crate) type Ready = oneshot::Sender<Result<(), StartError>>;

impl Starting {
    /// Prepares a birth that reports back, and builds the `Starting` once the pid is known.
    pub(crate) fn prepare(birth: Birth) -> (Birth, Ready, impl FnOnce(Pid) -> Starting) {
        let (ready_sender, ready) = oneshot::channel();
        let (witness, ended) = oneshot::channel();
        let birth = Birth {
            witness: Some(witness),
            ..birth
        };
        (birth, ready_sender, move |pid| Starting {
            pid,
            ready,
            ended,
        })
    }

    /// Waits until the start has succeeded or failed.
    pub(crate) async fn finish(self) -> Result<Pid, StartError> {
        match self.ready.await {
            Ok(Ok(())) => Ok(self.pid),
            Ok(Err(error)) => {
                drop(self.ended.await);
                Err(error)
            }
            Err(_) => {
                let reason = self.ended.await.unwrap_or_else(|_| ExitReason::killed());
                Err(StartError::Failed {
                    child: None,
                    reason,
                })
            }
        }
    }
}

/// Begins a life of an actor behind `home`.
pub(crate) fn start<A: Actor>(
    home: &Arc<Home<A::Message>>,
    birth: Birth,
    args: A::Args,
) -> Starting {
    let (birth, ready, starting) = Starting::prepare(Birth {
        behaviour: Some(std::any::type_name::<A>),
        answers: true,
        ..birth
    });
    starting(spawn(home, birth, move |context| {
        live::<A>(args, ready, context)
    }))
}

/// A block that uses what it has caught where it lies: an async function would keep its arguments a second time for as long as it runs.
#[expect(
    clippy::manual_async_fn,
    reason = "an async function keeps its arguments twice"
)]
fn live<A: Actor>(
    args: A::Args,
    ready: Ready,
    mut context: Context<A::Message>,
) -> impl Future<Output = ExitReason> + Send {
    async move {
        let cx = &mut context;
        let mut actor = match begin::<A>(args, cx).await {
            Ok(actor) => actor,
            Err(reason) => return reason,
        };
        // The starter may have given up waiting; the process lives all the same.
        drop(ready.send(Ok(())));
        cx.forget_witness();
        let served = run::isolate(pin!(Some(serve(&mut actor, cx)))).await;
        let (Ok(reason) | Err(reason)) = served;
        reply_to::begin_to_end();
        let cleaned = run::isolate(pin!(Some(actor.terminate(&reason, cx)))).await;
        cleaned.err().unwrap_or(reason)
    }
}

async fn begin<A: Actor>(args: A::Args, cx: &mut Context<A::Message>) -> Result<A, ExitReason> {
    run::isolate(pin!(Some(A::init(args, cx)))).await.flatten()
}

async fn serve<A: Actor>(actor: &mut A, cx: &mut Context<A::Message>) -> ExitReason {
    if let Flow::Stop(reason) = actor.started(cx).await {
        return reason;
    }
    loop {
        let flow = match cx.receive_work(true).await {
            Work::Event(Event::Message(message)) => actor.handle(message, cx).await,
            // As gen_server: the parent is obeyed, whatever the process traps.
            Work::Event(Event::Signal(Signal::Exit { from, reason }))
                if cx.parent() == Some(from) =>
            {
                return reason;
            }
            Work::Event(Event::Signal(signal)) => actor.handle_signal(signal, cx).await,
            Work::Question(question) => {
                question.ask(actor);
                Flow::Continue
            }
        };
        if let Flow::Stop(reason) = flow {
            return reason;
        }
    }
}
