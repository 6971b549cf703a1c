//! Exit storms, rings, stars, unlink and demonitor races. Attacks A6 to A12 and A15.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mesh_runtime::{Address, Context, Event, ExitReason, Pid, Signal, System};

use crate::stage::{Census, Stage, Tally, until, within};

pub(super) fn play(stage: &Stage) {
    let workers = stage.workers();
    stage.scene("a ring and a chain fall", workers, ring);
    stage.scene("a star of trapped exits", workers, star);
    stage.scene("unlink and demonitor while the other dies", workers, races);
    stage.scene("monitors set while the other dies", workers, monitors);
}

async fn ring(stage: Stage, system: System) {
    let count = stage.count(4, 200);
    let mut seed = stage.seed();
    let census = Census::default();
    let linked = Tally::default();
    let mut members: Vec<Address<Pid>> = Vec::new();
    for _ in 0..count {
        let (counted, linked) = (census.enter(), linked.clone());
        members.push(
            system.spawn(async move |mut cx: Context<Pid>| -> ExitReason {
                let _counted = counted;
                let next = cx.receive().await;
                cx.link(next);
                linked.add();
                // The second pid is the order to fail.
                cx.receive().await;
                ExitReason::error("the first to fall")
            }),
        );
    }
    for (index, member) in members.iter().enumerate() {
        let _ = member.send(members[(index + 1) % count].pid());
    }
    let closed = until(|| linked.get() == count as u64).await;
    let bystander = system.spawn(|_cx: Context<()>| std::future::pending::<()>());
    let ends: Vec<_> = members
        .iter()
        .map(|member| system.wait_for_exit(member.pid()))
        .collect();
    let first = usize::try_from(seed.below(count as u64)).unwrap_or(0);
    let _ = members[first].send(members[first].pid());
    let (mut stayed, mut other) = (0, 0);
    for end in ends {
        match within(end).await {
            Some(reason) if reason == ExitReason::error("the first to fall") => {}
            Some(_) => other += 1,
            None => {
                stayed += 1;
                break;
            }
        }
    }
    stage.row("processes in the ring", count);
    stage.judge(
        "A6",
        "an abnormal exit takes a whole ring of links along, with its own reason, and nobody else",
        closed
            && stayed == 0
            && other == 0
            && system.is_alive(bystander.pid())
            && census.living() == 0,
        format!("{stayed} stayed, {other} with another reason"),
    );
    let normal = system.spawn(|mut cx: Context<()>| async move { cx.receive().await });
    let (target, ready) = (normal.pid(), Tally::default());
    let told = ready.clone();
    let partner = system.spawn(async move |mut cx: Context<()>| {
        cx.link(target);
        told.add();
        cx.receive().await;
    });
    until(|| ready.get() == 1).await;
    let end = system.wait_for_exit(target);
    let _ = normal.send(());
    let reason = within(end).await;
    // The signal would have been sent before the death was told; a message behind it finds the partner alive.
    let survived = system.is_alive(partner.pid()) && partner.send(()).is_ok();
    let partner_end = within(system.wait_for_exit(partner.pid())).await;
    let normal_end = matches!(&partner_end, Some(reason) if reason.is_normal() || *reason == ExitReason::no_process());
    stage.judge(
        "A6",
        "a normal exit leaves the linked process alone",
        reason == Some(ExitReason::normal()) && survived && normal_end,
        format!("{partner_end:?}"),
    );
}

async fn star(stage: Stage, system: System) {
    let count = stage.count(4, 200);
    let mut seed = stage.seed();
    let (ready, told, wrong) = (
        Arc::new(AtomicBool::new(false)),
        Tally::default(),
        Tally::default(),
    );
    let reasons: Vec<u64> = (0..count).map(|_| seed.below(3)).collect();
    let expected: Arc<Vec<u64>> = Arc::new(reasons);
    let children: Arc<std::sync::Mutex<Vec<Address<u64>>>> = Arc::default();
    let (open, exits, disagree) = (ready.clone(), told.clone(), wrong.clone());
    let (planned, offspring) = (expected.clone(), children.clone());
    system.spawn(async move |mut cx: Context<()>| -> ExitReason {
        cx.trap_exit(true);
        let mut owed: HashMap<Pid, u64> = HashMap::new();
        for how in planned.iter() {
            let child = cx.spawn_link(|mut cx: Context<u64>| async move {
                match cx.receive().await {
                    0 => ExitReason::normal(),
                    1 => ExitReason::error("told to fail"),
                    _ => panic!("told to panic"),
                }
            });
            owed.insert(child.pid(), *how);
            offspring
                .lock()
                .expect("no panic under this lock")
                .push(child);
        }
        // One that is dead before it is linked.
        open.store(true, Ordering::Release);
        loop {
            if let Event::Signal(Signal::Exit { from, reason }) = cx.receive_event().await {
                let right = match owed.remove(&from) {
                    Some(0) => reason.is_normal(),
                    Some(1) => reason == ExitReason::error("told to fail"),
                    Some(_) => reason.is_panic(),
                    None => false,
                };
                if !right {
                    disagree.add();
                }
                exits.add();
            }
        }
    });
    let set = until(|| ready.load(Ordering::Acquire)).await;
    let all = std::mem::take(&mut *children.lock().expect("no panic under this lock"));
    for (child, how) in all.iter().zip(expected.iter()) {
        let _ = child.send(*how);
    }
    let every = until(|| told.get() >= count as u64).await;
    stage.judge(
        "A7 A10",
        "a process that traps exits gets one from each of its links, with its reason",
        set && every && told.get() == count as u64 && wrong.get() == 0,
        format!("{} of {count}, {} wrong", told.get(), wrong.get()),
    );
}

