//! R5: calls under death, timeout, cancel and every other way not to answer. Attacks C1 to C8, D9 and D10.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mesh_runtime::{
    Actor, Address, CallError, ChildSpec, Context, ExitReason, Flow, ReplyTo, Strategy, Supervisor,
    System,
};

use crate::stage::{Census, Counted, Stage, Tally, until, within};

const CALLERS: usize = 32;
const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn play(stage: &Stage) {
    let workers = stage.workers();
    stage.scene("calls that end in every way", workers, every_way);
    stage.scene(
        "calls into a service that keeps crashing",
        workers,
        restarting,
    );
    stage.scene("cancelled and late calls", workers, cancelled);
    stage.scene("calls from odd places", workers, odd_places);
}

/// An answer that says whose it is, and that it exists.
struct Answer {
    number: u64,
    _counted: Counted,
}

type Reply = ReplyTo<Answer>;

/// What the callee is to do with the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Answer,
    Later,
    HandOn,
    HandToDying,
    Drop,
    Keep,
    Panic,
    Stop,
    StopHolding,
}

const WISHES: [Wish; 9] = [
    Wish::Answer,
    Wish::Later,
    Wish::HandOn,
    Wish::HandToDying,
    Wish::Drop,
    Wish::Keep,
    Wish::Panic,
    Wish::Stop,
    Wish::StopHolding,
];

struct Ask {
    wish: Wish,
    number: u64,
    reply_to: Reply,
}

struct Callee {
    census: Census,
    kept: Vec<Reply>,
}

impl Actor for Callee {
    type Args = Census;
    type Message = Ask;

    async fn init(census: Census, _cx: &mut Context<Ask>) -> Result<Callee, ExitReason> {
        Ok(Callee {
            census,
            kept: Vec::new(),
        })
    }

    async fn handle(&mut self, ask: Ask, cx: &mut Context<Ask>) -> Flow {
        let Ask {
            wish,
            number,
            reply_to,
        } = ask;
        let answer = Answer {
            number,
            _counted: self.census.enter(),
        };
        match wish {
            Wish::Answer => reply_to.reply(answer),
            Wish::Later => {
                cx.sleep(Duration::from_micros(10)).await;
                reply_to.reply(answer);
            }
            Wish::HandOn => {
                cx.system()
                    .spawn(|_cx: Context<()>| async move { reply_to.reply(answer) });
            }
            Wish::HandToDying => {
                cx.system()
                    .spawn(async move |_cx: Context<()>| -> ExitReason {
                        let _held = (reply_to, answer);
                        panic!("dies with a token in its hands");
                    });
            }
            Wish::Drop => drop(reply_to),
            Wish::Keep => self.kept.push(reply_to),
            Wish::Panic => panic!("a call makes it panic"),
            Wish::Stop => return Flow::Stop(ExitReason::error("a call makes it stop")),
            Wish::StopHolding => {
                self.kept.push(reply_to);
                return Flow::Stop(ExitReason::error("a call makes it stop"));
            }
        }
        Flow::Continue
    }
}

/// Whether an outcome is one the wish allows, when nobody else disturbs the callee.
fn allowed(wish: Wish, number: u64, outcome: &Result<Answer, CallError>) -> bool {
    let stopped = ExitReason::error("a call makes it stop");
    match (wish, outcome) {
        (Wish::Answer | Wish::Later | Wish::HandOn, Ok(answer)) => answer.number == number,
        (Wish::HandToDying | Wish::Panic, Err(CallError::Exited(reason))) => reason.is_panic(),
        (Wish::Drop, Err(CallError::NoReply)) | (Wish::Keep, Err(CallError::Timeout)) => true,
        (Wish::Stop | Wish::StopHolding, Err(CallError::Exited(reason))) => *reason == stopped,
        _ => false,
    }
}

