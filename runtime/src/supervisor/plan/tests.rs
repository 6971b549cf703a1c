//! The plan against an independent model: a row of children that is changed one step at a time, as OTP's supervisor.erl does it.

use std::time::Duration;

use proptest::prelude::{Just, prop_oneof, proptest};
use proptest::strategy::Strategy as Generator;

use super::{Plan, plan};
use crate::exit::ExitReason;
use crate::supervisor::restart::{RestartType, RestartWindow};
use crate::supervisor::strategy::Strategy;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Act {
    Stop(usize),
    Forget(usize),
    Start(usize),
}

/// What OTP does, in the order in which it does it; `None` when it gives up.
fn model(
    strategy: Strategy,
    types: &[RestartType],
    died: usize,
    reason: &ExitReason,
    allowed: bool,
) -> Option<Vec<Act>> {
    let mut acts = Vec::new();
    let abnormal = *reason != ExitReason::normal() && *reason != ExitReason::shutdown();
    match types[died] {
        RestartType::Temporary => return Some(vec![Act::Forget(died)]),
        RestartType::Transient if !abnormal => return Some(acts),
        RestartType::Transient | RestartType::Permanent => {}
    }
    if !allowed {
        return None;
    }
    // Children before `first` are not touched.
    let first = match strategy {
        Strategy::OneForAll => 0,
        Strategy::OneForOne | Strategy::RestForOne => died,
    };
    let last = if strategy == Strategy::OneForOne {
        died
    } else {
        types.len() - 1
    };
    let mut index = last;
    loop {
        if index != died {
            acts.push(Act::Stop(index));
        }
        if index == first {
            break;
        }
        index -= 1;
    }
    let touched = || types.iter().enumerate().take(last + 1).skip(first);
    for (index, restart_type) in touched() {
        if *restart_type == RestartType::Temporary {
            acts.push(Act::Forget(index));
        }
    }
    for (index, restart_type) in touched() {
        if *restart_type != RestartType::Temporary {
            acts.push(Act::Start(index));
        }
    }
    Some(acts)
}

/// The window as its definition says: the restarts no older than `within`, counted anew each time.
fn allowed(history: &[Duration], now: Duration, max_restarts: u32, within: Duration) -> bool {
    let recent = history.iter().filter(|time| now - **time <= within).count();
    recent < max_restarts as usize
}

fn acts(plan: Plan, died: usize) -> Option<Vec<Act>> {
    match plan {
        Plan::Rest => Some(Vec::new()),
        Plan::Forget => Some(vec![Act::Forget(died)]),
        Plan::GiveUp => None,
        Plan::Restart {
            stop,
            forget,
            start,
        } => Some(
            stop.into_iter()
                .map(Act::Stop)
                .chain(forget.into_iter().map(Act::Forget))
                .chain(start.into_iter().map(Act::Start))
                .collect(),
        ),
    }
}

fn strategy() -> impl Generator<Value = Strategy> {
    prop_oneof![
        Just(Strategy::OneForOne),
        Just(Strategy::OneForAll),
        Just(Strategy::RestForOne)
    ]
}

fn restart_type() -> impl Generator<Value = RestartType> {
    prop_oneof![
        Just(RestartType::Permanent),
        Just(RestartType::Transient),
        Just(RestartType::Temporary)
    ]
}

fn reason() -> impl Generator<Value = ExitReason> {
    prop_oneof![
        Just(ExitReason::normal()),
        Just(ExitReason::shutdown()),
        Just(ExitReason::killed()),
        Just(ExitReason::no_process()),
        Just(ExitReason::no_connection()),
        Just(ExitReason::restart_intensity()),
        Just(ExitReason::panic("boom", "here")),
        Just(ExitReason::error("x")),
    ]
}

proptest! {
    #[test]
    fn plan_is_what_the_model_does(
        strategy in strategy(),
        types in proptest::collection::vec(restart_type(), 1..8),
        max_restarts in 0..4_u32,
        within in (1..50_u64).prop_map(Duration::from_millis),
        deaths in proptest::collection::vec((0..8_usize, reason(), 0..30_u64), 1..40),
    ) {
        let mut window = RestartWindow::new(max_restarts, within);
        let mut history = Vec::new();
        let mut now = Duration::ZERO;
        for (died, reason, pause) in deaths {
            let died = died % types.len();
            now += Duration::from_millis(pause);
            let expected = model(strategy, &types, died, &reason, allowed(&history, now, max_restarts, within));
            let found = acts(plan(strategy, &types, died, &reason, &mut window, now), died);
            assert_eq!(found, expected);
            let Some(acts) = expected else { break };
            if acts.iter().any(|act| matches!(act, Act::Start(_))) {
                history.push(now);
            }
        }
    }
}
