//! The last of the restarts that a supervisor tells together.

use crate::exit::ExitReason;
use crate::process::storms::Last;
use crate::telemetry::SUPERVISOR;

/// A child that was restarted, and why.
#[derive(Default)]
pub(super) struct Restarted {
    id: String,
    reason: Option<ExitReason>,
}

impl Restarted {
    pub(super) fn keep(&mut self, id: &str, reason: &ExitReason) {
        id.clone_into(&mut self.id);
        self.reason = Some(reason.clone());
    }
}

impl Last for Restarted {
    fn tell(&self, count: u64) {
        if let Some(reason) = &self.reason {
            tracing::warn!(
                target: SUPERVISOR,
                { restart.count = count, supervisor.child = self.id, exit.reason = %reason },
                "children ended and are restarted too often to be told one by one; this was the last"
            );
        }
    }
}
