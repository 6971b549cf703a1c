//! R12's half without sockets: churn, slow members and one encoding. Attacks F3 to F6.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use mesh_runtime::{Context, ExitReason, RoomMessage, System};

use crate::stage::{Stage, Tally, until, within};

pub(super) fn play(stage: &Stage) {
    let workers = stage.workers();
    stage.scene("broadcasts under churn", workers, churn);
    stage.scene("slow members", workers, slow);
    stage.scene("frames among messages", workers, among_messages);
}

fn frame(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn number_of(payload: &Bytes) -> u64 {
    payload
        .as_ref()
        .try_into()
        .map_or(u64::MAX, u64::from_be_bytes)
}

/// What one reader has seen: frames and missed ones together, the next number, and what was wrong.
#[derive(Clone, Default)]
struct Seen {
    accounted: Arc<AtomicU64>,
    missed: Arc<AtomicU64>,
    wrong: Tally,
}

impl Seen {
    fn note(&self, message: &RoomMessage) {
        let before = self.accounted.load(Ordering::Relaxed);
        let number = number_of(&message.payload);
        // Frames come in order; between two stands exactly what was missed.
        if number != before + message.missed {
            self.wrong.add();
        }
        self.missed.fetch_add(message.missed, Ordering::Relaxed);
        self.accounted
            .store(before + message.missed + 1, Ordering::Release);
    }
}

async fn churn(stage: Stage, system: System) {
    let broadcasts = stage.count(1, 200) as u64;
    let mut seed = stage.seed();
    let mut stable = Vec::new();
    for _ in 0..20 {
        let seen = Seen::default();
        let noted = seen.clone();
        let member = system.spawn(async move |mut cx: Context<RoomMessage>| -> ExitReason {
            loop {
                noted.note(&cx.receive().await);
            }
        });
        let joined = system
            .rooms()
            .join("hall", &member, |message| message)
            .is_ok();
        stable.push((member, seen, joined));
    }
    let (mut visitors, mut ghosts, mut refused) = (Vec::new(), 0, 0);
    let foreign = Tally::default();
    let mut delivered = 0;
    for number in 0..broadcasts {
        stage.progress(
            "broadcasts under churn",
            usize::try_from(number).unwrap_or(0),
            usize::try_from(broadcasts).unwrap_or(1),
        );
        match seed.below(4) {
            0 | 1 => {
                let foreign = foreign.clone();
                let visitor =
                    system.spawn(async move |mut cx: Context<RoomMessage>| -> ExitReason {
                        loop {
                            if &*cx.receive().await.room != "hall" {
                                foreign.add();
                            }
                        }
                    });
                refused += usize::from(
                    system
                        .rooms()
                        .join("hall", &visitor, |message| message)
                        .is_err(),
                );
                visitors.push(visitor);
            }
            2 if !visitors.is_empty() => {
                let at = usize::try_from(seed.below(visitors.len() as u64)).unwrap_or(0);
                let visitor = visitors.swap_remove(at);
                system.rooms().leave("hall", visitor.pid());
                ghosts += usize::from(system.rooms().members("hall").contains(&visitor.pid()));
                system.kill(visitor.pid());
            }
            _ if !visitors.is_empty() => {
                let at = usize::try_from(seed.below(visitors.len() as u64)).unwrap_or(0);
                let visitor = visitors.swap_remove(at);
                let end = system.wait_for_exit(visitor.pid());
                system.kill(visitor.pid());
                within(end).await;
                ghosts += usize::from(system.rooms().members("hall").contains(&visitor.pid()));
                let late = system.rooms().join("hall", &visitor, |message| message);
                ghosts += usize::from(late != Err(mesh_runtime::NameError::Gone));
            }
            _ => {}
        }
        delivered += system.rooms().broadcast("hall", frame(number)).delivered;
    }
    let joined = stable.iter().all(|(_, _, joined)| *joined);
    let all = until(|| {
        stable
            .iter()
            .all(|(_, seen, _)| seen.accounted.load(Ordering::Acquire) == broadcasts)
    })
    .await;
    let wrong: u64 = stable.iter().map(|(_, seen, _)| seen.wrong.get()).sum();
    let missed: u64 = stable
        .iter()
        .map(|(_, seen, _)| seen.missed.load(Ordering::Relaxed))
        .sum();
    let members = system.rooms().members("hall").len();
    stage.row(
        "broadcasts and frames delivered",
        format!("{broadcasts} / {delivered}"),
    );
    stage.judge(
        "F3 F4",
        "each member that stays gets every frame in order, or is told how many it missed",
        joined && all && wrong == 0,
        format!("{wrong} out of place, {missed} missed and told"),
    );
    stage.judge(
        "F6",
        "who left or died is no member, and cannot come back",
        ghosts == 0
            && refused == 0
            && foreign.get() == 0
            && members == stable.len() + visitors.len(),
        format!(
            "{ghosts} ghosts, {members} members, {} visitors",
            visitors.len()
        ),
    );
    for visitor in &visitors {
        system.kill(visitor.pid());
    }
    for (member, _, _) in &stable {
        system.kill(member.pid());
    }
    stage.judge(
        "F6",
        "a room nobody is in is gone",
        until(|| system.rooms().all().is_empty()).await,
        format!("{:?}", system.rooms().all()),
    );
}

async fn slow(stage: Stage, system: System) {
    let broadcasts = stage.count(10, 600) as u64;
    let (gate, seen, quick) = (Tally::default(), Seen::default(), Seen::default());
    let pointers = [Tally::default(), Tally::default()];
    let (opened, noted) = (gate.clone(), seen.clone());
    let sleeper = system.spawn(async move |mut cx: Context<RoomMessage>| -> ExitReason {
        while opened.get() == 0 {
            cx.consume_budget(4000).await;
        }
        loop {
            noted.note(&cx.receive().await);
        }
    });
    let noted = quick.clone();
    let [same, other] = pointers.clone();
    let sent = Arc::new(AtomicU64::new(0));
    let address_of = sent.clone();
    let reader = system.spawn(async move |mut cx: Context<RoomMessage>| -> ExitReason {
        loop {
            let message = cx.receive().await;
            let here = message.payload.as_ptr() as usize as u64;
            if here == address_of.load(Ordering::Acquire) {
                same.add()
            } else {
                other.add()
            };
            noted.note(&message);
        }
    });
    let excepted = system.spawn(async move |mut cx: Context<RoomMessage>| {
        cx.receive().await;
    });
    for joined in [
        system.rooms().join("slow", &sleeper, |message| message),
        system.rooms().join("slow", &reader, |message| message),
        system.rooms().join("slow", &excepted, |message| message),
    ] {
        if joined.is_err() {
            stage.judge(
                "F3",
                "a living member may join",
                false,
                format!("{joined:?}"),
            );
        }
    }
    let mut waited = 0;
    for number in 0..broadcasts {
        let payload = frame(number);
        sent.store(payload.as_ptr() as usize as u64, Ordering::Release);
        system
            .rooms()
            .broadcast_except("slow", payload, excepted.pid());
        // The quick one reads each before the next; the slow one reads none.
        waited += u64::from(!until(|| quick.accounted.load(Ordering::Acquire) > number).await);
    }
    let info = system.inspect();
    let held = info
        .processes
        .iter()
        .find(|info| info.pid == sleeper.pid())
        .map_or(usize::MAX, |info| info.mailbox_len);
    gate.add();
    let all = until(|| seen.accounted.load(Ordering::Acquire) == broadcasts).await;
    let missed = seen.missed.load(Ordering::Relaxed);
    stage.judge(
        "F4",
        "a member that reads nothing delays nobody and holds a bounded number of frames",
        waited == 0 && held <= mesh_runtime::limits::ROOM_FRAMES_MAX,
        format!("{held} frames held"),
    );
    stage.judge(
        "F4",
        "it is told exactly how many it missed, as counted",
        all && seen.wrong.get() == 0
            && missed + held as u64 == broadcasts
            && info.counts.room_frames_missed == missed,
        format!(
            "{missed} missed and {held} read of {broadcasts}, {} counted",
            info.counts.room_frames_missed
        ),
    );
    let [same, other] = pointers;
    stage.judge(
        "F3",
        "the payload is not copied, and who is excepted gets nothing",
        same.get() == broadcasts && other.get() == 0 && system.is_alive(excepted.pid()),
        format!("{} the same, {} copied", same.get(), other.get()),
    );
    for member in [&sleeper, &reader] {
        system.kill(member.pid());
    }
}

enum Mixed {
    Message(u64),
    Frame(RoomMessage),
}

async fn among_messages(stage: Stage, system: System) {
    let count = stage.count(10, 400) as u64;
    let mut seed = stage.seed();
    let (seen, wrong) = (Tally::default(), Tally::default());
    let (noted, disordered) = (seen.clone(), wrong.clone());
    let member = system.spawn(async move |mut cx: Context<Mixed>| -> ExitReason {
        loop {
            let number = match cx.receive().await {
                Mixed::Message(number) => number,
                Mixed::Frame(message) => number_of(&message.payload),
            };
            if number != noted.add() {
                disordered.add();
            }
        }
    });
    let joined = system.rooms().join("mixed", &member, Mixed::Frame).is_ok();
    for number in 0..count {
        if seed.below(2) == 0 {
            system.rooms().broadcast("mixed", frame(number));
        } else {
            let _ = member.send(Mixed::Message(number));
        }
        // No more may wait than a member's frames, or some would rightly be missed.
        if number % 64 == 63 {
            until(|| seen.get() > number).await;
        }
    }
    let all = until(|| seen.get() == count).await;
    stage.judge(
        "F5",
        "frames and messages of one sender keep their order",
        joined && all && wrong.get() == 0,
        format!("{} of {count}, {} out of order", seen.get(), wrong.get()),
    );
    system.kill(member.pid());
}
