//! mesh-runtime under the scenarios.

use std::time::Duration;

use mesh_runtime::{
    Actor, Address, CallError, Capacity, ChildSpec, Context, ExitReason, Flow, Pid, ReplyTo,
    RestartType, SendError, ShutdownType, Signal, StartError, Supervisor, SupervisorHandle, System,
};

use super::{
    Answer, BOUND, Command, Next, Outcome, Plan, Refusal, Restart, SelfCall, Spec, State, Strategy,
    Subject, Verdict, WITHIN, differs,
};

pub(crate) struct Mesh {
    system: System,
}

pub(crate) enum Message {
    Tell(Command),
    Ask(Command, ReplyTo<u64>),
    Link(Pid, ReplyTo<()>),
    Monitor(Pid, ReplyTo<()>),
}

struct Worker<const MESSAGES_MAX: usize>(State);

/// As many messages as a mailbox takes by default in these scenarios.
const PLENTY: usize = 10_000;

impl<const MESSAGES_MAX: usize> Actor for Worker<MESSAGES_MAX> {
    type Args = Spec;
    type Message = Message;

    async fn init(spec: Spec, _cx: &mut Context<Message>) -> Result<Self, ExitReason> {
        State::start(spec).map(Worker).map_err(ExitReason::error)
    }

    async fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Flow {
        let (command, reply_to) = match message {
            Message::Tell(command) => (command, None),
            Message::Ask(command, reply_to) => (command, Some(reply_to)),
            Message::Link(pid, reply_to) => {
                cx.link(pid);
                reply_to.reply(());
                return Flow::Continue;
            }
            Message::Monitor(pid, reply_to) => {
                let _ = cx.monitor(pid);
                reply_to.reply(());
                return Flow::Continue;
            }
        };
        let value = match self.0.handle(command).await {
            Next::Reply(value) => value,
            Next::Stop => return Flow::Stop(ExitReason::normal()),
            Next::Fail => return Flow::Stop(ExitReason::error("told to")),
            Next::CallSelf => {
                let ask = |reply_to| Message::Ask(Command::Total, reply_to);
                match cx.address().call_timeout(SelfCall::LIMIT, ask).await {
                    Err(CallError::CallingSelf) => SelfCall::REFUSED,
                    Err(CallError::Timeout) => SelfCall::TIMEOUT,
                    _ => SelfCall::OTHER,
                }
            }
            Next::Trap => {
                cx.trap_exit(true);
                0
            }
        };
        if let Some(reply_to) = reply_to {
            reply_to.reply(value);
        }
        Flow::Continue
    }

    async fn handle_signal(&mut self, signal: Signal, _cx: &mut Context<Message>) -> Flow {
        match signal {
            Signal::Exit { .. } => self.0.write("exit"),
            Signal::Down { .. } => self.0.write("down"),
            _ => {}
        }
        Flow::Continue
    }

    async fn terminate(&mut self, _reason: &ExitReason, _cx: &mut Context<Message>) {
        self.0.stopped().await;
    }

    fn mailbox() -> Capacity {
        Capacity::bounded(MESSAGES_MAX)
    }
}

fn child(spec: Spec) -> ChildSpec {
    let restart = match spec.restart {
        Restart::Permanent => RestartType::Permanent,
        Restart::Transient => RestartType::Transient,
        Restart::Temporary => RestartType::Temporary,
    };
    let keeps_mailbox = spec.keeps_mailbox;
    let child = ChildSpec::worker::<Worker<PLENTY>>(spec.id, spec)
        .restart(restart)
        .shutdown(ShutdownType::Timeout(super::STOP_TIMEOUT));
    if keeps_mailbox {
        child.keep_mailbox()
    } else {
        child
    }
}

fn supervisor(plan: Plan) -> Supervisor {
    let strategy = match plan.strategy {
        Strategy::OneForOne => mesh_runtime::Strategy::OneForOne,
        Strategy::OneForAll => mesh_runtime::Strategy::OneForAll,
        Strategy::RestForOne => mesh_runtime::Strategy::RestForOne,
    };
    let tree = Supervisor::new(strategy).intensity(plan.restarts_max, WITHIN);
    plan.children
        .into_iter()
        .map(child)
        .fold(tree, Supervisor::child)
}

fn not_started(error: &StartError) -> Verdict {
    Verdict::NotStarted(error.to_string())
}

impl Mesh {
    async fn start<const MESSAGES_MAX: usize>(&self, spec: Spec) -> Outcome<Address<Message>> {
        let started = self.system.start::<Worker<MESSAGES_MAX>>(spec).await;
        started.map_err(|error| not_started(&error))
    }
}

impl Subject for Mesh {
    const NAME: &'static str = "mesh-runtime";
    type Tree = SupervisorHandle;
    type Worker = Address<Message>;

    fn new() -> Mesh {
        Mesh {
            system: System::new(),
        }
    }

    async fn supervise(&self, plan: Plan) -> Outcome<SupervisorHandle> {
        let tree = if plan.nested {
            let inner = ChildSpec::supervisor("inner", move || supervisor(plan.clone()));
            Supervisor::new(mesh_runtime::Strategy::OneForOne).child(inner)
        } else {
            supervisor(plan)
        };
        let started = self.system.supervise(tree).await;
        started.map_err(|error| not_started(&error))
    }

    fn child(&self, _tree: &SupervisorHandle, id: &str) -> Outcome<Address<Message>> {
        self.system.whereis(id).or_else(differs)
    }

    async fn stop(&self, tree: SupervisorHandle) -> Outcome {
        tree.stop().await.or_else(differs)
    }

    async fn spawn(&self, spec: Spec) -> Outcome<Address<Message>> {
        self.start::<PLENTY>(spec).await
    }

    async fn spawn_bounded(&self, spec: Spec) -> Outcome<Address<Message>> {
        self.start::<BOUND>(spec).await
    }

    async fn spawn_named(&self, spec: Spec, name: &'static str) -> Outcome<Address<Message>> {
        let worker = self.start::<PLENTY>(spec).await?;
        self.system.register(name, &worker).or_else(differs)?;
        Ok(worker)
    }

    fn whereis(&self, name: &'static str) -> bool {
        self.system.whereis_pid(name).is_some()
    }

    fn tell(&self, worker: &Address<Message>, command: Command) -> Result<(), Refusal> {
        worker
            .send(Message::Tell(command))
            .map_err(|error| match error {
                SendError::Full(Message::Tell(back)) => Refusal::Full {
                    given_back: back == command,
                },
                _ => Refusal::Gone,
            })
    }

    async fn ask(&self, worker: &Address<Message>, command: Command, limit: Duration) -> Answer {
        let ask = |reply_to| Message::Ask(command, reply_to);
        match worker.call_timeout(limit, ask).await {
            Ok(value) => Answer::Value(value),
            Err(CallError::Timeout) => Answer::Timeout,
            Err(error) => Answer::Ended(error.to_string()),
        }
    }

    fn kill(&self, worker: &Address<Message>) -> Outcome {
        self.system.kill(worker.pid());
        Ok(())
    }

    async fn link(&self, a: &Address<Message>, b: &Address<Message>) -> Outcome {
        let pid = b.pid();
        a.call(|reply_to| Message::Link(pid, reply_to))
            .await
            .or_else(differs)
    }

    async fn monitor(&self, watcher: &Address<Message>, target: &Address<Message>) -> Outcome {
        let pid = target.pid();
        let set = watcher
            .call(|reply_to| Message::Monitor(pid, reply_to))
            .await;
        set.or_else(differs)
    }
}
