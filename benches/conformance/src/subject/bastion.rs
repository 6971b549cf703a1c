//! bastion under the scenarios. It is one global system; each cell has a supervisor of its own in it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use bastion::prelude::{
    ActorRestartStrategy, AnswerSender, Bastion as Global, BastionContext, Callbacks, ChildRef,
    Children as Group, Config, MessageHandler, RestartPolicy, RestartStrategy, SendError,
    SupervisionStrategy, Supervisor, SupervisorRef,
};

use super::{
    Answer, Command, Next, Outcome, Plan, Refusal, Restart, SelfCall, Spec, State, Strategy,
    Subject, differs, missing,
};

pub(crate) struct Bastion {
    children: Children,
}

/// The current life of each worker, as it publishes itself.
type Children = Arc<Mutex<HashMap<&'static str, ChildRef>>>;

static STARTED: Once = Once::new();

/// What came in, and where the answer goes.
type Incoming = Option<(Command, Option<AnswerSender>)>;

async fn life(spec: Spec, children: Children, cx: BastionContext) -> Result<(), ()> {
    let id = spec.id;
    let mut state = State::start(spec).map_err(drop)?;
    children
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(id, cx.current().clone());
    state.write("ready");
    loop {
        let incoming: Incoming = MessageHandler::new(cx.recv().await?)
            .on_question(|command: Command, sender| Some((command, Some(sender))))
            .on_tell(|command: Command, _| Some((command, None)))
            .on_fallback(|_, _| None);
        let Some((command, sender)) = incoming else {
            continue;
        };
        let value = match state.handle(command).await {
            Next::Reply(value) => value,
            Next::Stop => return Ok(()),
            Next::Fail => return Err(()),
            Next::CallSelf => {
                let me = cx.current().clone();
                match ask(&me, Command::Total, SelfCall::LIMIT).await {
                    Answer::Value(_) => SelfCall::OTHER,
                    Answer::Ended(_) => SelfCall::REFUSED,
                    Answer::Timeout => SelfCall::TIMEOUT,
                }
            }
            // There is nothing to trap.
            Next::Trap => 0,
        };
        if let Some(sender) = sender {
            // The caller may have given up.
            let _ = sender.reply(value);
        }
    }
}

fn group(group: Group, spec: Spec, children: Children) -> Group {
    let (stopped, id) = (spec.journal.clone(), spec.id);
    let callbacks = Callbacks::new().with_after_stop(move || stopped.write(format!("stop {id}")));
    group
        .with_callbacks(callbacks)
        .with_exec(move |cx| life(spec.clone(), children.clone(), cx))
}

fn supervisor(top: Supervisor, plan: Plan, children: &Children) -> Supervisor {
    let strategy = match plan.strategy {
        Strategy::OneForOne => SupervisionStrategy::OneForOne,
        Strategy::OneForAll => SupervisionStrategy::OneForAll,
        Strategy::RestForOne => SupervisionStrategy::RestForOne,
    };
    let temporary = plan
        .children
        .iter()
        .all(|spec| spec.restart == Restart::Temporary);
    let tries = usize::try_from(plan.restarts_max).unwrap_or(usize::MAX);
    let policy = if temporary {
        RestartPolicy::Never
    } else {
        RestartPolicy::Tries(tries)
    };
    let restart = RestartStrategy::new(policy, ActorRestartStrategy::Immediate);
    let mut top = top.with_strategy(strategy).with_restart_strategy(restart);
    for spec in plan.children {
        let children = children.clone();
        top = top.children(move |ch| group(ch, spec.clone(), children.clone()));
    }
    top
}

/// bastion's answer has no deadline; tokio's timer gives it one.
async fn ask(worker: &ChildRef, command: Command, limit: Duration) -> Answer {
    let asked = match worker.try_ask_anonymously(command) {
        Ok(asked) => asked,
        Err(error) => return Answer::Ended(error.to_string()),
    };
    match tokio::time::timeout(limit, asked).await {
        Err(_) => Answer::Timeout,
        Ok(Err(())) => Answer::Ended("()".to_owned()),
        Ok(Ok(answer)) => MessageHandler::new(answer)
            .on_tell(|value: u64, _| Answer::Value(value))
            .on_fallback(|_, _| Answer::Ended("an answer of another type".to_owned())),
    }
}

impl Bastion {
    async fn start(&self, plan: Plan) -> Outcome<SupervisorRef> {
        let (journal, expected) = (plan.children[0].journal.clone(), plan.children.clone());
        let children = self.children.clone();
        let top = Global::supervisor(move |top| {
            if plan.nested {
                top.supervisor(|inner| supervisor(inner, plan.clone(), &children))
            } else {
                supervisor(top, plan.clone(), &children)
            }
        });
        let Ok(top) = top else {
            return differs("the supervisor was not started");
        };
        for spec in expected.iter().filter(|spec| spec.failing_lives.is_empty()) {
            if !journal.sees(&format!("ready {}", spec.id), 1).await {
                return differs(format!("{} does not start", spec.id));
            }
        }
        Ok(top)
    }
}

impl Subject for Bastion {
    const NAME: &'static str = "bastion";
    type Tree = SupervisorRef;
    type Worker = ChildRef;

    fn new() -> Bastion {
        STARTED.call_once(|| {
            Global::init_with(Config::new().hide_backtraces());
            Global::start();
        });
        Bastion {
            children: Children::default(),
        }
    }

    async fn supervise(&self, plan: Plan) -> Outcome<SupervisorRef> {
        self.start(plan).await
    }

    fn child(&self, _tree: &SupervisorRef, id: &str) -> Outcome<ChildRef> {
        let children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        children
            .get(id)
            .cloned()
            .map_or_else(|| differs("no such child"), Ok)
    }

    async fn stop(&self, tree: SupervisorRef) -> Outcome {
        tree.stop()
            .or_else(|()| differs("the supervisor could not be asked to stop"))
    }

    async fn spawn(&self, spec: Spec) -> Outcome<ChildRef> {
        if !spec.failing_lives.is_empty() {
            return missing("no init: a body runs, or fails later");
        }
        let id = spec.id;
        let plan = Plan::new(Strategy::OneForOne, vec![spec.restart(Restart::Temporary)]);
        let top = self.start(plan).await?;
        self.child(&top, id)
    }

    async fn spawn_bounded(&self, _spec: Spec) -> Outcome<ChildRef> {
        missing("mailboxes are unbounded")
    }

    async fn spawn_named(&self, _spec: Spec, _name: &'static str) -> Outcome<ChildRef> {
        missing("a `Distributor` is a group")
    }

    fn whereis(&self, _name: &'static str) -> bool {
        false
    }

    fn tell(&self, worker: &ChildRef, command: Command) -> Result<(), Refusal> {
        worker
            .try_tell_anonymously(command)
            .map_err(|error| match error {
                SendError::Full(_) => Refusal::Full { given_back: true },
                _ => Refusal::Gone,
            })
    }

    async fn ask(&self, worker: &ChildRef, command: Command, limit: Duration) -> Answer {
        ask(worker, command, limit).await
    }

    fn kill(&self, worker: &ChildRef) -> Outcome {
        worker
            .kill()
            .or_else(|()| differs("the child could not be killed"))
    }

    async fn link(&self, _a: &ChildRef, _b: &ChildRef) -> Outcome {
        missing("the tree is the only tie")
    }

    async fn monitor(&self, _watcher: &ChildRef, _target: &ChildRef) -> Outcome {
        missing("callbacks of the group itself only")
    }
}
