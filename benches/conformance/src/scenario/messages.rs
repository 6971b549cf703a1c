//! Calls, queues and names: that nothing waits for ever and nothing is lost in silence.

use std::time::Duration;

use super::{NAP, ended, expect, tell, total};
use crate::subject::{
    Answer, BOUND, Command, Journal, Outcome, PATIENCE, Plan, QUIET, Refusal, SelfCall, Spec,
    Strategy, Subject, differs, pause,
};

/// The call ended, and not by its deadline.
fn ends(answer: Answer) -> Outcome {
    match answer {
        Answer::Ended(_) => Ok(()),
        Answer::Timeout => differs("it waits for its deadline, if it has one"),
        Answer::Value(value) => differs(format!("it is answered: {value}")),
    }
}

pub(super) async fn call_to_the_dead<S: Subject>(subject: &S) -> Outcome {
    let a = ended(subject, Spec::new("a", &Journal::new())).await?;
    ends(total(subject, &a).await)
}

pub(super) async fn callee_dies<S: Subject>(subject: &S) -> Outcome {
    let a = subject.spawn(Spec::new("a", &Journal::new())).await?;
    ends(subject.ask(&a, Command::NapThenPanic(NAP), PATIENCE).await)
}

pub(super) async fn queued_call_ends<S: Subject>(subject: &S) -> Outcome {
    let a = subject.spawn(Spec::new("a", &Journal::new())).await?;
    tell(subject, &a, Command::NapThenPanic(NAP))?;
    ends(total(subject, &a).await)
}

pub(super) async fn late_reply<S: Subject>(subject: &S) -> Outcome {
    let a = subject.spawn(Spec::new("a", &Journal::new())).await?;
    let first = subject.ask(&a, Command::Nap(2 * NAP), NAP / 2).await;
    if first != Answer::Timeout {
        return differs(format!("the first call ends as {first:?}"));
    }
    tell(subject, &a, Command::Add(5))?;
    match total(subject, &a).await {
        Answer::Value(5) => Ok(()),
        other => differs(format!("the next call gets {other:?}")),
    }
}

pub(super) async fn call_to_oneself<S: Subject>(subject: &S) -> Outcome {
    let a = subject.spawn(Spec::new("a", &Journal::new())).await?;
    match subject.ask(&a, Command::CallSelf, PATIENCE).await {
        Answer::Value(SelfCall::REFUSED) => Ok(()),
        Answer::Value(SelfCall::TIMEOUT) => {
            differs("it deadlocks until its deadline, if it has one")
        }
        Answer::Ended(how) => differs(format!("it ends the process: {how}")),
        other => differs(format!("{other:?}")),
    }
}

pub(super) async fn full_mailbox<S: Subject>(subject: &S) -> Outcome {
    let a = subject
        .spawn_bounded(Spec::new("a", &Journal::new()))
        .await?;
    tell(subject, &a, Command::Hang)?;
    pause(QUIET).await;
    for _ in 0..BOUND {
        tell(subject, &a, Command::Add(1))?;
    }
    match subject.tell(&a, Command::Add(1)) {
        Err(Refusal::Full { given_back: true }) => Ok(()),
        other => differs(format!("one message too many: {other:?}")),
    }
}

pub(super) async fn kept_mailbox<S: Subject>(subject: &S) -> Outcome {
    let journal = Journal::new();
    let mut spec = Spec::new("a", &journal);
    spec.keeps_mailbox = true;
    let tree = subject
        .supervise(Plan::new(Strategy::OneForOne, vec![spec]))
        .await?;
    let a = subject.child(&tree, "a")?;
    tell(subject, &a, Command::NapThenPanic(NAP))?;
    tell(subject, &a, Command::Add(5))?;
    expect(&journal, "start a", 2, "it is not restarted").await?;
    pause(QUIET).await;
    match total(subject, &subject.child(&tree, "a")?).await {
        Answer::Value(5) => Ok(()),
        Answer::Value(_) => differs("what waited is lost"),
        other => differs(format!("the new life ends a call as {other:?}")),
    }
}

pub(super) async fn name_is_released<S: Subject>(subject: &S) -> Outcome {
    const NAME: &str = "conformance";
    let journal = Journal::new();
    let a = subject.spawn_named(Spec::new("a", &journal), NAME).await?;
    if !subject.whereis(NAME) {
        return differs("the name leads nowhere");
    }
    tell(subject, &a, Command::Panic)?;
    expect(&journal, "gone a", 1, "it does not end").await?;
    pause(Duration::max(QUIET, NAP)).await;
    if subject.whereis(NAME) {
        return differs("the name still leads to the dead");
    }
    subject.spawn_named(Spec::new("b", &journal), NAME).await?;
    Ok(())
}
