//! Single processes: how they start and end, and who is told.

use super::{NAP, ended, expect, reject, tell, total};
use crate::subject::{
    Answer, Command, Journal, Outcome, QUIET, Spec, Subject, Verdict, differs, pause,
};

pub(super) async fn failed_init_is_told<S: Subject>(subject: &S) -> Outcome {
    let mut spec = Spec::new("a", &Journal::new());
    spec.failing_lives = (1..100).collect();
    match subject.spawn(spec).await {
        Err(Verdict::NotStarted(_)) => Ok(()),
        Err(other) => Err(other),
        Ok(_) => differs("it counts as started"),
    }
}

pub(super) async fn panic_is_contained<S: Subject>(subject: &S) -> Outcome {
    let journal = Journal::new();
    let a = subject.spawn(Spec::new("a", &journal)).await?;
    let b = subject.spawn(Spec::new("b", &journal)).await?;
    tell(subject, &a, Command::Panic)?;
    expect(&journal, "gone a", 1, "it does not end").await?;
    match total(subject, &b).await {
        Answer::Value(_) => reject(&journal, "gone b", 0, "another process ends too").await,
        other => differs(format!("another process does not answer: {other:?}")),
    }
}

pub(super) async fn kill_interrupts<S: Subject>(subject: &S) -> Outcome {
    let journal = Journal::new();
    let a = subject.spawn(Spec::new("a", &journal)).await?;
    tell(subject, &a, Command::Hang)?;
    pause(QUIET).await;
    subject.kill(&a)?;
    expect(&journal, "gone a", 1, "it goes on awaiting").await
}

pub(super) async fn kill_skips_stop<S: Subject>(subject: &S) -> Outcome {
    let journal = Journal::new();
    let a = subject.spawn(Spec::new("a", &journal)).await?;
    subject.kill(&a)?;
    expect(&journal, "gone a", 1, "a kill does not end it").await?;
    reject(&journal, "stop a", 0, "the stop callback runs").await
}

pub(super) async fn drop_panic_is_contained<S: Subject>(subject: &S) -> Outcome {
    let journal = Journal::new();
    let a = subject.spawn(Spec::new("a", &journal)).await?;
    let b = subject.spawn(Spec::new("b", &journal)).await?;
    tell(subject, &a, Command::ArmDrop)?;
    tell(subject, &a, Command::Stop)?;
    expect(&journal, "gone a", 1, "it does not end").await?;
    pause(QUIET).await;
    if let Answer::Timeout = total(subject, &a).await {
        return differs("contained, but a call to it then waits for ever");
    }
    match total(subject, &b).await {
        Answer::Value(_) => Ok(()),
        other => differs(format!("another process does not answer: {other:?}")),
    }
}

pub(super) async fn flooded_is_killed<S: Subject>(subject: &S) -> Outcome {
    let journal = Journal::new();
    let a = subject.spawn(Spec::new("a", &journal)).await?;
    for _ in 0..50 {
        tell(subject, &a, Command::Nap(NAP))?;
    }
    subject.kill(&a)?;
    expect(&journal, "gone a", 1, "it reads its queue first").await
}

pub(super) async fn monitor_tells_once<S: Subject>(subject: &S) -> Outcome {
    let journal = Journal::new();
    let a = subject.spawn(Spec::new("a", &journal)).await?;
    let b = subject.spawn(Spec::new("b", &journal)).await?;
    subject.monitor(&a, &b).await?;
    tell(subject, &b, Command::Panic)?;
    expect(&journal, "down a", 1, "it does not tell").await?;
    reject(&journal, "down a", 1, "it tells more than once").await?;
    reject(&journal, "gone a", 0, "the watcher ends too").await
}

pub(super) async fn monitor_of_the_dead<S: Subject>(subject: &S) -> Outcome {
    let journal = Journal::new();
    let a = subject.spawn(Spec::new("a", &journal)).await?;
    let b = ended(subject, Spec::new("b", &journal)).await?;
    subject.monitor(&a, &b).await?;
    expect(&journal, "down a", 1, "it never tells").await
}

pub(super) async fn link_propagates<S: Subject>(subject: &S) -> Outcome {
    for (crashes, follows) in [("b", "a"), ("a", "b")] {
        let journal = Journal::new();
        let a = subject.spawn(Spec::new("a", &journal)).await?;
        let b = subject.spawn(Spec::new("b", &journal)).await?;
        subject.link(&a, &b).await?;
        let crashing = if crashes == "a" { &a } else { &b };
        tell(subject, crashing, Command::Panic)?;
        let how = format!("a link set by a: when {crashes} crashes, {follows} goes on");
        expect(&journal, &format!("gone {follows}"), 1, &how).await?;
    }
    Ok(())
}

pub(super) async fn normal_end_does_not_propagate<S: Subject>(subject: &S) -> Outcome {
    let journal = Journal::new();
    let a = subject.spawn(Spec::new("a", &journal)).await?;
    let b = subject.spawn(Spec::new("b", &journal)).await?;
    subject.link(&a, &b).await?;
    tell(subject, &b, Command::Stop)?;
    expect(&journal, "gone b", 1, "it does not end").await?;
    reject(&journal, "gone a", 0, "it does").await
}

pub(super) async fn trap_exit<S: Subject>(subject: &S) -> Outcome {
    let journal = Journal::new();
    let a = subject.spawn(Spec::new("a", &journal)).await?;
    let b = subject.spawn(Spec::new("b", &journal)).await?;
    subject.link(&a, &b).await?;
    tell(subject, &a, Command::Trap)?;
    if !matches!(total(subject, &a).await, Answer::Value(_)) {
        return differs("a process that traps does not answer");
    }
    tell(subject, &b, Command::Panic)?;
    expect(&journal, "exit a", 1, "it is not told").await?;
    reject(&journal, "gone a", 0, "it ends all the same").await
}
