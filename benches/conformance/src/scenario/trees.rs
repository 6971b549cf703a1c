//! Supervision: who is restarted, in which order, how often, and how a tree ends.

use std::collections::HashSet;

use super::{expect, reject, tell, total};
use crate::subject::{
    Answer, Command, Journal, Outcome, PATIENCE, Plan, Restart, Spec, Strategy, Subject, Verdict,
    differs,
};

fn plan(strategy: Strategy, restart: Restart, journal: &Journal) -> Plan {
    let child = |id| Spec::new(id, journal).restart(restart);
    Plan::new(strategy, ["a", "b", "c"].map(child).to_vec())
}

pub(super) async fn temporary_crash_is_contained<S: Subject>(subject: &S) -> Outcome {
    let journal = Journal::new();
    let plan = plan(Strategy::OneForOne, Restart::Temporary, &journal);
    let tree = subject.supervise(plan).await?;
    let (a, b) = (subject.child(&tree, "a")?, subject.child(&tree, "b")?);
    tell(subject, &a, Command::Panic)?;
    expect(&journal, "gone a", 1, "the process does not end").await?;
    crate::subject::pause(crate::subject::QUIET).await;
    match total(subject, &b).await {
        Answer::Value(_) => reject(&journal, "gone b", 0, "the sibling ends too").await,
        _ => differs("the supervisor gives up, and a sibling with it"),
    }
}

pub(super) async fn crashed_child_is_fresh<S: Subject>(subject: &S) -> Outcome {
    let journal = Journal::new();
    let plan = plan(Strategy::OneForOne, Restart::Permanent, &journal);
    let tree = subject.supervise(plan).await?;
    let a = subject.child(&tree, "a")?;
    tell(subject, &a, Command::Add(7))?;
    tell(subject, &a, Command::Panic)?;
    expect(&journal, "start a", 2, "it is not restarted").await?;
    crate::subject::pause(crate::subject::QUIET).await;
    match total(subject, &subject.child(&tree, "a")?).await {
        Answer::Value(0) => Ok(()),
        other => differs(format!("the new life answers {other:?}")),
    }
}

pub(super) async fn address_survives<S: Subject>(subject: &S) -> Outcome {
    let journal = Journal::new();
    let plan = plan(Strategy::OneForOne, Restart::Permanent, &journal);
    let tree = subject.supervise(plan).await?;
    let a = subject.child(&tree, "a")?;
    tell(subject, &a, Command::Panic)?;
    expect(&journal, "start a", 2, "it is not restarted").await?;
    match total(subject, &a).await {
        Answer::Value(0) => Ok(()),
        other => differs(format!("it does not: {other:?}")),
    }
}

pub(super) async fn failed_start_rolls_back<S: Subject>(subject: &S) -> Outcome {
    let journal = Journal::new();
    let mut plan = plan(Strategy::OneForOne, Restart::Permanent, &journal);
    plan.children[2].failing_lives = (1..100).collect();
    match subject.supervise(plan).await {
        Err(Verdict::NotStarted(_)) => {}
        Err(other) => return Err(other),
        Ok(_) => return differs("the tree counts as started"),
    }
    expect(&journal, "gone a", 1, "the first child stays").await?;
    expect(&journal, "gone b", 1, "the second child stays").await
}

pub(super) async fn failed_restart_is_tried_again<S: Subject>(subject: &S) -> Outcome {
    let journal = Journal::new();
    let mut plan = plan(Strategy::OneForOne, Restart::Permanent, &journal);
    plan.children[0].failing_lives = HashSet::from([2]);
    let tree = subject.supervise(plan).await?;
    tell(subject, &subject.child(&tree, "a")?, Command::Panic)?;
    expect(&journal, "fail a", 1, "it is not restarted").await?;
    expect(&journal, "start a", 2, "a failed restart is the last").await
}

/// Order may be kept by luck: it is looked at as often as this.
const ROUNDS: usize = 5;

/// What became of the siblings after `b` panicked, in the order it happened.
async fn after_panic_of_b<S: Subject>(
    subject: &S,
    strategy: Strategy,
    starts: [usize; 3],
) -> Outcome<Vec<String>> {
    let journal = Journal::new();
    let tree = subject
        .supervise(plan(strategy, Restart::Permanent, &journal))
        .await?;
    let before = journal.lines().len();
    tell(subject, &subject.child(&tree, "b")?, Command::Panic)?;
    for (id, times) in ["a", "b", "c"].into_iter().zip(starts) {
        if times > 1
            && !journal.sees(&format!("gone {id}"), 1).await
            && journal.count(&format!("start {id}")) > 1
        {
            return differs(format!("{id} is started again, its old life is not ended"));
        }
        let line = format!("start {id}");
        if !journal.sees(&line, times).await {
            return differs(format!("{id} is not restarted"));
        }
        let how = format!("{id} is restarted too");
        reject(&journal, &line, times, &how).await?;
    }
    // That the crashed one is dropped is no matter of order.
    let ours =
        |line: &String| line.starts_with("start") || (line.starts_with("gone") && line != "gone b");
    let seen = journal.lines()[before..]
        .iter()
        .filter(|line| ours(line))
        .cloned()
        .collect();
    // The next round takes the names again.
    subject.stop(tree).await?;
    Ok(seen)
}

fn in_order(seen: &[String], expected: &[&str]) -> Outcome {
    if seen == expected {
        Ok(())
    } else {
        differs(format!("seen: {}", seen.join(", ")))
    }
}

pub(super) async fn one_for_one<S: Subject>(subject: &S) -> Outcome {
    let seen = after_panic_of_b(subject, Strategy::OneForOne, [1, 2, 1]).await?;
    in_order(&seen, &["start b"])
}

