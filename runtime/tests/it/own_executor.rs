//! An executor of one's own, which may poll a task with another waker each time.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as Polled, Poll, Wake, Waker};
use std::time::Duration;

use mesh_runtime::{Context, ExitReason, Pid, Scheduler, System, Task};

/// Keeps the tasks of processes for the test to poll; runs nothing itself.
#[derive(Default)]
struct Hand(Mutex<Vec<Task>>);

impl fmt::Debug for Hand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Hand")
    }
}

impl Scheduler for Hand {
    fn spawn(&self, task: Task) {
        drop(task);
    }

    fn spawn_process(&self, _process: Pid, _behaviour: &'static str, task: Task) {
        self.0.lock().expect("nobody has panicked").push(task);
    }

    fn spawn_blocking(&self, _work: Box<dyn FnOnce() + Send + 'static>) {
        unreachable!("nothing here blocks")
    }

    fn sleep(&self, _duration: Duration) -> Task {
        unreachable!("nobody drives the timers")
    }
}

/// Knows whether it was woken.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The waker of a future within a task.
struct Within {
    woken: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Wake for Within {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Relaxed);
        if let Some(task) = self.task.lock().expect("nobody has panicked").take() {
            task.wake();
        }
    }
}

/// As a set of futures does it: `future` has a waker of its own, and is polled only after that was woken.
async fn polled_when_woken<F: Future>(future: F) -> F::Output {
    let within = Arc::new(Within {
        woken: AtomicBool::new(true),
        task: Mutex::default(),
    });
    let waker = Waker::from(within.clone());
    let mut future = pin!(future);
    poll_fn(|task| {
        *within.task.lock().expect("nobody has panicked") = Some(task.waker().clone());
        if within.woken.swap(false, Ordering::Relaxed) {
            future.as_mut().poll(&mut Polled::from_waker(&waker))
        } else {
            Poll::Pending
        }
    })
    .await
}

/// Polls a task with a waker of this poll alone.
fn poll(task: &mut Task) -> (Poll<()>, Arc<Flag>) {
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(flag.clone());
    (task.as_mut().poll(&mut Polled::from_waker(&waker)), flag)
}

fn is_woken_by_a_message<F, Fut>(body: F)
where
    F: FnOnce(Context<u8>) -> Fut + Send + 'static,
    Fut: Future<Output = ExitReason> + Send + 'static,
{
    let hand = Arc::new(Hand::default());
    let system = System::builder().scheduler(hand.clone()).build();
    let process = system.spawn(body);
    let mut task = hand
        .0
        .lock()
        .expect("nobody has panicked")
        .pop()
        .expect("it was spawned");
    let (first, _old) = poll(&mut task);
    assert!(first.is_pending());
    let (second, newest) = poll(&mut task);
    assert!(second.is_pending());
    process.send(7).expect("it lives");
    assert!(newest.0.load(Ordering::Relaxed), "it sleeps for ever");
    assert!(poll(&mut task).0.is_ready());
}

#[test]
fn receive_within_a_set_of_futures_survives_a_new_waker_of_the_task() {
    is_woken_by_a_message(async |mut cx| {
        assert_eq!(polled_when_woken(cx.receive()).await, 7);
        ExitReason::normal()
    });
}

#[test]
fn receive_survives_a_new_waker_of_the_task() {
    is_woken_by_a_message(async |mut cx| {
        assert_eq!(cx.receive().await, 7);
        ExitReason::normal()
    });
}
