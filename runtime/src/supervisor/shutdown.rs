//! `ShutdownType`, and the orderly stop of one child.

use std::time::Duration;

use crate::exit::ExitReason;
use crate::pid::Pid;
use crate::process::kernel::Kernel;
use crate::timer;

/// How a child is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ShutdownType {
    /// Killed at once; no `terminate`.
    BrutalKill,
    /// Asked with `Shutdown`, killed when it has not ended in time.
    Timeout(Duration),
    /// Asked with `Shutdown` and waited for. For supervisors, whose children have their own timeouts.
    Infinity,
}

/// Tells a child to stop.
pub(super) fn ask(kernel: &Kernel, supervisor: Pid, child: Pid, how: ShutdownType) {
    match how {
        ShutdownType::BrutalKill => kernel.kill(child),
        ShutdownType::Timeout(_) | ShutdownType::Infinity => {
            kernel.exit(supervisor, child, ExitReason::shutdown())
        }
    };
}

/// Waits until a child that was asked at `asked` has ended, killing it when its time is up.
pub(super) async fn wait(kernel: &Kernel, child: Pid, how: ShutdownType, asked: Duration) {
    let ended = kernel.wait_for_exit(child);
    match how {
        ShutdownType::BrutalKill | ShutdownType::Infinity => drop(ended.await),
        ShutdownType::Timeout(limit) => {
            let mut ended = std::pin::pin!(ended);
            let left = kernel.until(asked.saturating_add(limit));
            if timer::timeout(kernel.timers(), left, ended.as_mut())
                .await
                .is_err()
            {
                kernel.kill(child);
                ended.await;
            }
        }
    }
}
