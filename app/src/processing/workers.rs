//! The pool of processors: splits a chunk into equal shares, calls each with its share, finds the event that kills.

use std::time::Duration;

use futures_util::future::join_all;
use mesh_runtime::{CallError, ChildSpec, ExitKind, Strategy, Supervisor, System};

use super::grouping::ProcessingError;
use super::processor::{GROUP, Group, Processor, ProcessorMessage};
use crate::domain::{GroupedEvent, RawEvent};

/// How long a share may take, and one event by itself.
const SHARE_TIMEOUT: Duration = Duration::from_secs(30);
const EVENT_TIMEOUT: Duration = Duration::from_secs(5);

/// Fewer events are not divided: a worker is woken for them in the time it takes to group them.
const SHARE_LEN_MIN: usize = 16;

/// Pause before an event is tried again with a processor that is being restarted.
const RESTART_PAUSE: Duration = Duration::from_millis(20);

/// Restarts the pool's supervisor allows: each crash by an event takes that event out of the
/// stream, so a chunk of nothing but such events ends after this many.
const RESTARTS_MAX: u32 = 4096;
const RESTARTS_WITHIN: Duration = Duration::from_secs(10);
/// Before a pool that was killed outright is started again, since its processors hold their names until they have ended; and the longest such pause.
const POOL_PAUSE_MIN: Duration = Duration::from_millis(20);
const POOL_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Name of the supervisor of the processors.
pub const PROCESSOR_POOL: &str = "ProcessorPool";

/// An event that could not be processed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unprocessed {
    /// The event.
    pub raw: RawEvent,
    /// Why; one line.
    pub reason: String,
}

/// The client's side of the pool.
#[derive(Clone, Debug)]
pub struct Processors {
    system: System,
    workers: usize,
}

impl Processors {
    /// The pool of a system, which has `workers` processors.
    #[must_use]
    pub fn new(system: &System, workers: usize) -> Processors {
        Processors {
            system: system.clone(),
            workers: workers.max(1),
        }
    }

    /// Groups events; each comes back grouped or with the reason why not, in order.
    pub async fn process(&self, events: Vec<RawEvent>) -> Vec<Result<GroupedEvent, Unprocessed>> {
        let count = events.len();
        let share_len = share_len(count, self.workers);
        let mut rest = events.into_iter();
        let mut calls = Vec::with_capacity(self.workers);
        for worker in 0..self.workers {
            let share: Vec<RawEvent> = rest.by_ref().take(share_len).collect();
            if share.is_empty() {
                break;
            }
            calls.push(self.process_share(worker, share));
        }
        let mut results = Vec::with_capacity(count);
        for share in join_all(calls).await {
            results.extend(share);
        }
        results
    }

    async fn process_share(
        &self,
        worker: usize,
        events: Vec<RawEvent>,
    ) -> Vec<Result<GroupedEvent, Unprocessed>> {
        match self.call(worker, events.clone(), SHARE_TIMEOUT).await {
            Ok(results) if results.len() == events.len() => events
                .into_iter()
                .zip(results)
                .map(|(raw, result)| result.map_err(|error| unprocessed(raw, &error)))
                .collect(),
            failed => {
                if matches!(failed, Err(CallError::Timeout)) {
                    self.kill(worker);
                }
                let mut results = Vec::with_capacity(events.len());
                for event in events {
                    results.push(self.process_alone(worker, event).await);
                }
                results
            }
        }
    }

    /// Tries one event until it has an answer, or has killed its processor by itself.
    async fn process_alone(
        &self,
        worker: usize,
        event: RawEvent,
    ) -> Result<GroupedEvent, Unprocessed> {
        loop {
            match self.call(worker, vec![event.clone()], EVENT_TIMEOUT).await {
                Ok(mut results) if results.len() == 1 => {
                    let result = results.pop().expect("there is exactly one");
                    return result.map_err(|error| unprocessed(event, &error));
                }
                Ok(_) => {}
                Err(CallError::Timeout) => {
                    self.kill(worker);
                    let reason = format!("processing took longer than {EVENT_TIMEOUT:?}");
                    return Err(quarantine(event, reason));
                }
                Err(CallError::Exited(reason)) => {
                    if let ExitKind::Panic { message, location } = reason.kind() {
                        let reason = format!("processing panicked at {location}: {message}");
                        return Err(quarantine(event, reason));
                    }
                }
                Err(_) => {}
            }
            self.system.sleep(RESTART_PAUSE).await;
        }
    }

    /// Ends a processor that is stuck; its supervisor starts the next.
    fn kill(&self, worker: usize) {
        if let Some(pid) = self.system.whereis_pid(&processor_name(worker)) {
            self.system.kill(pid);
        }
    }

    async fn call(
        &self,
        worker: usize,
        events: Vec<RawEvent>,
        deadline: Duration,
    ) -> Result<Vec<Result<GroupedEvent, ProcessingError>>, CallError> {
        let processor = self
            .system
            .whereis::<ProcessorMessage>(&processor_name(worker))
            .map_err(|_| CallError::NoProcess)?;
        processor
            .call_timeout(deadline, |reply| {
                ProcessorMessage::ProcessRaw(events, reply)
            })
            .await
    }
}

fn unprocessed(raw: RawEvent, error: &ProcessingError) -> Unprocessed {
    quarantine(raw, error.to_string())
}

fn quarantine(raw: RawEvent, reason: String) -> Unprocessed {
    tracing::warn!(event.id = %raw.event_id, project.id = %raw.project_id, quarantine.reason = %reason, "an event cannot be processed and goes to quarantine");
    Unprocessed { raw, reason }
}

/// How many events in a row each worker gets: grouping knows nothing but its event, and the answers are put together in order again.
fn share_len(events: usize, workers: usize) -> usize {
    events.div_ceil(workers).max(SHARE_LEN_MIN)
}

fn processor_name(worker: usize) -> String {
    format!("Processor{worker}")
}

/// The pool as a child of a supervisor, with the usual way to group.
#[must_use]
pub(super) fn child(workers: usize) -> ChildSpec {
    child_with(workers, GROUP)
}

/// The pool with another way to group.
#[must_use]
pub(super) fn child_with(workers: usize, group: Group) -> ChildSpec {
    ChildSpec::supervisor(PROCESSOR_POOL, move || {
        (0..workers.max(1)).fold(
            Supervisor::new(Strategy::OneForOne).intensity(RESTARTS_MAX, RESTARTS_WITHIN),
            |pool, worker| {
                pool.child(ChildSpec::worker::<Processor>(
                    &processor_name(worker),
                    group,
                ))
            },
        )
    })
    .back_off(POOL_PAUSE_MIN, POOL_PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::{SHARE_LEN_MIN, share_len};

    #[test]
    fn shares_are_equal_cover_all_and_are_worth_a_call() {
        for workers in 1..9 {
            for events in 0..500 {
                let len = share_len(events, workers);
                assert!(len * workers >= events && len >= SHARE_LEN_MIN);
                assert!(len == SHARE_LEN_MIN || (len - 1) * workers < events);
            }
        }
    }
}