async fn every_way(stage: Stage, system: System) {
    let each = stage.count(CALLERS as u64 * 2, 40);
    let census = Census::default();
    let (done, wrong) = (
        Tally::default(),
        Arc::new(std::sync::Mutex::new(Vec::new())),
    );
    for _ in 0..CALLERS {
        let mut seed = stage.seed();
        let (census, done, wrong) = (census.clone(), done.clone(), wrong.clone());
        system.spawn(move |cx: Context<()>| async move {
            let system = cx.system();
            let mut callee: Option<Address<Ask>> = None;
            for number in 0..each as u64 {
                let wish = WISHES[usize::try_from(seed.below(WISHES.len() as u64)).unwrap_or(0)];
                let address = match callee.take() {
                    Some(address) => address,
                    None => match system.start::<Callee>(census.clone()).await {
                        Ok(address) => address,
                        Err(_) => continue,
                    },
                };
                let limit = if wish == Wish::Keep {
                    Duration::from_millis(1)
                } else {
                    HOUR
                };
                let call = address.call_timeout(limit, |reply_to| Ask {
                    wish,
                    number,
                    reply_to,
                });
                let outcome = within(call).await;
                let right = outcome
                    .as_ref()
                    .is_some_and(|outcome| allowed(wish, number, outcome));
                if !right {
                    let text = format!(
                        "{wish:?} gave {:?}",
                        outcome.map(|outcome| outcome.map(|answer| answer.number))
                    );
                    wrong.lock().expect("no panic under this lock").push(text);
                }
                if !matches!(wish, Wish::Panic | Wish::Stop | Wish::StopHolding) {
                    callee = Some(address);
                }
                done.add();
            }
            if let Some(callee) = callee {
                system.kill(callee.pid());
            }
        });
    }
    let total = (each * CALLERS) as u64;
    let all = until(|| {
        stage.progress(
            "calls that end in every way",
            usize::try_from(done.get()).unwrap_or(0),
            each * CALLERS,
        );
        done.get() == total
    })
    .await;
    let gone = until(|| census.living() == 0).await;
    let wrong = std::mem::take(&mut *wrong.lock().expect("no panic under this lock"));
    stage.row("calls resolved", done.get());
    stage.judge(
        "C2 C3 C8",
        "each call resolves, with its own answer or the error its end calls for",
        all && wrong.is_empty(),
        format!(
            "{} of {total}, {} wrong; {}",
            done.get(),
            wrong.len(),
            wrong.first().map_or("", String::as_str)
        ),
    );
    stage.judge(
        "C7",
        "answers and tokens leave nothing behind",
        gone && until(|| system.inspect().counts.timers == 0).await,
        format!(
            "{} answers, {} timers",
            census.living(),
            system.inspect().counts.timers
        ),
    );
}

async fn restarting(stage: Stage, system: System) {
    let each = stage.count(CALLERS as u64 * 2, 40);
    let census = Census::default();
    for keeps in [false, true] {
        let name = if keeps { "keeps" } else { "drops" };
        let mut spec = ChildSpec::worker::<Callee>(name, census.clone());
        if keeps {
            spec = spec.keep_mailbox();
        }
        let tree = Supervisor::new(Strategy::OneForOne)
            .intensity(u32::MAX, HOUR)
            .child(spec);
        let up = system.supervise(tree).await.is_ok();
        let Ok(callee) = system.whereis::<Ask>(name) else {
            stage.judge("D9", "the service starts", false, name);
            continue;
        };
        let outcomes: Arc<[AtomicU64; 3]> = Arc::default();
        let (done, wrong) = (Tally::default(), Tally::default());
        for _ in 0..CALLERS {
            let mut seed = stage.seed();
            let (callee, done, wrong, outcomes) = (
                callee.clone(),
                done.clone(),
                wrong.clone(),
                outcomes.clone(),
            );
            system.spawn(move |_cx: Context<()>| async move {
                for number in 0..each as u64 {
                    let crash = seed.below(20) == 0;
                    let wish = if crash { Wish::Panic } else { Wish::Answer };
                    let call = callee.call_timeout(HOUR, |reply_to| Ask {
                        wish,
                        number,
                        reply_to,
                    });
                    let kind = match within(call).await {
                        Some(Ok(answer)) if answer.number == number && !crash => 0,
                        // Only the message in hand is lost when the mailbox is kept.
                        Some(Err(CallError::Exited(reason)))
                            if reason.is_panic() && (crash || !keeps) =>
                        {
                            1
                        }
                        _ => 2,
                    };
                    if kind == 2 {
                        wrong.add();
                    }
                    outcomes[kind].fetch_add(1, Ordering::Relaxed);
                    done.add();
                }
            });
        }
        let total = (each * CALLERS) as u64;
        let all = until(|| done.get() == total).await;
        let invariant = if keeps {
            "with keep_mailbox only the call in hand is lost to a crash"
        } else {
            "a crash ends the calls that wait as Exited, those sent between two lives are for the next"
        };
        let [answered, exited, _] = &*outcomes;
        stage.judge(
            "D9 D10 C2",
            invariant,
            up && all && wrong.get() == 0,
            format!(
                "{} answered, {} exited, {} wrong",
                answered.load(Ordering::Relaxed),
                exited.load(Ordering::Relaxed),
                wrong.get()
            ),
        );
    }
}

