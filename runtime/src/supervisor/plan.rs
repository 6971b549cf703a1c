//! Pure: given the children, the strategy, who ended and why, what the supervisor does.

use std::time::Duration;

use crate::exit::ExitReason;

use super::restart::{RestartType, RestartWindow};
use super::strategy::Strategy;

/// What a supervisor does about a child that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Keep its spec; it does not run.
    Rest,
    /// Forget it.
    Forget,
    /// Stop these (in this order), forget those of them that are temporary, then start these (in this order). Indexes of children.
    Restart {
        stop: Vec<usize>,
        forget: Vec<usize>,
        start: Vec<usize>,
    },
    /// Stop everything and exit: the intensity is exceeded.
    GiveUp,
}

/// Decides. `children` are the restart types in the order of start, `died` indexes them; a restart is noted in `window`.
pub(crate) fn plan(
    strategy: Strategy,
    children: &[RestartType],
    died: usize,
    reason: &ExitReason,
    window: &mut RestartWindow,
    now: Duration,
) -> Plan {
    let restart_type = children[died];
    if !restart_type.restarts(reason) {
        return if restart_type == RestartType::Temporary {
            Plan::Forget
        } else {
            Plan::Rest
        };
    }
    if !window.note(now) {
        return Plan::GiveUp;
    }
    let concerned = match strategy {
        Strategy::OneForOne => died..died + 1,
        Strategy::OneForAll => 0..children.len(),
        Strategy::RestForOne => died..children.len(),
    };
    let temporary = |index: &usize| children[*index] == RestartType::Temporary;
    Plan::Restart {
        stop: concerned
            .clone()
            .rev()
            .filter(|index| *index != died)
            .collect(),
        forget: concerned.clone().filter(temporary).collect(),
        start: concerned.filter(|index| !temporary(index)).collect(),
    }
}

#[cfg(test)]
mod tests;
