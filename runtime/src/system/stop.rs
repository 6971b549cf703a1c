//! Orderly shutdown: trees in reverse, then the rest, and a deadline of last resort.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::exit::ExitReason;
use crate::pid::Pid;
use crate::process::kernel::Kernel;
use crate::timer;

use super::root::Trees;

/// Processes that had not ended at the deadline and were killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShutdownTimeout {
    /// Who had to be killed.
    pub killed: Vec<Pid>,
}

impl fmt::Display for ShutdownTimeout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} processes had to be killed at the shutdown deadline",
            self.killed.len()
        )
    }
}

impl std::error::Error for ShutdownTimeout {}

/// How long killed processes may take to come to a suspension.
const GRACE: Duration = Duration::from_secs(1);

pub(super) async fn shutdown(
    kernel: &Arc<Kernel>,
    deadline: Duration,
) -> Result<(), ShutdownTimeout> {
    let end = kernel.clock().now().saturating_add(deadline);
    let mut trees = kernel.part::<Trees>().all();
    trees.reverse();
    for tree in trees {
        kernel.exit(kernel.root(), tree, ExitReason::shutdown());
        if !ended_by(kernel, &[tree], end).await {
            break;
        }
    }
    let left = everybody(kernel);
    for pid in &left {
        kernel.exit(kernel.root(), *pid, ExitReason::shutdown());
    }
    if ended_by(kernel, &left, end).await {
        return Ok(());
    }
    let killed = everybody(kernel);
    for pid in &killed {
        kernel.kill(*pid);
    }
    ended_by(kernel, &killed, kernel.clock().now().saturating_add(GRACE)).await;
    if killed.is_empty() {
        Ok(())
    } else {
        Err(ShutdownTimeout { killed })
    }
}

/// Everybody alive but whoever asks for the shutdown from inside.
fn everybody(kernel: &Kernel) -> Vec<Pid> {
    let asking = crate::process::current::pid();
    kernel
        .table()
        .all()
        .iter()
        .map(|process| process.pid)
        .filter(|pid| Some(*pid) != asking)
        .collect()
}

async fn ended_by(kernel: &Arc<Kernel>, pids: &[Pid], end: Duration) -> bool {
    for pid in pids {
        if timer::timeout(
            kernel.timers(),
            kernel.until(end),
            kernel.wait_for_exit(*pid),
        )
        .await
        .is_err()
        {
            return false;
        }
    }
    true
}