async fn cancelled(stage: Stage, system: System) {
    let count = stage.count(20, 200);
    let census = Census::default();
    let callee = system.spawn(
        async move |mut cx: Context<Option<(Counted, ReplyTo<Counted>)>>| {
            let mut kept = Vec::new();
            while let Some(call) = cx.receive().await {
                kept.push(call);
            }
            for (value, reply_to) in kept.drain(..) {
                reply_to.reply(value);
            }
            cx.receive().await;
        },
    );
    let mut seed = stage.seed();
    for _ in 0..count {
        let value = census.enter();
        let call = callee.call_timeout(HOUR, |reply_to| Some((value, reply_to)));
        let limit = Duration::from_micros(seed.below(300));
        // Dropped before its first poll, after it, or by a limit.
        match seed.below(3) {
            0 => drop(call),
            1 => {
                let mut call = Box::pin(call);
                let polled = std::future::poll_fn(|task| {
                    std::task::Poll::Ready(call.as_mut().poll(task).is_ready())
                });
                polled.await;
            }
            _ => drop(system.timeout(limit, call).await),
        }
    }
    let no_timers = until(|| system.inspect().counts.timers == 0).await;
    let waiting = census.living();
    let _ = callee.send(None);
    let gone = until(|| census.living() == 0).await;
    let late = system.inspect().counts.late_replies;
    stage.judge(
        "C7",
        "a cancelled call holds no timer and no memory",
        no_timers && gone,
        format!(
            "{} timers, {} values left",
            system.inspect().counts.timers,
            census.living()
        ),
    );
    stage.judge(
        "C5",
        "every late reply is dropped and counted",
        u64::try_from(waiting) == Ok(late),
        format!("{late} counted of {waiting}"),
    );
}

async fn odd_places(stage: Stage, system: System) {
    let census = Census::default();
    let Ok(callee) = system.start::<Callee>(census.clone()).await else {
        stage.judge("C1", "a service starts", false, "");
        return;
    };
    let (address, runtime) = (callee.clone(), tokio::runtime::Handle::current());
    let thread = std::thread::spawn(move || {
        let call = address.call(|reply_to| Ask {
            wish: Wish::Answer,
            number: 7,
            reply_to,
        });
        runtime.block_on(call).map(|answer| answer.number)
    });
    let joined = until(|| thread.is_finished()).await;
    let from_thread = joined.then(|| thread.join().ok()).flatten();
    stage.judge(
        "C1",
        "a plain thread may call",
        from_thread == Some(Ok(7)),
        format!("{from_thread:?}"),
    );
    let refused = Tally::default();
    let told = refused.clone();
    let itself = system.spawn(move |cx: Context<ReplyTo<()>>| async move {
        if cx.address().call(|to| to).await == Err(CallError::CallingSelf) {
            told.add();
        }
    });
    within(system.wait_for_exit(itself.pid())).await;
    stage.judge(
        "C6",
        "a call to oneself is refused",
        until(|| refused.get() == 1).await,
        format!("{} refused", refused.get()),
    );
    let end = system.wait_for_exit(callee.pid());
    system.kill(callee.pid());
    within(end).await;
    let dead = callee.call(|reply_to| Ask {
        wish: Wish::Answer,
        number: 1,
        reply_to,
    });
    let outcome = within(dead)
        .await
        .map(|outcome| outcome.map(|answer| answer.number));
    stage.judge(
        "C4",
        "a call to nobody ends as NoProcess",
        outcome == Some(Err(CallError::NoProcess)),
        format!("{outcome:?}"),
    );
}
