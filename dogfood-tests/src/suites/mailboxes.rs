//! R8: floods ten to one, and an account of every message. Attacks A3, A5, A14, B1, B2, B3, B6 and C4.

use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::Duration;

use mesh_runtime::{Capacity, Context, Event, ExitReason, Overflow, SendError, Signal, System};

use crate::stage::{Census, Counted, Stage, Tally, until, within};

mod bounds;

use bounds::{dropped_calls, kept, selective};

const SENDERS: u64 = 8;
const BOUND: usize = 512;

pub(super) fn play(stage: &Stage) {
    let workers = stage.workers();
    stage.scene("order among many senders", workers, order);
    for policy in [Overflow::Reject, Overflow::DropOldest, Overflow::DropNewest] {
        stage.scene("flood ten to one", workers, move |stage, system| {
            flood(stage, system, policy)
        });
    }
    stage.scene("what is kept at the bound", workers, kept);
    stage.scene("send_wait", workers, waiting);
    stage.scene("calls that overflow", workers, dropped_calls);
    stage.scene("signals ahead of a flood", workers, system_lane);
    stage.scene("death under a flood", workers, closing);
    stage.scene("selective receive", workers, selective);
}

/// One message: who sent it, which of theirs it is, and that it exists.
struct Letter {
    sender: u64,
    number: u64,
    _counted: Counted,
}

fn sender<F>(system: &System, each: u64, from: u64, census: &Census, done: &Tally, send: F)
where
    F: Fn(Letter) + Send + Sync + 'static,
{
    let (census, done) = (census.clone(), done.clone());
    system.spawn(move |cx: Context<()>| async move {
        for number in 0..each {
            send(Letter {
                sender: from,
                number,
                _counted: census.enter(),
            });
            cx.consume_budget(16).await;
        }
        done.add();
    });
}

async fn order(stage: Stage, system: System) {
    let each = stage.count(SENDERS, 100) as u64;
    let (census, done, got, wrong) = (
        Census::default(),
        Tally::default(),
        Tally::default(),
        Tally::default(),
    );
    let (handled, disordered) = (got.clone(), wrong.clone());
    let receiver = system.spawn_with(
        Capacity::unbounded(),
        async move |mut cx: Context<Letter>| -> ExitReason {
            let mut next = vec![0; usize::try_from(SENDERS).unwrap_or(0)];
            loop {
                let letter = cx.receive().await;
                let expected = &mut next[usize::try_from(letter.sender).unwrap_or(0)];
                if letter.number != *expected {
                    disordered.add();
                }
                *expected = letter.number + 1;
                drop(letter);
                handled.add();
            }
        },
    );
    let refused = Tally::default();
    for from in 0..SENDERS {
        let (receiver, refused) = (receiver.clone(), refused.clone());
        sender(&system, each, from, &census, &done, move |letter| {
            if receiver.send(letter).is_err() {
                refused.add();
            }
        });
    }
    let all = until(|| got.get() == each * SENDERS).await;
    stage.judge(
        "A3",
        "messages of each sender arrive all and in order",
        all && wrong.get() == 0 && refused.get() == 0,
        format!(
            "{} of {}, {} out of order",
            got.get(),
            each * SENDERS,
            wrong.get()
        ),
    );
    stage.judge(
        "A3",
        "no message exists after it was handled",
        until(|| census.living() == 0).await,
        format!("{} left", census.living()),
    );
}