async fn races(stage: Stage, system: System) {
    let count = stage.count(10, 500);
    let mut seed = stage.seed();
    let (done, late, missing, twice) = (
        Tally::default(),
        Tally::default(),
        Tally::default(),
        Tally::default(),
    );
    for _ in 0..count {
        let victim = system.spawn(|_cx: Context<()>| std::future::pending::<()>());
        let (pid, spin, unlinks) = (victim.pid(), seed.below(40), seed.below(2) == 0);
        let (done, late, missing, twice) =
            (done.clone(), late.clone(), missing.clone(), twice.clone());
        system.spawn(move |mut cx: Context<()>| async move {
            cx.trap_exit(true);
            cx.link(pid);
            let monitor = cx.monitor(pid);
            let kept = cx.monitor(pid);
            for _ in 0..spin {
                std::hint::spin_loop();
            }
            if unlinks {
                cx.unlink(pid);
                cx.demonitor(monitor);
            }
            let (mut exits, mut downs, mut kept_downs) = (0, 0, 0);
            // One Down must come; a message to oneself then shows that no other signal is there.
            let me = cx.address();
            while kept_downs == 0 {
                note(
                    cx.receive_event().await,
                    kept,
                    &mut exits,
                    &mut downs,
                    &mut kept_downs,
                );
            }
            while !unlinks && (exits == 0 || downs == 0) {
                note(
                    cx.receive_event().await,
                    kept,
                    &mut exits,
                    &mut downs,
                    &mut kept_downs,
                );
            }
            for _ in 0..3 {
                let _ = me.send(());
                cx.consume_budget(4000).await;
                while !matches!(
                    note(
                        cx.receive_event().await,
                        kept,
                        &mut exits,
                        &mut downs,
                        &mut kept_downs
                    ),
                    Event::Message(())
                ) {}
            }
            if unlinks && exits + downs > 0 {
                late.add();
            }
            if exits > 1 || downs > 1 || kept_downs > 1 {
                twice.add();
            }
            if !unlinks && (exits == 0 || downs == 0) {
                missing.add();
            }
            done.add();
        });
        system.kill(pid);
    }
    let all = until(|| done.get() == count as u64).await;
    stage.judge(
        "A9 A12",
        "after unlink and demonitor nothing of it arrives, not even what was on its way",
        late.get() == 0,
        format!("{} late of {count} races", late.get()),
    );
    stage.judge(
        "A8 A11",
        "a link and a monitor of a dying or dead process each tell exactly once",
        all && missing.get() == 0 && twice.get() == 0,
        format!(
            "{} of {count} over, {} missing, {} twice",
            done.get(),
            missing.get(),
            twice.get()
        ),
    );
}

fn note(
    event: Event<()>,
    kept: mesh_runtime::Ref,
    exits: &mut u32,
    downs: &mut u32,
    kept_downs: &mut u32,
) -> Event<()> {
    match &event {
        Event::Signal(Signal::Exit { .. }) => *exits += 1,
        Event::Signal(Signal::Down { reference, .. }) if *reference == kept => *kept_downs += 1,
        Event::Signal(Signal::Down { .. }) => *downs += 1,
        _ => {}
    }
    event
}

async fn monitors(stage: Stage, system: System) {
    const WATCHERS: u64 = 10;
    let count = stage.count(20, 100);
    let mut seed = stage.seed();
    let (downs, outside, wrong) = (Tally::default(), Tally::default(), Tally::default());
    for _ in 0..count {
        let victim = system.spawn(|mut cx: Context<u64>| async move {
            match cx.receive().await {
                0 => ExitReason::normal(),
                _ => panic!("told to panic"),
            }
        });
        let how = seed.below(2);
        for _ in 0..WATCHERS {
            let (pid, downs, wrong) = (victim.pid(), downs.clone(), wrong.clone());
            system.spawn(move |mut cx: Context<()>| async move {
                let monitor = cx.monitor(pid);
                let Event::Signal(Signal::Down {
                    reference,
                    pid: dead,
                    reason,
                }) = cx.receive_event().await
                else {
                    return;
                };
                let right = reason == ExitReason::no_process()
                    || if how == 0 {
                        reason.is_normal()
                    } else {
                        reason.is_panic()
                    };
                if reference != monitor || dead != pid || !right {
                    wrong.add();
                }
                downs.add();
            });
        }
        let end = system.wait_for_exit(victim.pid());
        let _ = victim.send(how);
        if within(end).await.is_some() {
            outside.add();
        }
    }
    let all = until(|| downs.get() == count as u64 * WATCHERS).await;
    stage.judge(
        "A11 A13",
        "every monitor of a process that ends meanwhile is told, with its reason or NoProcess",
        all && wrong.get() == 0 && outside.get() == count as u64,
        format!(
            "{} Downs of {}, {} wrong",
            downs.get(),
            count as u64 * WATCHERS,
            wrong.get()
        ),
    );
}
