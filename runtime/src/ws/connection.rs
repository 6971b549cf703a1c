//! The connection process: one WebSocket, its handler and its mailbox, and one orderly end.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_websockets::Message;

use super::outbox::{Outbox, Overrun};
use super::outgoing::text;
use super::side::{Side, Told};
use super::wire::{Ending, Wire};
use super::{Close, Next, Options, Socket};
use crate::http::stopping::Stopping;
use crate::http::upgrade::Taken;
use crate::limits::REDUCTIONS_PER_MESSAGE;
use crate::process::run::isolate;
use crate::room::Member;
use crate::telemetry::count;
use crate::{
    Address, ChildSpec, Context, Event, ExitKind, ExitReason, NameError, Pid, RestartType,
    ShutdownType, Signal, System, TimerRef,
};

/// What a callback may do: send to the peer, join rooms, set timers, tell others its address.
pub struct Connection<M: Send + 'static> {
    context: Context<M>,
    /// Shared with the peer's side, which sends while a callback runs, and with the rooms.
    outbox: Arc<Outbox>,
    protocol: Option<Box<str>>,
}

impl<M: Send + 'static> Connection<M> {
    /// Where other processes send messages for [`Socket::on_info`].
    #[must_use]
    pub fn address(&self) -> Address<M> {
        self.context.address()
    }

    /// This process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.context.pid()
    }

    /// The system it runs in.
    #[must_use]
    pub fn system(&self) -> System {
        self.context.system()
    }

    /// The sub-protocol agreed on, one of [`Options::protocols`].
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// Queues a text frame for the peer; never waits. `payload` must be UTF-8.
    pub fn send_text(&mut self, payload: impl Into<Bytes>) {
        self.outbox.send(text(payload.into()));
    }

    /// Queues a binary frame for the peer; never waits.
    pub fn send_binary(&mut self, payload: impl Into<Bytes>) {
        self.outbox.send(Message::binary(payload.into()));
    }

    /// Joins a room: each broadcast there goes to the peer as a text frame, made once for all peers, past the handler. Left when the
    /// connection ends.
    ///
    /// # Errors
    /// As [`Rooms::join`](crate::Rooms::join).
    pub fn join(&mut self, room: &str) -> Result<(), NameError> {
        let kernel = self.context.home().kernel();
        let member = || -> Arc<dyn Member> { self.outbox.clone() };
        self.system()
            .rooms()
            .admit(room, kernel, self.pid(), member)
    }

    /// Leaves a room. Whether it was joined.
    pub fn leave(&mut self, room: &str) -> bool {
        self.system().rooms().leave(room, self.pid())
    }

    /// Sends `message` to [`Socket::on_info`] after `delay`.
    pub fn send_after(&mut self, delay: Duration, message: M) -> TimerRef {
        let address = self.context.address();
        self.context.send_after(&address, delay, message)
    }

    /// Cancels a timer; the time that was left, if it had not fired.
    pub fn cancel(&mut self, timer: TimerRef) -> Option<Duration> {
        self.context.cancel(timer)
    }
}

impl<M: Send + 'static> fmt::Debug for Connection<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("pid", &self.context.pid())
            .finish_non_exhaustive()
    }
}

/// The child that runs `H` on an upgraded stream. Temporary: a stream that ended cannot be restarted.
pub(super) fn child<H: Socket>(
    stream: Taken,
    draining: watch::Receiver<bool>,
    args: H::Args,
    options: Options,
    protocol: Option<String>,
) -> ChildSpec {
    let stop_timeout = options.close_timeout;
    let protocol = protocol.map(String::into_boxed_str);
    let start = Mutex::new(Some((stream, draining, args, options, protocol)));
    // Without an id the dynamic supervisor gives it a fresh one.
    ChildSpec::process("", move |context: Context<H::Message>| {
        let start = start.lock().take();
        async move {
            match start {
                Some((stream, draining, args, options, protocol)) => {
                    run::<H>(context, stream, draining, args, options, protocol).await
                }
                None => ExitReason::normal(),
            }
        }
    })
    .restart(RestartType::Temporary)
    .shutdown(ShutdownType::Timeout(stop_timeout))
    .unregistered()
}

/// Why the conversation is over.
enum Over {
    /// By a close from either side, and the reason the process ends with.
    Closed(Ending, ExitReason),
    /// By a panic in a callback.
    Crashed(ExitReason),
}

impl Over {
    fn by_us(close: Close, reason: ExitReason) -> Self {
        Self::Closed(Ending { close, ours: true }, reason)
    }
}

