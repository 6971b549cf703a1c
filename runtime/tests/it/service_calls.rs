//! Calls: every one resolves exactly once.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{self, Wake, Waker};
use std::time::Duration;

use mesh_runtime::{
    Actor, Address, CallError, Capacity, ChildSpec, Context, ExitKind, ExitReason, Flow, Overflow,
    ReplyTo, Strategy, Supervisor, System,
};

use crate::support::{self, Args, Life, Message, Worker, journal, soon};

async fn start(system: &System) -> (Address<Message>, support::Journal<Life>) {
    let (sender, journal) = journal();
    let args = Args {
        name: "worker",
        journal: sender,
        trap: false,
    };
    (
        system
            .start::<Worker>(args)
            .await
            .expect("the worker starts"),
        journal,
    )
}

#[tokio::test]
async fn call_is_answered() {
    let system = System::new();
    let (worker, _journal) = start(&system).await;
    worker.send(Message::Add(2)).unwrap();
    worker.send(Message::Add(3)).unwrap();
    assert_eq!(soon(&system, worker.call(Message::Total)).await, Ok(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_works_from_anywhere() {
    let system = System::new();
    let (worker, _journal) = start(&system).await;
    let (sender, mut seen) = journal();
    let inside = worker.clone();
    system.spawn(move |_cx: Context<()>| async move {
        let _ = sender.send(inside.call(Message::Total).await);
    });
    assert_eq!(seen.next(&system).await, Ok(0));
    let outside = worker.clone();
    let task = std::thread::scope(|scope| {
        let handle = tokio::runtime::Handle::current();
        scope
            .spawn(move || handle.block_on(outside.call(Message::Total)))
            .join()
    });
    assert_eq!(task.unwrap(), Ok(0));
}

#[tokio::test]
async fn call_ends_as_exited_when_the_callee_dies_during_it() {
    let system = System::new();
    let (worker, _journal) = start(&system).await;
    let error = soon(&system, worker.call(Message::PanicInCall))
        .await
        .unwrap_err();
    let CallError::Exited(reason) = error else {
        panic!("{error:?}")
    };
    assert!(
        matches!(reason.kind(), ExitKind::Panic { message, .. } if &**message == "in the middle of a call")
    );
}

#[tokio::test]
async fn call_held_by_a_dying_process_ends_as_its_reason() {
    let system = System::new();
    let (worker, _journal) = start(&system).await;
    let held = worker.call(Message::Hold);
    let mut held = std::pin::pin!(held);
    assert!(
        system
            .timeout(Duration::from_millis(5), held.as_mut())
            .await
            .is_err()
    );
    worker
        .send(Message::Stop(ExitReason::error("enough")))
        .unwrap();
    assert_eq!(
        soon(&system, held).await,
        Err(CallError::Exited(ExitReason::error("enough")))
    );
}

#[tokio::test]
async fn call_dropped_by_a_handler_that_stops_ends_as_the_stop_reason() {
    let system = System::new();
    let callee = system.spawn(|mut cx: Context<ReplyTo<u64>>| async move {
        let token = cx.receive().await;
        drop(token);
        ExitReason::error("stopped instead of answering")
    });
    let answer = soon(&system, callee.call(|to| to)).await;
    assert_eq!(
        answer,
        Err(CallError::Exited(ExitReason::error(
            "stopped instead of answering"
        )))
    );
}

#[tokio::test]
async fn call_waiting_in_a_dead_mailbox_ends_as_exited() {
    let system = System::new();
    let (worker, _journal) = start(&system).await;
    worker.send(Message::Stop(ExitReason::shutdown())).unwrap();
    // Queued behind the stop, so never handled.
    let answer = soon(&system, worker.call(Message::Total)).await;
    assert_eq!(answer, Err(CallError::Exited(ExitReason::shutdown())));
}

#[tokio::test]
async fn call_in_the_message_of_a_timer_ends_as_the_reason_of_its_life() {
    let system = System::new();
    let callee = system.spawn(|mut cx: Context<ReplyTo<u64>>| async move {
        let token = cx.receive().await;
        let me = cx.address();
        cx.send_after(&me, support::PATIENCE, token);
        ExitReason::error("too early")
    });
    assert_eq!(
        soon(&system, callee.call(|to| to)).await,
        Err(CallError::Exited(ExitReason::error("too early")))
    );
}

#[tokio::test]
async fn call_in_the_message_of_a_timer_finds_a_full_mailbox() {
    let system = System::new();
    let body = |mut cx: Context<Option<ReplyTo<u64>>>| async move {
        let token = cx.receive().await;
        let me = cx.address();
        me.send(None).unwrap();
        cx.send_after(&me, Duration::from_millis(1), token);
        std::future::pending::<ExitReason>().await
    };
    let callee = system.spawn_with(Capacity::bounded(1), body);
    assert_eq!(soon(&system, callee.call(Some)).await, Err(CallError::Full));
    assert!(callee.is_alive());
}

#[tokio::test]
async fn call_dropped_by_a_living_callee_ends_as_no_reply() {
    let system = System::new();
    let callee = system.spawn(|mut cx: Context<ReplyTo<u64>>| async move {
        loop {
            drop(cx.receive().await);
        }
        #[expect(unreachable_code, reason = "the closure must have an output")]
        ExitReason::normal()
    });
    assert_eq!(
        soon(&system, callee.call(|to| to)).await,
        Err(CallError::NoReply)
    );
    assert!(callee.is_alive());
}

#[tokio::test]
async fn call_to_nobody_ends_as_no_process() {
    let system = System::new();
    let (worker, _journal) = start(&system).await;
    system.kill(worker.pid());
    soon(&system, system.wait_for_exit(worker.pid())).await;
    assert_eq!(
        soon(&system, worker.call(Message::Total)).await,
        Err(CallError::NoProcess)
    );
}

#[tokio::test]
async fn late_reply_is_dropped_and_counted() {
    let system = System::new();
    let (sender, mut tokens) = journal();
    let callee = system.spawn(move |mut cx: Context<ReplyTo<u64>>| async move {
        loop {
            let _ = sender.send(cx.receive().await);
        }
        #[expect(unreachable_code, reason = "the closure must have an output")]
        ExitReason::normal()
    });
    let timeout = Duration::from_millis(2);
    assert_eq!(
        callee.call_timeout(timeout, |to| to).await,
        Err(CallError::Timeout)
    );
    let late = tokens.next(&system).await;
    let second = callee.call(|to| to);
    let mut second = std::pin::pin!(second);
    assert!(system.timeout(timeout, second.as_mut()).await.is_err());
    late.reply(1);
    assert_eq!(system.inspect().counts.late_replies, 1);
    tokens.next(&system).await.reply(2);
    assert_eq!(
        soon(&system, second).await,
        Ok(2),
        "the late reply is not mistaken for another"
    );
}

#[tokio::test]
async fn call_to_oneself_is_refused() {
    let system = System::new();
    let (sender, mut seen) = journal();
    system.spawn(move |cx: Context<ReplyTo<u64>>| async move {
        let _ = sender.send(cx.address().call(|to| to).await);
    });
    assert_eq!(seen.next(&system).await, Err(CallError::CallingSelf));
}

#[tokio::test]
async fn call_finds_a_full_mailbox() {
    let system = System::new();
    for (policy, expected) in [
        (Overflow::Reject, CallError::Full),
        (Overflow::DropNewest, CallError::Full),
    ] {
        let capacity = Capacity::bounded(1).overflow(policy);
        let callee = system.spawn_with(capacity, |cx: Context<Option<ReplyTo<u64>>>| async move {
            cx.sleep(support::PATIENCE).await;
        });
        callee.send(None).unwrap();
        let answer = soon(&system, callee.call(Some)).await;
        assert_eq!(answer, Err(expected), "{policy:?}");
    }
}

#[tokio::test]
async fn call_dropped_as_the_oldest_ends_as_full() {
    let system = System::new();
    let capacity = Capacity::bounded(1).overflow(Overflow::DropOldest);
    let callee = system.spawn_with(capacity, |cx: Context<Option<ReplyTo<u64>>>| async move {
        cx.sleep(support::PATIENCE).await;
    });
    let waiting = callee.call(Some);
    let mut waiting = std::pin::pin!(waiting);
    assert!(
        system
            .timeout(Duration::from_millis(2), waiting.as_mut())
            .await
            .is_err()
    );
    callee.send(None).unwrap();
    assert_eq!(soon(&system, waiting).await, Err(CallError::Full));
}

#[tokio::test]
async fn cancelled_call_leaks_nothing() {
    let system = System::new();
    let callee = system.spawn(|cx: Context<ReplyTo<u64>>| async move {
        cx.sleep(support::PATIENCE).await;
    });
    let before = system.inspect().counts.timers;
    for _ in 0..100 {
        let call = callee.call(|to| to);
        let _ = system.timeout(Duration::ZERO, call).await;
    }
    assert_eq!(system.inspect().counts.timers, before);
}

#[tokio::test]
async fn reply_may_come_later_from_anywhere() {
    let system = System::new();
    let (worker, _journal) = start(&system).await;
    let helper = system.spawn(|mut cx: Context<ReplyTo<u64>>| async move {
        cx.receive().await.reply(9);
    });
    let front = system.spawn(move |mut cx: Context<ReplyTo<u64>>| async move {
        let token = cx.receive().await;
        let _ = helper.send(token);
        cx.sleep(support::PATIENCE).await;
    });
    assert_eq!(soon(&system, front.call(|to| to)).await, Ok(9));
    // From a thread that has nothing to do with any process, too.
    let (pen, mut tokens) = support::journal();
    let hands_out = system.spawn(async move |mut cx: Context<ReplyTo<u64>>| -> ExitReason {
        loop {
            pen.send(cx.receive().await).unwrap();
        }
    });
    let call = hands_out.call(|to| to);
    let answer = async {
        let token = tokens.next(&system).await;
        std::thread::spawn(move || token.reply(8)).join().unwrap();
    };
    let (answered, ()) = soon(&system, async { tokio::join!(call, answer) }).await;
    assert_eq!(answered, Ok(8));
    drop(worker);
}

/// Stops instead of answering, and takes its time to clean up.
struct Slow;

impl Actor for Slow {
    type Args = ();
    type Message = (bool, ReplyTo<u64>);

    async fn init((): (), _cx: &mut Context<Self::Message>) -> Result<Self, ExitReason> {
        Ok(Slow)
    }

    async fn handle(
        &mut self,
        (panics, _to): Self::Message,
        _cx: &mut Context<Self::Message>,
    ) -> Flow {
        assert!(!panics, "in hand");
        Flow::Stop(ExitReason::error("stopped instead"))
    }

    async fn terminate(&mut self, _reason: &ExitReason, cx: &mut Context<Self::Message>) {
        cx.sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn call_in_hand_ends_as_the_reason_though_terminate_waits() {
    let system = System::new();
    let slow = system.start::<Slow>(()).await.unwrap();
    assert_eq!(
        soon(&system, slow.call(|to| (false, to))).await,
        Err(CallError::Exited(ExitReason::error("stopped instead")))
    );
    let slow = system.start::<Slow>(()).await.unwrap();
    let answer = soon(&system, slow.call(|to| (true, to))).await;
    assert!(matches!(answer, Err(CallError::Exited(reason)) if reason.is_panic()));
}

/// Calls again from within the wake-up of its first call: nobody can be quicker.
struct CallsAgain {
    worker: Address<(bool, ReplyTo<u64>)>,
    again: std::sync::Mutex<Option<Pin<Box<Answering>>>>,
}

type Answering = dyn Future<Output = Result<u64, CallError>> + Send;

impl Wake for CallsAgain {
    fn wake(self: Arc<Self>) {
        let worker = self.worker.clone();
        let mut again: Pin<Box<Answering>> =
            Box::pin(async move { worker.call(|to| (false, to)).await });
        let first = again
            .as_mut()
            .poll(&mut task::Context::from_waker(Waker::noop()));
        assert!(
            first.is_pending(),
            "a process that is to start again keeps what it is sent"
        );
        *self.again.lock().expect("nobody panics with it") = Some(again);
    }
}

/// Answers with the number of its life; told so, crashes first, and cleans up in two polls.
struct Lives(u64);

impl Actor for Lives {
    type Args = Arc<AtomicU64>;
    type Message = (bool, ReplyTo<u64>);

    async fn init(lives: Self::Args, _cx: &mut Context<Self::Message>) -> Result<Self, ExitReason> {
        Ok(Lives(lives.fetch_add(1, Ordering::Relaxed)))
    }

    async fn handle(
        &mut self,
        (crash, to): Self::Message,
        _cx: &mut Context<Self::Message>,
    ) -> Flow {
        assert!(!crash, "told to crash");
        to.reply(self.0);
        Flow::Continue
    }

    async fn terminate(&mut self, _reason: &ExitReason, _cx: &mut Context<Self::Message>) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn call_after_one_that_ended_as_exited_is_for_the_next_life() {
    let system = System::new();
    let lives = Arc::new(AtomicU64::new(0));
    system
        .supervise(
            Supervisor::new(Strategy::OneForOne).child(ChildSpec::worker::<Lives>("lives", lives)),
        )
        .await
        .unwrap();
    let worker = system.whereis::<(bool, ReplyTo<u64>)>("lives").unwrap();
    let caller = Arc::new(CallsAgain {
        worker: worker.clone(),
        again: std::sync::Mutex::new(None),
    });
    let waker = Waker::from(caller.clone());
    let mut crashing = std::pin::pin!(worker.call(|to| (true, to)));
    let answer = soon(&system, async {
        loop {
            let polled = crashing
                .as_mut()
                .poll(&mut task::Context::from_waker(&waker));
            if let task::Poll::Ready(answer) = polled {
                break answer;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(matches!(answer, Err(CallError::Exited(reason)) if reason.is_panic()));
    let again = caller
        .again
        .lock()
        .unwrap()
        .take()
        .expect("the caller was woken");
    assert_eq!(soon(&system, again).await, Ok(1));
}