async fn flood(stage: Stage, system: System, policy: Overflow) {
    let each = stage.count(SENDERS, 2000) as u64;
    let (census, done, got) = (Census::default(), Tally::default(), Tally::default());
    let (back, other, disordered) = (Tally::default(), Tally::default(), Tally::default());
    let most = Arc::new(AtomicIsize::new(0));
    let capacity = Capacity::bounded(BOUND).overflow(policy);
    let (handled, tickets, wrong) = (got.clone(), Tally::default(), disordered.clone());
    let allowed = tickets.clone();
    // One message is taken for ten that are sent.
    let receiver = system.spawn_with(
        capacity,
        async move |mut cx: Context<Letter>| -> ExitReason {
            let mut last = vec![None; usize::try_from(SENDERS).unwrap_or(0)];
            loop {
                while handled.get() * 10 > allowed.get() {
                    cx.consume_budget(4000).await;
                }
                let letter = cx.receive().await;
                let previous = &mut last[usize::try_from(letter.sender).unwrap_or(0)];
                if previous.is_some_and(|number| number >= letter.number) {
                    wrong.add();
                }
                *previous = Some(letter.number);
                drop(letter);
                handled.add();
            }
        },
    );
    for from in 0..SENDERS {
        let (receiver, tickets, back, other) = (
            receiver.clone(),
            tickets.clone(),
            back.clone(),
            other.clone(),
        );
        let (census_now, most) = (census.clone(), most.clone());
        sender(&system, each, from, &census, &done, move |letter| {
            let (from, number) = (letter.sender, letter.number);
            match receiver.send(letter) {
                Err(SendError::Full(letter))
                    if (letter.sender, letter.number) == (from, number) =>
                {
                    back.add();
                }
                Err(_) => {
                    other.add();
                }
                Ok(()) => {}
            }
            tickets.add();
            most.fetch_max(census_now.living(), Ordering::Relaxed);
        });
    }
    let sent = until(|| done.get() == SENDERS).await;
    let numbers = system.inspect();
    let info = numbers
        .processes
        .iter()
        .find(|info| info.pid == receiver.pid());
    let (high, dropped) = info.map_or((usize::MAX, 0), |info| {
        (info.mailbox_high_water, info.mailbox_dropped)
    });
    let killed = system.wait_for_exit(receiver.pid());
    system.kill(receiver.pid());
    within(killed).await;
    let settled = until(|| census.living() == 0).await;
    let total = each * SENDERS;
    let waiting = total.checked_sub(got.get() + back.get() + dropped);
    let most = most.load(Ordering::Relaxed);
    let name = format!("{policy:?}");
    stage.row(
        &format!("{name}: sent / handled / given back / dropped"),
        format!("{total} / {} / {} / {dropped}", got.get(), back.get()),
    );
    // Beside the bound: one in each sender's hand or being dropped, one in the receiver's.
    let cap = BOUND as isize + SENDERS as isize * 2 + 2;
    stage.judge(
        "B2",
        "a flooded mailbox holds no more than its bound",
        high <= BOUND && most <= cap,
        format!("{name}: high water {high} of {BOUND}, {most} messages alive at most"),
    );
    stage.judge(
        "B2",
        "every message is handled, given back, counted as dropped, or still waiting",
        sent && other.get() == 0 && waiting.is_some_and(|left| left <= BOUND as u64),
        format!(
            "{name}: {waiting:?} waiting at the end, {} other errors",
            other.get()
        ),
    );
    let only = match policy {
        Overflow::Reject => dropped == 0 && back.get() > 0,
        _ => back.get() == 0 && dropped > 0,
    };
    stage.judge(
        "B2 B6",
        "the policy does what it says, in order, and leaves nothing behind",
        only && settled && disordered.get() == 0,
        format!(
            "{name}: {} out of order, {} alive",
            disordered.get(),
            census.living()
        ),
    );
}

async fn waiting(stage: Stage, system: System) {
    let each = stage.count(SENDERS * 4, 200) as u64;
    let (census, got, done, wrong) = (
        Census::default(),
        Tally::default(),
        Tally::default(),
        Tally::default(),
    );
    let (handled, disordered) = (got.clone(), wrong.clone());
    let receiver = system.spawn_with(
        Capacity::bounded(4).overflow(Overflow::Wait),
        async move |mut cx: Context<Letter>| -> ExitReason {
            let mut next = vec![0; usize::try_from(SENDERS).unwrap_or(0)];
            loop {
                let letter = cx.receive().await;
                let expected = &mut next[usize::try_from(letter.sender).unwrap_or(0)];
                if letter.number != *expected {
                    disordered.add();
                }
                *expected += 1;
                handled.add();
            }
        },
    );
    let failed = Tally::default();
    for from in 0..SENDERS {
        let (census, done, receiver, failed) = (
            census.clone(),
            done.clone(),
            receiver.clone(),
            failed.clone(),
        );
        system.spawn(move |_cx: Context<()>| async move {
            for number in 0..each {
                let letter = Letter {
                    sender: from,
                    number,
                    _counted: census.enter(),
                };
                if receiver
                    .send_wait(letter, Duration::from_secs(50))
                    .await
                    .is_err()
                {
                    failed.add();
                }
            }
            done.add();
        });
    }
    let all = until(|| done.get() == SENDERS && got.get() + failed.get() == each * SENDERS).await;
    stage.judge(
        "B3",
        "send_wait brings every message through a mailbox of four, in order",
        all && failed.get() == 0 && wrong.get() == 0,
        format!(
            "{} of {}, {} failed, {} out of order",
            got.get(),
            each * SENDERS,
            failed.get(),
            wrong.get()
        ),
    );
    let full = system.spawn_with(
        Capacity::bounded(1).overflow(Overflow::Wait),
        |_cx: Context<u8>| std::future::pending::<()>(),
    );
    let _ = full.send(1);
    let start = crate::stage::now();
    let limit = Duration::from_millis(20);
    let late = within(full.send_wait(2, limit)).await;
    let right = late == Some(Err(SendError::Full(2))) && start.elapsed() >= limit;
    stage.judge(
        "B3",
        "send_wait gives the message back at its deadline and not before",
        right,
        format!("{late:?}"),
    );
}