async fn run<H: Socket>(
    mut context: Context<H::Message>,
    stream: Taken,
    draining: watch::Receiver<bool>,
    args: H::Args,
    options: Options,
    protocol: Option<Box<str>>,
) -> ExitReason {
    context.trap_exit(true);
    context.set_label("websocket");
    let outbox = Outbox::new(&options);
    let wire = Wire::new(stream, &options, context.system(), outbox.clone());
    let mut side = Side::new(wire, outbox.clone());
    let mut cx = Connection {
        context,
        outbox,
        protocol,
    };
    let admitted = side
        .during(isolate(pin!(Some(H::on_connect(args, &mut cx)))))
        .await;
    let mut handler = match admitted {
        Ok(Ok(handler)) => handler,
        Ok(Err(close)) => {
            side.finish(&Ending { close, ours: true }).await;
            return ExitReason::normal();
        }
        Err(panic) => return crash(&mut side, panic).await,
    };
    match converse(&mut handler, &mut cx, &mut side, draining).await {
        Over::Closed(ending, reason) => {
            // What is broadcast from here on is not for this peer. The handler hears of the end before the peer has answered, which
            // may take as long as the close timeout.
            side.hear_no_more();
            let heard = async { handler.on_close(ending.close.code, &ending.close.reason) };
            let heard = isolate(pin!(Some(heard))).await;
            drop(handler);
            side.finish(&ending).await;
            heard.err().unwrap_or(reason)
        }
        Over::Crashed(panic) => {
            side.hear_no_more();
            crash(&mut side, panic).await
        }
    }
}

/// Tells the peer, then lets the process end as its panic wants.
async fn crash(side: &mut Side, panic: ExitReason) -> ExitReason {
    let close = Close::new(Close::CRASHED, "internal error");
    side.finish(&Ending { close, ours: true }).await;
    panic
}

/// What happened on either side of the process.
enum Happened<M> {
    Peer(Told),
    Inside(Event<M>),
    Draining,
}

async fn converse<H: Socket>(
    handler: &mut H,
    cx: &mut Connection<H::Message>,
    side: &mut Side,
    draining: watch::Receiver<bool>,
) -> Over {
    let mut stopping = Stopping::new(draining);
    let mut inside_first = false;
    loop {
        let happened = wait(&mut cx.context, side, &mut stopping, inside_first).await;
        inside_first = matches!(happened, Happened::Peer(_));
        let next = match happened {
            Happened::Peer(Told::Frame(frame)) => {
                cx.context.consume_budget(REDUCTIONS_PER_MESSAGE).await;
                let callback = pin!(Some(handler.on_message(frame, cx)));
                side.during(isolate(callback)).await
            }
            Happened::Peer(Told::Over(ending)) => {
                return Over::Closed(ending, ExitReason::normal());
            }
            Happened::Inside(Event::Message(message)) => {
                let callback = pin!(Some(handler.on_info(message, cx)));
                side.during(isolate(callback)).await
            }
            Happened::Inside(Event::Signal(Signal::Exit { reason, .. })) => match reason.kind() {
                ExitKind::Normal => Ok(Next::Continue),
                ExitKind::Shutdown => return going_away(reason),
                ExitKind::TooSlow => return too_slow(cx, reason),
                _ => {
                    let close = Close::new(Close::CRASHED, "internal error");
                    return Over::by_us(close, reason);
                }
            },
            Happened::Inside(Event::Signal(_)) => Ok(Next::Continue),
            Happened::Peer(Told::TooSlow(overrun)) => {
                if overrun == Overrun::Uncounted {
                    let counters = cx.context.home().kernel().counters();
                    count(&counters.room_members_disconnected);
                }
                return too_slow(cx, ExitReason::too_slow());
            }
            Happened::Draining => return going_away(ExitReason::normal()),
        };
        match next {
            Ok(Next::Continue) => {}
            Ok(Next::Close(code, reason)) => {
                return Over::by_us(Close::new(code, reason), ExitReason::normal());
            }
            Err(panic) => return Over::Crashed(panic),
        }
    }
}

fn going_away(reason: ExitReason) -> Over {
    Over::by_us(
        Close::new(Close::GOING_AWAY, "the server is stopping"),
        reason,
    )
}

/// The close frame goes before all that waits: it would wait behind what the peer does not take.
fn too_slow<M: Send + 'static>(cx: &Connection<M>, reason: ExitReason) -> Over {
    cx.outbox.clear();
    let close = Close::new(Close::TRY_AGAIN_LATER, "too slow for a room");
    Over::by_us(close, reason)
}

/// Waits for what comes first. The two sides take turns in being looked at first, so that neither a talkative peer nor a flooded
/// mailbox starves the other.
async fn wait<M: Send + 'static>(
    context: &mut Context<M>,
    side: &mut Side,
    stopping: &mut Stopping,
    inside_first: bool,
) -> Happened<M> {
    let mut inside = pin!(context.receive_event());
    poll_fn(|task| {
        if inside_first && let Poll::Ready(event) = inside.as_mut().poll(task) {
            return Poll::Ready(Happened::Inside(event));
        }
        if let Poll::Ready(told) = side.poll_told(task) {
            return Poll::Ready(Happened::Peer(told));
        }
        if !inside_first && let Poll::Ready(event) = inside.as_mut().poll(task) {
            return Poll::Ready(Happened::Inside(event));
        }
        stopping.poll(task).map(|()| Happened::Draining)
    })
    .await
}
