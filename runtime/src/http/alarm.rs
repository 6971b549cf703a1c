//! A timer of the system's wheel that is looked at often and rings seldom.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::System;

/// A timer of the system's wheel, owned.
pub(crate) type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A future that ends after `duration` by the system's wheel.
pub(crate) fn sleep(system: &System, duration: Duration) -> Sleep {
    let system = system.clone();
    Box::pin(async move { system.sleep(duration).await })
}

/// A timer that is set. It goes to the wheel once for each task that waits for it; to ask whether it has rung takes neither the wheel nor
/// the clock.
pub(crate) struct Alarm {
    pub(crate) at: Duration,
    timer: Sleep,
    bell: Option<Arc<Bell>>,
}

/// Wakes the task that waits, and tells it why.
struct Bell {
    rung: AtomicBool,
    task: Waker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

impl Alarm {
    pub(crate) fn new(system: &System, at: Duration, now: Duration) -> Self {
        Self {
            at,
            timer: sleep(system, at.saturating_sub(now)),
            bell: None,
        }
    }

    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        let waits = |bell: &Arc<Bell>| {
            bell.task.will_wake(cx.waker()) && !bell.rung.load(Ordering::Acquire)
        };
        if self.bell.as_ref().is_some_and(waits) {
            return Poll::Pending;
        }
        let bell = Arc::new(Bell {
            rung: AtomicBool::new(false),
            task: cx.waker().clone(),
        });
        self.bell = Some(bell.clone());
        let waker = Waker::from(bell);
        self.timer.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Woken {
        fn times(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn it_wakes_whoever_asked_last_and_asks_its_timer_only_then() {
        let system = System::new();
        let now = system.clock().now();
        let mut alarm = Alarm::new(&system, now + Duration::from_secs(3_600), now);
        let (first, last) = (Arc::<Woken>::default(), Arc::<Woken>::default());
        let mut bells = Vec::new();
        for woken in [&first, &last, &last] {
            let waker = Waker::from(woken.clone());
            assert!(alarm.poll(&Context::from_waker(&waker)).is_pending());
            bells.extend(alarm.bell.clone());
        }
        assert!(Arc::ptr_eq(&bells[1], &bells[2]), "the timer was not asked");
        bells[2].wake_by_ref();
        assert_eq!((first.times(), last.times()), (0, 1));
        let waker = Waker::from(last);
        assert!(alarm.poll(&Context::from_waker(&waker)).is_pending());
        bells.extend(alarm.bell.clone());
        assert!(!Arc::ptr_eq(&bells[2], &bells[3]), "it was");
    }
}
