//! `DynamicSupervisor`: children added and forgotten at run time, each on its own.

use std::time::Duration;

use super::Supervisor;
use super::strategy::Strategy;

/// A supervisor that starts without children and gets them by `SupervisorHandle::start_child`.
///
/// Children are restarted one for one, forgotten when they end for good, and stopped all at once. OTP's simple_one_for_one.
#[derive(Clone, Copy, Debug)]
pub struct DynamicSupervisor {
    max_children: usize,
    max_restarts: u32,
    within: Duration,
}

impl DynamicSupervisor {
    /// No bound on the children, 3 restarts in 5 seconds.
    #[must_use]
    pub fn new() -> DynamicSupervisor {
        use crate::limits::{RESTARTS_MAX, RESTARTS_WITHIN};
        DynamicSupervisor {
            max_children: usize::MAX,
            max_restarts: RESTARTS_MAX,
            within: RESTARTS_WITHIN,
        }
    }

    /// Refuses more than so many children with `StartError::MaxChildren`.
    #[must_use]
    pub fn max_children(mut self, max_children: usize) -> DynamicSupervisor {
        self.max_children = max_children;
        self
    }

    /// As `Supervisor::intensity`.
    #[must_use]
    pub fn intensity(mut self, max_restarts: u32, within: Duration) -> DynamicSupervisor {
        self.max_restarts = max_restarts;
        self.within = within;
        self
    }
}

impl Default for DynamicSupervisor {
    fn default() -> DynamicSupervisor {
        DynamicSupervisor::new()
    }
}

impl From<DynamicSupervisor> for Supervisor {
    fn from(dynamic: DynamicSupervisor) -> Supervisor {
        let mut supervisor =
            Supervisor::new(Strategy::OneForOne).intensity(dynamic.max_restarts, dynamic.within);
        supervisor.max_children = dynamic.max_children;
        supervisor.dynamic = true;
        supervisor
    }
}
