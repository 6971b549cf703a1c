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
    // Whoever ends may start others in its last moments; they are asked in the next round.
    loop {
        let left = everybody(kernel);
        if left.is_empty() {
            return Ok(());
        }
        for pid in &left {
            kernel.exit(kernel.root(), *pid, ExitReason::shutdown());
        }
        if !ended_by(kernel, &left, end).await {
            break;
        }
    }
    let mut killed = Vec::new();
    let end = kernel.clock().now().saturating_add(GRACE);
    loop {
        let left = everybody(kernel);
        for pid in &left {
            kernel.kill(*pid);
        }
        killed.extend(
            left.iter()
                .filter(|pid| !killed.contains(*pid))
                .copied()
                .collect::<Vec<_>>(),
        );
        if left.is_empty() || !ended_by(kernel, &left, end).await {
            break;
        }
    }
    match killed.is_empty() {
        true => Ok(()),
        false => Err(ShutdownTimeout { killed }),
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
