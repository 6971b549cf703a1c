//! Ends that are easily got wrong: a task that never ran, a panic that was caught before, a look at a process half gone.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use mesh_runtime::{Context, ExitKind, ExitReason, StartError, System};

use crate::exit_reasons::{ended, gated};
use crate::support::{Args, PATIENCE, Pen, Worker, journal, soon};

/// An executor that is going down: takes tasks and drops them.
#[derive(Debug)]
struct Closed;

impl mesh_runtime::Scheduler for Closed {
    fn spawn(&self, task: mesh_runtime::Task) {
        drop(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send + 'static>) {
        drop(work);
    }

    fn sleep(&self, _duration: Duration) -> mesh_runtime::Task {
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test]
async fn process_that_never_ran_has_ended_too() {
    let outside = System::new();
    let system = System::builder().scheduler(Arc::new(Closed)).build();
    let process = system.spawn(|_cx: Context<()>| async {});
    let args = Args {
        name: "nowhere",
        journal: journal().0,
        trap: false,
    };
    assert!(!process.is_alive());
    let started = soon(&outside, system.start::<Worker>(args)).await;
    assert!(matches!(
        started,
        Err(StartError::Failed { child: None, reason }) if reason == ExitKind::Killed
    ));
    assert!(system.inspect().processes.is_empty());
}

/// Looks, while the timers of a dying process are cancelled, whether outsiders already think it over.
struct Mourner {
    system: System,
    pid: mesh_runtime::Pid,
    journal: Pen<bool>,
}

impl Drop for Mourner {
    fn drop(&mut self) {
        let told = std::pin::pin!(self.system.wait_for_exit(self.pid));
        let mut task = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = self.journal.send(told.poll(&mut task).is_ready());
    }
}

#[tokio::test]
async fn nobody_is_told_before_everything_is_let_go() {
    let system = System::new();
    let (sender, mut seen) = journal();
    let process = system.spawn(|cx: Context<Mourner>| async move { cx.sleep(PATIENCE).await });
    let mourner = Mourner {
        system: system.clone(),
        pid: process.pid(),
        journal: sender,
    };
    system.send_after(&process, PATIENCE, mourner);
    system.kill(process.pid());
    assert!(!seen.next(&system).await, "told while timers were pending");
}

#[tokio::test]
async fn panic_is_not_mistaken_for_an_earlier_one() {
    let system = System::new();
    let process = gated(&system, || {
        let first = std::panic::catch_unwind(|| panic!("caught by its own process"));
        drop(first);
        std::panic::resume_unwind(Box::new("the one that counts"))
    });
    let reason = ended(&system, &process).await;
    assert!(
        matches!(reason.kind(), ExitKind::Panic { message, .. } if &**message == "the one that counts"),
        "{reason:?}"
    );
}

#[tokio::test]
async fn normal_exit_signal_to_oneself_ends_the_process() {
    let system = System::new();
    let process = system.spawn(|mut cx: Context<()>| async move {
        cx.receive().await;
        let me = cx.pid();
        cx.exit(me, ExitReason::normal());
        cx.sleep(PATIENCE).await;
        ExitReason::error("went on")
    });
    assert_eq!(ended(&system, &process).await, ExitKind::Normal);
}
