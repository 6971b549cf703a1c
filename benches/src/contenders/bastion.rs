//! bastion 0.4.5: one global system; a process is a child of a group, a message is matched by its type when it comes.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once};

use bastion::prelude::{
    AnswerSender, Bastion as Global, BastionContext, ChildRef, ChildrenRef, Config, MessageHandler,
    RestartPolicy, RestartStrategy, SignedMessage,
};
use bytes::Bytes;

use crate::contender::{
    Births, Broadcasts, Crashes, Done, Echoes, FLOOD, Floods, Library, Life, Member, Rings, Sinks,
    Spawns, Tally,
};

const LIVES: &str = "the child lives";

static STARTED: Once = Once::new();

#[derive(Clone)]
pub(crate) struct Bastion;

impl Library for Bastion {
    fn new() -> Bastion {
        STARTED.call_once(|| {
            Global::init_with(Config::new().hide_backtraces());
            Global::start();
        });
        Bastion
    }
}

/// A group of one.
fn start<F, Fut>(body: F) -> ChildRef
where
    F: Fn(BastionContext) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), ()>> + Send + 'static,
{
    let group = Global::children(|group| group.with_exec(body)).expect("the group starts");
    group.elems()[0].clone()
}

fn tell<M: Send + Sync + fmt::Debug + 'static>(child: &ChildRef, message: M) {
    child.tell_anonymously(message).expect(LIVES);
}

/// What was told, when it is of the type that is expected.
fn told<M: Send + Sync + fmt::Debug + 'static>(message: SignedMessage) -> M {
    MessageHandler::new(message)
        .on_tell(|message: M, _| message)
        .on_fallback(|_, _| panic!("a message of another type"))
}

/// A body may be run again, so it is a `Fn`; its state is there for its first life.
fn once<S>(state: S) -> Arc<Mutex<Option<S>>> {
    Arc::new(Mutex::new(Some(state)))
}

fn take<S>(state: &Mutex<Option<S>>) -> S {
    let state = state.lock().expect("nobody panics with it").take();
    state.expect("it lives once")
}

impl Sinks for Bastion {
    type Sink = ChildRef;

    async fn sink(&self, tally: Tally) -> ChildRef {
        let tally = once(tally);
        start(move |cx| {
            let mut tally = take(&tally);
            async move {
                while !tally.add(told(cx.recv().await?)) {}
                Ok(())
            }
        })
    }

    async fn tell(sink: &ChildRef, number: u64) {
        tell(sink, number);
    }
}

impl Echoes for Bastion {
    type Echo = ChildRef;

    async fn echo(&self) -> ChildRef {
        start(|cx| async move {
            loop {
                let (number, sender): (u64, AnswerSender) = MessageHandler::new(cx.recv().await?)
                    .on_question(|number: u64, sender| (number, sender))
                    .on_fallback(|_, _| panic!("a message of another type"));
                sender.reply(number * 2).expect("the caller waits");
            }
        })
    }

    async fn call(echo: &ChildRef, number: u64) -> u64 {
        let answer = echo.ask_anonymously(number).expect(LIVES);
        told(answer.await.expect("the child answers"))
    }
}

impl Floods for Bastion {
    async fn flood(&self, waiting: u64, taken: Arc<AtomicU64>) {
        let flooded = start(move |cx| {
            let taken = taken.clone();
            async move {
                loop {
                    let number: u64 = told(cx.recv().await?);
                    taken.fetch_add(1, Ordering::Relaxed);
                    if FLOOD.load(Ordering::Relaxed) {
                        tell(cx.current(), number);
                    }
                }
            }
        });
        for number in 0..waiting {
            tell(&flooded, number);
        }
    }
}

#[derive(Debug)]
enum Hop {
    Close(ChildRef),
    Token(u64),
}

impl Rings for Bastion {
    type Node = ChildRef;

    async fn node(&self, next: Option<ChildRef>, done: Option<Done>) -> ChildRef {
        let state = once((next, done));
        start(move |cx| {
            let (mut next, mut done) = take(&state);
            async move {
                loop {
                    match told(cx.recv().await?) {
                        Hop::Close(first) => next = Some(first),
                        Hop::Token(0) => {
                            let done = done.take().expect("the token ends where it began");
                            done.send(0).expect("the row waits");
                        }
                        Hop::Token(hops) => {
                            let next = next.as_ref().expect("the ring is closed");
                            tell(next, Hop::Token(hops - 1));
                        }
                    }
                }
            }
        })
    }

    async fn close(first: &ChildRef, next: ChildRef) {
        tell(first, Hop::Close(next));
    }

    async fn pass(node: &ChildRef, hops: u64) {
        tell(node, Hop::Token(hops));
    }
}

impl Spawns for Bastion {
    type Process = ChildRef;

    async fn spawn(&self, life: Life) -> ChildRef {
        let life = once(life);
        start(move |cx| {
            let life = take(&life);
            async move {
                life.begin();
                told::<u64>(cx.recv().await?);
                drop(life);
                Ok(())
            }
        })
    }

    async fn stop(process: ChildRef) {
        tell(&process, 0_u64);
    }
}

impl Crashes for Bastion {
    async fn crash(&self, births: Births) {
        let body = move |cx: BastionContext| {
            let births = births.clone();
            async move {
                if births.crashes() {
                    tell(cx.current(), 0_u64);
                }
                told::<u64>(cx.recv().await?);
                panic!("as it was told");
            }
        };
        let always = RestartStrategy::default().with_restart_policy(RestartPolicy::Always);
        let supervisor = Global::supervisor(move |top| {
            let top = top.with_restart_strategy(always.clone());
            top.children(|group| group.with_exec(body.clone()))
        });
        supervisor.expect("the supervisor starts");
    }
}

impl Broadcasts for Bastion {
    type Room = ChildrenRef;

    async fn room(
        &self,
        members: usize,
        member: impl Fn() -> Member + Send + Sync + 'static,
    ) -> ChildrenRef {
        let body = move |cx: BastionContext| {
            let mut member = member();
            async move {
                loop {
                    MessageHandler::new(cx.recv().await?)
                        .on_broadcast(|frame: &Bytes, _| member.take(frame))
                        .on_fallback(|_, _| panic!("a message of another type"));
                }
            }
        };
        let group = Global::children(|group| group.with_redundancy(members).with_exec(body));
        group.expect("the group starts")
    }

    async fn broadcast(room: &ChildrenRef, frame: Bytes) {
        room.broadcast(frame).expect(LIVES);
    }
}
