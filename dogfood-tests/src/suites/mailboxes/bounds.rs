//! What a full mailbox keeps, how its calls end, and what selective receive skips.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mesh_runtime::{Address, CallError, Capacity, Context, ExitReason, Overflow, ReplyTo, System};

use crate::stage::{Stage, Tally, until, within};

pub(super) async fn kept(stage: Stage, system: System) {
    for policy in [Overflow::Reject, Overflow::DropOldest, Overflow::DropNewest] {
        let (gate, seen): (Tally, Arc<Mutex<Vec<u64>>>) = Default::default();
        let (opened, noted) = (gate.clone(), seen.clone());
        let capacity = Capacity::bounded(8).overflow(policy);
        let receiver =
            system.spawn_with(capacity, async move |mut cx: Context<u64>| -> ExitReason {
                while opened.get() == 0 {
                    cx.consume_budget(4000).await;
                }
                loop {
                    let number = cx.receive().await;
                    noted.lock().expect("no panic under this lock").push(number);
                }
            });
        for number in 0..100 {
            let _ = receiver.send(number);
        }
        gate.add();
        let expected: Vec<u64> = match policy {
            Overflow::DropOldest => (92..100).collect(),
            _ => (0..8).collect(),
        };
        let now = || seen.lock().expect("no panic under this lock").clone();
        let all = until(|| now().len() >= expected.len() && receiver.is_empty()).await;
        stage.judge(
            "B2",
            "at the bound the oldest or the newest goes, as the policy says",
            all && now() == expected,
            format!("{policy:?} kept {:?}", now()),
        );
    }
}

pub(super) async fn dropped_calls(stage: Stage, system: System) {
    let count = stage.count(1000, 200);
    for policy in [Overflow::Reject, Overflow::DropOldest, Overflow::DropNewest] {
        let gate = Tally::default();
        let opened = gate.clone();
        let callee = system.spawn_with(
            Capacity::bounded(8).overflow(policy),
            async move |mut cx: Context<ReplyTo<()>>| -> ExitReason {
                while opened.get() == 0 {
                    cx.consume_budget(4000).await;
                }
                loop {
                    cx.receive().await.reply(());
                }
            },
        );
        let (full, answered, other) = (Tally::default(), Tally::default(), Tally::default());
        for _ in 0..count {
            let (callee, full, answered, other) = (
                callee.clone(),
                full.clone(),
                answered.clone(),
                other.clone(),
            );
            system.spawn(move |_cx: Context<()>| async move {
                match callee.call_timeout(Duration::from_secs(50), |to| to).await {
                    Ok(()) => answered.add(),
                    Err(CallError::Full) => full.add(),
                    Err(_) => other.add(),
                };
            });
        }
        let overflowed = until(|| full.get() + 8 == count as u64).await;
        gate.add();
        let all = until(|| answered.get() + full.get() + other.get() == count as u64).await;
        stage.judge(
            "C4",
            "a call that overflows ends as Full, the others are answered",
            overflowed && all && answered.get() == 8 && other.get() == 0,
            format!(
                "{policy:?}: {} answered, {} full, {} else",
                answered.get(),
                full.get(),
                other.get()
            ),
        );
    }
}

pub(super) async fn selective(stage: Stage, system: System) {
    let count = stage.count(1000, 200) as u64;
    let wrong = Tally::default();
    let disordered = wrong.clone();
    let chooser: Address<u64> = system.spawn_with(
        Capacity::unbounded(),
        move |mut cx: Context<u64>| async move {
            for expected in (1..count).step_by(2) {
                if cx.receive_match(|number| number % 2 == 1).await != expected {
                    disordered.add();
                }
            }
            for expected in (0..count).step_by(2) {
                if cx.receive().await != expected {
                    disordered.add();
                }
            }
        },
    );
    let ended = system.wait_for_exit(chooser.pid());
    let sender = system.spawn(move |cx: Context<()>| async move {
        for number in 0..count {
            let _ = chooser.send(number);
            cx.consume_budget(100).await;
        }
    });
    let both = within(ended).await;
    stage.judge(
        "A5",
        "selective receive takes what fits and keeps the order of the rest",
        both == Some(ExitReason::normal()) && wrong.get() == 0,
        format!(
            "{} of {count} out of order; sender {}",
            wrong.get(),
            sender.pid()
        ),
    );
}
