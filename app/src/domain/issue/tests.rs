//! The rules of an issue's life, by example and against a model.

use jiff::Timestamp;
use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{ArchivedUntil, Arrival, IssueState, IssueStatus, TransitionKind, on_event};
use crate::domain::severity::Severity;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn arrival(second: i64) -> Arrival {
    Arrival {
        occurred_at: at(second),
        received_at: at(second),
        level: Severity::Error,
    }
}

fn fresh(second: i64) -> IssueState {
    on_event(None, &arrival(second)).state
}

#[test]
fn the_first_event_makes_the_issue_and_the_next_counts() {
    let made = on_event(None, &arrival(10));
    assert_eq!(made.kind, TransitionKind::New);
    let next = on_event(Some(&made.state), &arrival(12));
    assert_eq!(next.kind, TransitionKind::Counted);
    assert_eq!((next.state.event_count, next.state.last_seen), (2, at(12)));
}

#[test]
fn late_events_widen_the_span_but_do_not_set_the_level() {
    let late = Arrival {
        level: Severity::Fatal,
        ..arrival(5)
    };
    let state = on_event(Some(&fresh(10)), &late).state;
    assert_eq!(
        (state.first_seen, state.last_seen, state.level),
        (at(5), at(10), Severity::Error)
    );
}

#[test]
fn a_resolved_issue_regresses_once() {
    let resolved = fresh(10).resolved(at(11));
    let back = on_event(Some(&resolved), &arrival(12));
    assert_eq!(back.kind, TransitionKind::Regressed);
    assert_eq!(
        (back.state.status, back.state.regressed),
        (IssueStatus::Unresolved, true)
    );
    assert_eq!(
        on_event(Some(&back.state), &arrival(13)).kind,
        TransitionKind::Counted
    );
}

#[test]
fn an_event_received_before_the_resolution_does_not_regress_it() {
    let resolved = fresh(10).resolved(at(20));
    let replayed = on_event(Some(&resolved), &arrival(19));
    assert_eq!(replayed.kind, TransitionKind::Counted);
    assert_eq!(replayed.state.status, IssueStatus::Resolved);
    assert_eq!(replayed.state.event_count, 2);
}

#[test]
fn archived_issues_wake_by_count_or_time_or_never() {
    let until_count = fresh(10).archived(ArchivedUntil::EventCount(3));
    let second = on_event(Some(&until_count), &arrival(11));
    assert_eq!(second.kind, TransitionKind::Counted);
    let third = on_event(Some(&second.state), &arrival(12));
    assert_eq!(third.kind, TransitionKind::Escalated);
    assert!(!third.state.regressed);

    let until_time = fresh(10).archived(ArchivedUntil::Time(at(20)));
    assert_eq!(
        on_event(Some(&until_time), &arrival(19)).kind,
        TransitionKind::Counted
    );
    assert_eq!(
        on_event(Some(&until_time), &arrival(20)).kind,
        TransitionKind::Escalated
    );

    let forever = fresh(10).archived(ArchivedUntil::Forever);
    assert_eq!(
        on_event(Some(&forever), &arrival(9_999)).state.status,
        IssueStatus::Archived
    );
}

#[test]
fn a_discarded_issue_stays_as_it_is() {
    let discarded = fresh(10).discarded();
    let dropped = on_event(Some(&discarded), &arrival(11));
    assert_eq!(
        (dropped.kind, &dropped.state),
        (TransitionKind::Discarded, &discarded)
    );
}

#[test]
fn words_match_serde() {
    for status in IssueStatus::ALL {
        assert_eq!(status.as_str().parse(), Ok(status));
        assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
    }
    assert_eq!(
        serde_json::to_value(TransitionKind::New).unwrap(),
        TransitionKind::New.as_str()
    );
}

#[derive(Clone, Debug)]
enum Step {
    Event(i64),
    Resolve(i64),
    Unresolve,
    Archive(ArchivedUntil),
    Discard,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..100_i64).prop_map(Step::Event),
        2 => (0..100_i64).prop_map(Step::Resolve),
        1 => Just(Step::Unresolve),
        1 => Just(Step::Archive(ArchivedUntil::Forever)),
        1 => (0..100_i64).prop_map(|second| Step::Archive(ArchivedUntil::Time(at(second)))),
        1 => (0..20_u64).prop_map(|count| Step::Archive(ArchivedUntil::EventCount(count))),
        1 => Just(Step::Discard),
    ]
}

proptest! {
    /// Whatever happens in whatever order: counts are exact, spans hold every counted event, marks fit the status.
    #[test]
    fn any_life_keeps_the_books(steps in proptest::collection::vec(step(), 0..60)) {
        let mut state: Option<IssueState> = None;
        let mut counted = Vec::new();
        for step in steps {
            match (step, &state) {
                (Step::Event(second), before) => {
                    let transition = on_event(before.as_ref(), &arrival(second));
                    let was = before.as_ref().map(|state| state.status);
                    match transition.kind {
                        TransitionKind::New => prop_assert_eq!(was, None),
                        TransitionKind::Regressed => prop_assert_eq!(was, Some(IssueStatus::Resolved)),
                        TransitionKind::Escalated => prop_assert_eq!(was, Some(IssueStatus::Archived)),
                        TransitionKind::Discarded => prop_assert_eq!(was, Some(IssueStatus::Discarded)),
                        TransitionKind::Counted => prop_assert_eq!(was, Some(transition.state.status)),
                    }
                    if transition.kind != TransitionKind::Discarded {
                        counted.push(second);
                    }
                    state = Some(transition.state);
                }
                (_, None) => {}
                (Step::Resolve(second), Some(before)) => state = Some(before.resolved(at(second))),
                (Step::Unresolve, Some(before)) => state = Some(before.unresolved()),
                (Step::Archive(until), Some(before)) => state = Some(before.archived(until)),
                (Step::Discard, Some(before)) => state = Some(before.discarded()),
            }
            let Some(state) = &state else { continue };
            prop_assert_eq!(state.event_count, counted.len() as u64);
            prop_assert_eq!(Some(state.first_seen), counted.iter().min().map(|second| at(*second)));
            prop_assert_eq!(Some(state.last_seen), counted.iter().max().map(|second| at(*second)));
            prop_assert!(!state.regressed || state.status == IssueStatus::Unresolved);
            prop_assert!(state.resolved_at.is_none() || state.status == IssueStatus::Resolved);
        }
    }
}
