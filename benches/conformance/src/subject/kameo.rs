//! kameo under the scenarios.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kameo::actor::{Actor, ActorId, ActorRef, PreparedActor, Spawn, WeakActorRef};
use kameo::error::{ActorStopReason, SendError};
use kameo::mailbox;
use kameo::message::{Context, Message};
use kameo::supervision::{RestartPolicy, SupervisionStrategy};

use super::{
    Answer, BOUND, Command, Next, Outcome, Plan, Refusal, Restart, SelfCall, Spec, State, Strategy,
    Subject, Verdict, WITHIN, differs, missing,
};

pub(crate) struct Kameo;

/// kameo wants errors of its own type.
#[derive(Debug)]
pub(crate) struct Failure(#[allow(dead_code)] String);

pub(crate) struct Worker {
    state: State,
    traps: bool,
}

impl Actor for Worker {
    type Args = Spec;
    type Error = Failure;

    async fn on_start(spec: Spec, _me: ActorRef<Self>) -> Result<Self, Failure> {
        let state = State::start(spec).map_err(Failure)?;
        Ok(Worker {
            state,
            traps: false,
        })
    }

    async fn on_link_died(
        &mut self,
        _me: WeakActorRef<Self>,
        id: ActorId,
        reason: ActorStopReason,
    ) -> Result<ControlFlow<ActorStopReason>, Failure> {
        if self.traps {
            self.state.write("exit");
            return Ok(ControlFlow::Continue(()));
        }
        // What the default does.
        Ok(match reason {
            ActorStopReason::Normal | ActorStopReason::SupervisorRestart => {
                ControlFlow::Continue(())
            }
            reason => ControlFlow::Break(ActorStopReason::LinkDied {
                id,
                reason: Box::new(reason),
            }),
        })
    }

    async fn on_stop(
        &mut self,
        _me: WeakActorRef<Self>,
        _reason: ActorStopReason,
    ) -> Result<(), Failure> {
        self.state.stopped().await;
        Ok(())
    }
}

impl Message<Command> for Worker {
    type Reply = Result<u64, Failure>;

    async fn handle(
        &mut self,
        command: Command,
        cx: &mut Context<Self, Self::Reply>,
    ) -> Result<u64, Failure> {
        match self.state.handle(command).await {
            Next::Reply(value) => Ok(value),
            Next::Stop => {
                cx.stop();
                Ok(0)
            }
            Next::Fail => Err(Failure("told to".to_owned())),
            Next::CallSelf => {
                let me = cx.actor_ref().clone();
                let call = me.ask(Command::Total).reply_timeout(SelfCall::LIMIT);
                Ok(match call.send().await {
                    Err(SendError::Timeout(_)) => SelfCall::TIMEOUT,
                    Err(_) => SelfCall::REFUSED,
                    Ok(_) => SelfCall::OTHER,
                })
            }
            Next::Trap => {
                self.traps = true;
                Ok(0)
            }
        }
    }
}

type Children = Arc<Mutex<HashMap<&'static str, ActorRef<Worker>>>>;

/// A supervisor: in kameo its strategy belongs to its type.
pub(crate) struct Boss<const STRATEGY: u8>;

const ONE_FOR_ONE: u8 = 0;
const ONE_FOR_ALL: u8 = 1;
const REST_FOR_ONE: u8 = 2;

impl<const STRATEGY: u8> Actor for Boss<STRATEGY> {
    type Args = (Plan, Children);
    type Error = Failure;

    fn supervision_strategy() -> SupervisionStrategy {
        match STRATEGY {
            ONE_FOR_ONE => SupervisionStrategy::OneForOne,
            ONE_FOR_ALL => SupervisionStrategy::OneForAll,
            _ => SupervisionStrategy::RestForOne,
        }
    }

    async fn on_start(
        (plan, children): (Plan, Children),
        me: ActorRef<Self>,
    ) -> Result<Self, Failure> {
        for spec in plan.children {
            let restart = match spec.restart {
                Restart::Permanent => RestartPolicy::Permanent,
                Restart::Transient => RestartPolicy::Transient,
                Restart::Temporary => RestartPolicy::Never,
            };
            let id = spec.id;
            let child = Worker::supervise(&me, spec)
                .restart_policy(restart)
                .restart_limit(plan.restarts_max, WITHIN)
                .spawn()
                .await;
            child.wait_for_startup().await;
            let mut known = children.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(id, child);
        }
        Ok(Boss)
    }
}

/// The supervisor above a nested one.
pub(crate) struct Chief;

impl Actor for Chief {
    type Args = (Plan, Children);
    type Error = Failure;

    async fn on_start(args: (Plan, Children), me: ActorRef<Self>) -> Result<Self, Failure> {
        let boss = Boss::<ONE_FOR_ONE>::supervise(&me, args).spawn().await;
        boss.wait_for_startup().await;
        Ok(Chief)
    }
}

pub(crate) enum Top {
    Chief(ActorRef<Chief>),
    One(ActorRef<Boss<ONE_FOR_ONE>>),
    All(ActorRef<Boss<ONE_FOR_ALL>>),
    Rest(ActorRef<Boss<REST_FOR_ONE>>),
}

pub(crate) struct Tree {
    top: Top,
    children: Children,
}

async fn started<A: Actor<Error = Failure>>(actor: ActorRef<A>) -> Outcome<ActorRef<A>> {
    match actor
        .wait_for_startup_with_result(|result| result.err().map(|e| format!("{e:?}")))
        .await
    {
        None => Ok(actor),
        Some(error) => Err(Verdict::NotStarted(error)),
    }
}

impl Subject for Kameo {
    const NAME: &'static str = "kameo";
    type Tree = Tree;
    type Worker = ActorRef<Worker>;

    fn new() -> Kameo {
        Kameo
    }

    async fn supervise(&self, plan: Plan) -> Outcome<Tree> {
        let children = Children::default();
        let args = (plan.clone(), children.clone());
        let top = if plan.nested {
            Top::Chief(started(Chief::spawn(args)).await?)
        } else {
            match plan.strategy {
                Strategy::OneForOne => Top::One(started(Boss::spawn(args)).await?),
                Strategy::OneForAll => Top::All(started(Boss::spawn(args)).await?),
                Strategy::RestForOne => Top::Rest(started(Boss::spawn(args)).await?),
            }
        };
        Ok(Tree { top, children })
    }

    fn child(&self, tree: &Tree, id: &str) -> Outcome<ActorRef<Worker>> {
        let children = tree.children.lock().unwrap_or_else(PoisonError::into_inner);
        children
            .get(id)
            .cloned()
            .map_or_else(|| differs("no such child"), Ok)
    }

    async fn stop(&self, tree: Tree) -> Outcome {
        let asked = match &tree.top {
            Top::Chief(top) => top.stop_gracefully().await,
            Top::One(top) => top.stop_gracefully().await,
            Top::All(top) => top.stop_gracefully().await,
            Top::Rest(top) => top.stop_gracefully().await,
        };
        asked.or_else(differs)
    }

    async fn spawn(&self, spec: Spec) -> Outcome<ActorRef<Worker>> {
        started(Worker::spawn(spec)).await
    }

    async fn spawn_bounded(&self, spec: Spec) -> Outcome<ActorRef<Worker>> {
        let prepared = PreparedActor::new(mailbox::bounded(BOUND));
        let worker = prepared.actor_ref().clone();
        drop(prepared.spawn(spec));
        started(worker).await
    }

    async fn spawn_named(&self, spec: Spec, name: &'static str) -> Outcome<ActorRef<Worker>> {
        let worker = self.spawn(spec).await?;
        worker.register(name).or_else(differs)?;
        Ok(worker)
    }

    fn whereis(&self, name: &'static str) -> bool {
        ActorRef::<Worker>::lookup(name).is_ok_and(|found| found.is_some())
    }

    fn tell(&self, worker: &ActorRef<Worker>, command: Command) -> Result<(), Refusal> {
        worker
            .tell(command)
            .try_send()
            .map_err(|error| match error {
                SendError::MailboxFull(back) => Refusal::Full {
                    given_back: back == command,
                },
                _ => Refusal::Gone,
            })
    }

    async fn ask(&self, worker: &ActorRef<Worker>, command: Command, limit: Duration) -> Answer {
        match worker.ask(command).reply_timeout(limit).send().await {
            Ok(value) => Answer::Value(value),
            Err(SendError::Timeout(_)) => Answer::Timeout,
            Err(error) => Answer::Ended(format!("{error:?}")),
        }
    }

    fn kill(&self, worker: &ActorRef<Worker>) -> Outcome {
        worker.kill();
        Ok(())
    }

    async fn link(&self, a: &ActorRef<Worker>, b: &ActorRef<Worker>) -> Outcome {
        a.link(b).await;
        Ok(())
    }

    async fn monitor(&self, _: &ActorRef<Worker>, _: &ActorRef<Worker>) -> Outcome {
        missing("links only; from outside `wait_for_shutdown`")
    }
}
