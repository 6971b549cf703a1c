//! tokio-util's `DelayQueue`: the timers of one task.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::sync::oneshot;
use tokio_util::time::DelayQueue;

use crate::contender::{Lateness, Library, TimerCost, Timers};
use crate::measure::resident_bytes;

#[derive(Clone)]
pub(crate) struct Queue;

impl Library for Queue {
    fn new() -> Queue {
        Queue
    }
}

impl Timers for Queue {
    async fn set_and_cancel(&self, delays: Vec<Duration>) -> TimerCost {
        let mut queue = DelayQueue::new();
        let blank = queue.insert(0_u64, Duration::from_secs(3_600));
        let mut timers = Vec::with_capacity(delays.len());
        timers.resize(delays.len(), blank);
        let before = resident_bytes();
        let start = Instant::now();
        for (timer, delay) in timers.iter_mut().zip(delays) {
            *timer = queue.insert(7, delay);
        }
        let insert = start.elapsed();
        let bytes = resident_bytes().saturating_sub(before);
        let start = Instant::now();
        for timer in &timers {
            assert_eq!(queue.remove(timer).into_inner(), 7);
        }
        TimerCost {
            insert,
            cancel: start.elapsed(),
            bytes,
        }
    }

    async fn lateness(&self, delays: Vec<Duration>) -> Vec<Duration> {
        let (done, seen) = oneshot::channel();
        let mut lateness = Lateness::new(delays.len(), done);
        let mut queue = DelayQueue::new();
        for delay in delays {
            queue.insert(Instant::now() + delay, delay);
        }
        while let Some(expired) = queue.next().await {
            lateness.note(expired.into_inner());
        }
        seen.await.expect("all timers fire")
    }
}
