//! ractor under the scenarios. It tells a supervisor what became of its children; restarting them is left to the user.

use std::collections::HashMap;
use std::time::Duration;

use ractor::rpc::CallResult;
use ractor::{
    Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SpawnErr, SupervisionEvent,
};

use super::{
    Answer, Command, Next, Outcome, Plan, Refusal, Restart, SelfCall, Spec, State, Subject,
    Verdict, differs, missing,
};

pub(crate) struct Ractor;

pub(crate) enum Message {
    Tell(Command),
    Ask(Command, RpcReplyPort<u64>),
    Monitor(ActorCell, RpcReplyPort<()>),
}

struct Worker;

pub(crate) struct Life {
    state: State,
    traps: bool,
    watches: bool,
}

impl Actor for Worker {
    type Msg = Message;
    type State = Life;
    type Arguments = Spec;

    async fn pre_start(
        &self,
        _me: ActorRef<Message>,
        spec: Spec,
    ) -> Result<Life, ActorProcessingErr> {
        Ok(Life {
            state: State::start(spec)?,
            traps: false,
            watches: false,
        })
    }

    async fn post_stop(
        &self,
        _me: ActorRef<Message>,
        life: &mut Life,
    ) -> Result<(), ActorProcessingErr> {
        life.state.stopped().await;
        Ok(())
    }

    async fn handle(
        &self,
        me: ActorRef<Message>,
        message: Message,
        life: &mut Life,
    ) -> Result<(), ActorProcessingErr> {
        let (command, port) = match message {
            Message::Tell(command) => (command, None),
            Message::Ask(command, port) => (command, Some(port)),
            Message::Monitor(target, port) => {
                life.watches = true;
                me.get_cell().monitor(target);
                return Ok(port.send(())?);
            }
        };
        let value = match life.state.handle(command).await {
            Next::Reply(value) => value,
            Next::Stop => {
                me.stop(None);
                0
            }
            Next::Fail => return Err("told to".into()),
            Next::CallSelf => {
                let ask = |port| Message::Ask(Command::Total, port);
                match me.call(ask, Some(SelfCall::LIMIT)).await {
                    Ok(CallResult::Timeout) => SelfCall::TIMEOUT,
                    Err(_) => SelfCall::REFUSED,
                    Ok(_) => SelfCall::OTHER,
                }
            }
            Next::Trap => {
                life.traps = true;
                0
            }
        };
        if let Some(port) = port {
            // The caller may have given up.
            drop(port.send(value));
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<Message>,
        event: SupervisionEvent,
        life: &mut Life,
    ) -> Result<(), ActorProcessingErr> {
        let ended = matches!(
            event,
            SupervisionEvent::ActorTerminated(..) | SupervisionEvent::ActorFailed(..)
        );
        if ended && life.watches {
            life.state.write("down");
        } else if ended && life.traps {
            life.state.write("exit");
        } else if ended {
            // What the default does.
            me.stop(None);
        }
        Ok(())
    }
}

/// A supervisor with the default handler, which stops with any of its children.
struct Boss;

impl Actor for Boss {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _me: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

pub(crate) struct Tree {
    boss: ActorRef<()>,
    children: HashMap<&'static str, ActorRef<Message>>,
}

fn not_started(error: &SpawnErr) -> Verdict {
    Verdict::NotStarted(error.to_string())
}

impl Subject for Ractor {
    const NAME: &'static str = "ractor";
    type Tree = Tree;
    type Worker = ActorRef<Message>;

    fn new() -> Ractor {
        Ractor
    }

    async fn supervise(&self, plan: Plan) -> Outcome<Tree> {
        let temporary = |spec: &Spec| spec.restart == Restart::Temporary;
        if !plan.children.iter().all(temporary) {
            return missing("the supervisor is told, its author restarts");
        }
        let boss = Actor::spawn(None, Boss, ()).await;
        let (boss, _) = boss.map_err(|error| not_started(&error))?;
        let mut children = HashMap::new();
        for spec in plan.children {
            let id = spec.id;
            let child = Actor::spawn_linked(None, Worker, spec, boss.get_cell()).await;
            children.insert(id, child.map_err(|error| not_started(&error))?.0);
        }
        Ok(Tree { boss, children })
    }

    fn child(&self, tree: &Tree, id: &str) -> Outcome<ActorRef<Message>> {
        tree.children
            .get(id)
            .cloned()
            .map_or_else(|| differs("no such child"), Ok)
    }

    async fn stop(&self, tree: Tree) -> Outcome {
        tree.boss.stop(None);
        Ok(())
    }

    async fn spawn(&self, spec: Spec) -> Outcome<ActorRef<Message>> {
        let spawned = Actor::spawn(None, Worker, spec).await;
        spawned
            .map(|(worker, _)| worker)
            .map_err(|error| not_started(&error))
    }

    async fn spawn_bounded(&self, _spec: Spec) -> Outcome<ActorRef<Message>> {
        missing("mailboxes are unbounded")
    }

    async fn spawn_named(&self, spec: Spec, name: &'static str) -> Outcome<ActorRef<Message>> {
        let spawned = Actor::spawn(Some(name.to_owned()), Worker, spec).await;
        spawned
            .map(|(worker, _)| worker)
            .map_err(|error| not_started(&error))
    }

    fn whereis(&self, name: &'static str) -> bool {
        ActorRef::<Message>::where_is(name).is_some()
    }

    fn tell(&self, worker: &ActorRef<Message>, command: Command) -> Result<(), Refusal> {
        worker
            .cast(Message::Tell(command))
            .map_err(|_| Refusal::Gone)
    }

    async fn ask(&self, worker: &ActorRef<Message>, command: Command, limit: Duration) -> Answer {
        let ask = |port| Message::Ask(command, port);
        match worker.call(ask, Some(limit)).await {
            Ok(CallResult::Success(value)) => Answer::Value(value),
            Ok(CallResult::Timeout) => Answer::Timeout,
            Ok(CallResult::SenderError) => Answer::Ended("SenderError".to_owned()),
            Err(error) => Answer::Ended(error.to_string()),
        }
    }

    fn kill(&self, worker: &ActorRef<Message>) -> Outcome {
        worker.kill();
        Ok(())
    }

    async fn link(&self, a: &ActorRef<Message>, b: &ActorRef<Message>) -> Outcome {
        // The only link there is: `a` becomes the supervisor of `b`.
        b.link(a.get_cell());
        Ok(())
    }

    async fn monitor(&self, watcher: &ActorRef<Message>, target: &ActorRef<Message>) -> Outcome {
        let target = target.get_cell();
        match watcher
            .call(|port| Message::Monitor(target, port), None)
            .await
        {
            Ok(CallResult::Success(())) => Ok(()),
            other => differs(format!("the monitor was not set: {:?}", other.is_ok())),
        }
    }
}
