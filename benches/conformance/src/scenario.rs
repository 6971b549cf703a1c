//! The rows of the table: one scenario each, written once for all libraries.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::subject::{Answer, Command, Journal, Outcome, QUIET, Spec, Subject, differs, pause};

mod lives;
mod messages;
mod trees;

/// One row: what is promised, and the scenario that sees whether it is kept.
pub(crate) struct Row<S> {
    pub(crate) promise: &'static str,
    pub(crate) run: fn(S) -> Pin<Box<dyn Future<Output = Outcome>>>,
}

/// The same scenario for whichever library; a macro, because a generic function cannot be passed unapplied.
macro_rules! row {
    ($promise:literal, $($scenario:ident)::+) => {
        Row { promise: $promise, run: |subject| Box::pin(async move { $($scenario)::+(&subject).await }) }
    };
}

pub(crate) fn rows<S: Subject>() -> Vec<Row<S>> {
    vec![
        row!("a panic ends its process alone", lives::panic_is_contained),
        row!(
            "the crash of a temporary child leaves its siblings alone",
            trees::temporary_crash_is_contained
        ),
        row!(
            "a crashed child is restarted with fresh state",
            trees::crashed_child_is_fresh
        ),
        row!(
            "the address taken before the crash reaches the new life",
            trees::address_survives
        ),
        row!(
            "a failed init is told to whoever starts the process",
            lives::failed_init_is_told
        ),
        row!(
            "a failed first start stops the siblings already started",
            trees::failed_start_rolls_back
        ),
        row!(
            "an init that fails during a restart is tried again",
            trees::failed_restart_is_tried_again
        ),
        row!("one_for_one leaves the siblings alone", trees::one_for_one),
        row!(
            "one_for_all stops the others in reverse, then starts all in order",
            trees::one_for_all
        ),
        row!(
            "rest_for_one does so with those started later",
            trees::rest_for_one
        ),
        row!(
            "one restart too many stops the siblings as well",
            trees::intensity
        ),
        row!(
            "the parent of a supervisor that gave up starts it anew",
            trees::escalation
        ),
        row!(
            "a permanent child is restarted after a normal end",
            trees::permanent
        ),
        row!(
            "a transient child is not restarted after a normal end",
            trees::transient_normal
        ),
        row!(
            "a transient child is restarted after an error",
            trees::transient_error
        ),
        row!("a temporary child is never restarted", trees::temporary),
        row!(
            "a tree stops its children in reverse order",
            trees::shutdown_in_reverse
        ),
        row!(
            "a child that does not stop in time is killed",
            trees::shutdown_has_a_deadline
        ),
        row!("a kill interrupts an await", lives::kill_interrupts),
        row!("a kill skips the stop callback", lives::kill_skips_stop),
        row!(
            "a panic in the drop of the state is contained",
            lives::drop_panic_is_contained
        ),
        row!(
            "a child whose state panics in its drop is restarted",
            trees::drop_panic_is_healed
        ),
        row!(
            "a flooded process can be stopped before it has read all",
            lives::flooded_is_killed
        ),
        row!(
            "a monitor tells of an end exactly once",
            lives::monitor_tells_once
        ),
        row!(
            "a monitor set on the dead tells at once",
            lives::monitor_of_the_dead
        ),
        row!(
            "a link takes the other side along, in both directions",
            lives::link_propagates
        ),
        row!(
            "a normal end does not",
            lives::normal_end_does_not_propagate
        ),
        row!(
            "a process that traps exits is told instead",
            lives::trap_exit
        ),
        row!(
            "a call to the dead ends at once",
            messages::call_to_the_dead
        ),
        row!(
            "a call ends when its callee dies with it in hand",
            messages::callee_dies
        ),
        row!(
            "a call waiting in the queue of a process that dies ends",
            messages::queued_call_ends
        ),
        row!(
            "a late reply is not taken for the next one",
            messages::late_reply
        ),
        row!("a call to oneself is refused", messages::call_to_oneself),
        row!(
            "a full mailbox is told, with the message given back",
            messages::full_mailbox
        ),
        row!(
            "a mailbox can be kept across a restart",
            messages::kept_mailbox
        ),
        row!(
            "a name is released on death and can be taken again",
            messages::name_is_released
        ),
    ]
}

/// How long a nap is in which the scenario does something else.
const NAP: Duration = Duration::from_millis(100);

async fn total<S: Subject>(subject: &S, worker: &S::Worker) -> Answer {
    let limit = crate::subject::PATIENCE;
    subject.ask(worker, Command::Total, limit).await
}

/// Tells a worker that must be there.
fn tell<S: Subject>(subject: &S, worker: &S::Worker, command: Command) -> Outcome {
    let told = subject.tell(worker, command);
    told.or_else(|refusal| differs(format!("a message is refused: {refusal:?}")))
}

/// Fails with `how` unless `line` stands in the journal `times` times soon.
async fn expect(journal: &Journal, line: &str, times: usize, how: &str) -> Outcome {
    if journal.sees(line, times).await {
        Ok(())
    } else {
        differs(how)
    }
}

/// Fails with `how` when `line` stands in the journal more than `times` times after a while of quiet.
async fn reject(journal: &Journal, line: &str, times: usize, how: &str) -> Outcome {
    pause(QUIET).await;
    if journal.count(line) > times {
        differs(how)
    } else {
        Ok(())
    }
}

async fn ended<S: Subject>(subject: &S, spec: Spec) -> Outcome<S::Worker> {
    let journal = spec.journal.clone();
    let line = format!("gone {}", spec.id);
    let worker = subject.spawn(spec).await?;
    tell(subject, &worker, Command::Stop)?;
    expect(&journal, &line, 1, "a process told to stop does not").await?;
    // The state is dropped a moment before the library knows the process as dead.
    pause(QUIET).await;
    Ok(worker)
}