pub(super) async fn one_for_all<S: Subject>(subject: &S) -> Outcome {
    for _ in 0..ROUNDS {
        let seen = after_panic_of_b(subject, Strategy::OneForAll, [2, 2, 2]).await?;
        in_order(
            &seen,
            &["gone c", "gone a", "start a", "start b", "start c"],
        )?;
    }
    Ok(())
}

pub(super) async fn rest_for_one<S: Subject>(subject: &S) -> Outcome {
    for _ in 0..ROUNDS {
        let seen = after_panic_of_b(subject, Strategy::RestForOne, [1, 2, 2]).await?;
        in_order(&seen, &["gone c", "start b", "start c"])?;
    }
    Ok(())
}

/// Crashes `a` once more than its supervisor accepts.
async fn exhaust<S: Subject>(subject: &S, nested: bool) -> Outcome<(Journal, S::Tree)> {
    let journal = Journal::new();
    let mut plan = plan(Strategy::OneForOne, Restart::Permanent, &journal);
    plan.restarts_max = 1;
    plan.nested = nested;
    let tree = subject.supervise(plan).await?;
    tell(subject, &subject.child(&tree, "a")?, Command::Panic)?;
    expect(&journal, "start a", 2, "the first crash is not healed").await?;
    crate::subject::pause(crate::subject::QUIET).await;
    tell(subject, &subject.child(&tree, "a")?, Command::Panic)?;
    expect(&journal, "gone a", 2, "the second crash does not end it").await?;
    Ok((journal, tree))
}

pub(super) async fn intensity<S: Subject>(subject: &S) -> Outcome {
    let (journal, _tree) = exhaust(subject, false).await?;
    reject(&journal, "start a", 2, "there is no limit").await?;
    expect(
        &journal,
        "gone b",
        1,
        "only the child is given up, its siblings go on",
    )
    .await?;
    expect(&journal, "gone c", 1, "a sibling goes on").await
}

pub(super) async fn escalation<S: Subject>(subject: &S) -> Outcome {
    let (journal, _tree) = exhaust(subject, true).await?;
    let how = "the supervisor does not give up, or is not restarted";
    expect(&journal, "start b", 2, how).await?;
    expect(&journal, "start a", 3, "not all of its children come back").await
}

/// Whether a child that is given `command` starts again.
async fn starts_again<S: Subject>(
    subject: &S,
    restart: Restart,
    command: Command,
) -> Outcome<bool> {
    let journal = Journal::new();
    let plan = plan(Strategy::OneForOne, restart, &journal);
    let tree = subject.supervise(plan).await?;
    tell(subject, &subject.child(&tree, "a")?, command)?;
    expect(&journal, "gone a", 1, "it does not end").await?;
    crate::subject::pause(3 * crate::subject::QUIET).await;
    Ok(journal.count("start a") > 1)
}

fn holds(kept: bool, how: &str) -> Outcome {
    if kept { Ok(()) } else { differs(how) }
}

pub(super) async fn permanent<S: Subject>(subject: &S) -> Outcome {
    let again = starts_again(subject, Restart::Permanent, Command::Stop).await?;
    holds(again, "it is not")
}

pub(super) async fn transient_normal<S: Subject>(subject: &S) -> Outcome {
    let again = starts_again(subject, Restart::Transient, Command::Stop).await?;
    holds(!again, "it is")
}

pub(super) async fn drop_panic_is_healed<S: Subject>(subject: &S) -> Outcome {
    let journal = Journal::new();
    let plan = plan(Strategy::OneForOne, Restart::Permanent, &journal);
    let tree = subject.supervise(plan).await?;
    let a = subject.child(&tree, "a")?;
    tell(subject, &a, Command::ArmDrop)?;
    tell(subject, &a, Command::Fail)?;
    expect(&journal, "gone a", 1, "it does not end").await?;
    expect(&journal, "start a", 2, "its supervisor never hears of it").await
}

pub(super) async fn transient_error<S: Subject>(subject: &S) -> Outcome {
    let again = starts_again(subject, Restart::Transient, Command::Fail).await?;
    holds(again, "it is not")
}

pub(super) async fn temporary<S: Subject>(subject: &S) -> Outcome {
    let again = starts_again(subject, Restart::Temporary, Command::Panic).await?;
    holds(!again, "it is")
}

pub(super) async fn shutdown_in_reverse<S: Subject>(subject: &S) -> Outcome {
    for _ in 0..ROUNDS {
        let journal = Journal::new();
        let plan = plan(Strategy::OneForOne, Restart::Temporary, &journal);
        let tree = subject.supervise(plan).await?;
        subject.stop(tree).await?;
        for id in ["a", "b", "c"] {
            expect(&journal, &format!("gone {id}"), 1, "a child goes on").await?;
        }
        let seen: Vec<String> = journal
            .lines()
            .into_iter()
            .filter(|line| line.starts_with("gone"))
            .collect();
        in_order(&seen, &["gone c", "gone b", "gone a"])?;
    }
    Ok(())
}

pub(super) async fn shutdown_has_a_deadline<S: Subject>(subject: &S) -> Outcome {
    let journal = Journal::new();
    let mut plan = plan(Strategy::OneForOne, Restart::Temporary, &journal);
    plan.children[1].clings = true;
    let tree = subject.supervise(plan).await?;
    let b = subject.child(&tree, "b")?;
    tell(subject, &b, Command::Hang)?;
    // A library whose stop waits for ever keeps the caller as well.
    if tokio::time::timeout(PATIENCE, subject.stop(tree))
        .await
        .is_err()
    {
        return differs("stopping waits for ever");
    }
    expect(&journal, "gone b", 1, "a child that hangs goes on for ever").await
}