async fn system_lane(stage: Stage, system: System) {
    let count = stage.count(10, 1000) as u64;
    let (handled, seen_at, go) = (
        Tally::default(),
        Arc::new(AtomicIsize::new(-1)),
        Tally::default(),
    );
    let trapped = Tally::default();
    let (taken, at, gate, ready) = (
        handled.clone(),
        seen_at.clone(),
        go.clone(),
        trapped.clone(),
    );
    let flooded = system.spawn_with(
        Capacity::unbounded(),
        async move |mut cx: Context<u64>| -> ExitReason {
            cx.trap_exit(true);
            ready.add();
            while gate.get() == 0 {
                cx.consume_budget(4000).await;
            }
            loop {
                match cx.receive_event().await {
                    Event::Signal(Signal::Exit { .. }) => {
                        at.store(
                            isize::try_from(taken.get()).unwrap_or(isize::MAX),
                            Ordering::Relaxed,
                        );
                    }
                    _ => {
                        taken.add();
                    }
                }
            }
        },
    );
    for number in 0..count {
        let _ = flooded.send(number);
    }
    let traps = until(|| trapped.get() == 1).await;
    system.exit(flooded.pid(), ExitReason::shutdown());
    go.add();
    let all = until(|| handled.get() == count).await;
    let at = seen_at.load(Ordering::Relaxed);
    system.kill(flooded.pid());
    stage.judge(
        "A7 B1",
        "a signal passes every message that waits",
        traps && all && at == 0,
        format!("seen after {at} of {count} messages"),
    );
    let loop_back = system.spawn_with(
        Capacity::unbounded(),
        async move |mut cx: Context<u64>| -> ExitReason {
            let me = cx.address();
            loop {
                let number = cx.receive().await;
                let _ = me.send(number);
            }
        },
    );
    for number in 0..1000 {
        let _ = loop_back.send(number);
    }
    let ended = system.wait_for_exit(loop_back.pid());
    system.kill(loop_back.pid());
    let reason = within(ended).await;
    stage.judge(
        "A14 B1",
        "a process that floods itself can be killed",
        reason == Some(ExitReason::killed()),
        format!("{reason:?}"),
    );
}

async fn closing(stage: Stage, system: System) {
    let rounds = stage.count(20_000, 10);
    let mut seed = stage.seed();
    let (mut lost, mut alive, mut open) = (0, 0, 0);
    for _ in 0..rounds {
        let (census, got) = (Census::default(), Tally::default());
        let handled = got.clone();
        let receiver = system.spawn(async move |mut cx: Context<Letter>| -> ExitReason {
            loop {
                cx.receive().await;
                handled.add();
            }
        });
        let (gone, done) = (Tally::default(), Tally::default());
        for from in 0..SENDERS {
            let (receiver, gone) = (receiver.clone(), gone.clone());
            sender(&system, 500, from, &census, &done, move |letter| {
                if let Err(SendError::Gone(_)) = receiver.send(letter) {
                    gone.add();
                }
            });
        }
        let moment = seed.below(2000);
        until(|| got.get() >= moment).await;
        let ended = system.wait_for_exit(receiver.pid());
        system.kill(receiver.pid());
        let ended = within(ended).await.is_some();
        let over = ended && until(|| done.get() == SENDERS && census.living() == 0).await;
        alive += census.living();
        open += usize::from(
            !over
                || !matches!(
                    receiver.send(Letter {
                        sender: 0,
                        number: 0,
                        _counted: census.enter()
                    }),
                    Err(SendError::Gone(_))
                ),
        );
        lost += usize::from(got.get() + gone.get() > 500 * SENDERS);
    }
    stage.judge("A19", "a mailbox closes with its process: what waits is dropped, what comes later is given back as Gone", alive == 0 && open == 0 && lost == 0, format!("{rounds} deaths, {alive} messages alive, {open} mailboxes open"));
}
