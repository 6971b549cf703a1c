//! R3 and R6: spawns, ends and panics until a leak would show in resident memory. Attacks A17, A20.

use mesh_runtime::{Actor, Address, Context, ExitReason, Flow, System};

use crate::machine;
use crate::seed::Seed;
use crate::stage::{Census, Counted, Stage, Tally, now, until, within};

/// What a small heap may grow by from noise alone.
const NOISE_BYTES: u64 = 4 << 20;
/// Processes that make others panic.
const DRIVERS: usize = 32;
/// Alive at once, so that the high water is the same in each half.
const AT_ONCE: usize = 1000;

pub(super) fn play(stage: &Stage) {
    let workers = stage.workers();
    stage.scene("spawn and end", workers, spawn_and_end);
    stage.scene("panics", workers, panics);
    // Last: the heap it leaves behind would hide a leak of the others.
    stage.scene("idle processes", workers, idle);
}

/// Whether memory is flat: 5 % more at most, and what noise there is.
fn flat(after_first: u64, after_second: u64) -> bool {
    after_second <= after_first + after_first / 20 + NOISE_BYTES
}

async fn spawn_and_end(stage: Stage, system: System) {
    let count = stage.count(1, 2000);
    let census = Census::default();
    let mut resident = Vec::new();
    let start = now();
    for half in 0..2 {
        for batch in 0..count.div_ceil(AT_ONCE) {
            stage.progress("spawn and end", half * count + batch * AT_ONCE, count * 2);
            let done = Tally::default();
            for _ in 0..AT_ONCE {
                let (done, held) = (done.clone(), census.enter());
                let process = system.spawn(move |mut cx: Context<Counted>| async move {
                    cx.receive().await;
                    done.add();
                });
                let _ = process.send(held);
            }
            if !until(|| done.get() == AT_ONCE as u64).await {
                break;
            }
        }
        until(|| system.inspect().processes.is_empty()).await;
        resident.push(machine::resident_bytes());
    }
    let rounds = count.div_ceil(AT_ONCE) * AT_ONCE * 2;
    let micros = start.elapsed().as_micros().max(1);
    let counts = system.inspect().counts;
    stage.row(
        "spawned, sent to and ended a second",
        u64::try_from(rounds as u128 * 1_000_000 / micros).unwrap_or(0),
    );
    stage.row(
        "resident KiB after the first and the second half",
        format!("{} / {}", resident[0] >> 10, resident[1] >> 10),
    );
    stage.judge(
        "A20",
        "resident memory after the second half is at most 1.05 of that after the first",
        flat(resident[0], resident[1]),
        format!("{:.3}", resident[1] as f64 / resident[0].max(1) as f64),
    );
    stage.judge(
        "A20",
        "who has ended is gone: process, message and count",
        census.living() == 0 && counts.spawned == counts.exited && counts.spawned == rounds as u64,
        format!(
            "{} messages, {} of {} ended",
            census.living(),
            counts.exited,
            counts.spawned
        ),
    );
}

/// Where a process panics.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Init,
    Started,
    Handle,
    Terminate,
    DropState,
    DropMessage,
    Closure,
}

const PLACES: [Place; 7] = [
    Place::Init,
    Place::Started,
    Place::Handle,
    Place::Terminate,
    Place::DropState,
    Place::DropMessage,
    Place::Closure,
];

struct Fuse {
    place: Place,
    _counted: Counted,
}

impl Drop for Fuse {
    fn drop(&mut self) {
        assert!(
            self.place != Place::DropState,
            "the state panics in its drop"
        );
    }
}

struct Bomb(bool);

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.0, "a message panics in its drop");
    }
}

impl Actor for Fuse {
    type Args = (Place, Counted);
    type Message = Bomb;

    async fn init(
        (place, counted): (Place, Counted),
        _cx: &mut Context<Bomb>,
    ) -> Result<Fuse, ExitReason> {
        assert!(place != Place::Init, "init panics");
        Ok(Fuse {
            place,
            _counted: counted,
        })
    }

    async fn started(&mut self, _cx: &mut Context<Bomb>) -> Flow {
        assert!(self.place != Place::Started, "started panics");
        Flow::Continue
    }

    async fn handle(&mut self, bomb: Bomb, _cx: &mut Context<Bomb>) -> Flow {
        assert!(self.place != Place::Handle, "handle panics");
        std::mem::forget(bomb);
        Flow::Stop(ExitReason::normal())
    }

    async fn terminate(&mut self, _reason: &ExitReason, _cx: &mut Context<Bomb>) {
        assert!(self.place != Place::Terminate, "terminate panics");
    }
}

/// What the drivers of panicking processes count.
#[derive(Clone, Default)]
struct Ends {
    done: Tally,
    stayed: Tally,
    calm: Tally,
    in_init: Tally,
}

/// Starts one process after the other, each of which panics somewhere, and waits for its end.
async fn drive(system: System, census: Census, mut seed: Seed, share: usize, ends: Ends) {
    for _ in 0..share {
        let place = PLACES[usize::try_from(seed.below(PLACES.len() as u64)).unwrap_or(0)];
        let counted = census.enter();
        let pid = if place == Place::Closure {
            let process = system.spawn(async move |mut cx: Context<()>| -> ExitReason {
                let _counted = counted;
                cx.receive().await;
                panic!("a closure panics");
            });
            let end = system.wait_for_exit(process.pid());
            let _ = process.send(());
            note_end(&ends, place, within(end).await);
            continue;
        } else {
            begin(&system, place, counted).await
        };
        let Some(fuse) = pid else {
            ends.in_init.add();
            ends.done.add();
            continue;
        };
        let end = system.wait_for_exit(fuse.pid());
        // The second waits while the first ends the process, and is dropped with the mailbox.
        let _ = fuse.send(Bomb(false));
        if let Err(back) = fuse.send(Bomb(place == Place::DropMessage)) {
            std::mem::forget(back.into_message());
        }
        note_end(&ends, place, within(end).await);
    }
}

fn note_end(ends: &Ends, place: Place, reason: Option<ExitReason>) {
    // The others may have ended before they were watched, or of something else than the panic.
    let told = matches!(
        place,
        Place::Handle | Place::Terminate | Place::DropState | Place::Closure
    );
    match reason {
        Some(reason) if told && !reason.is_panic() => {
            ends.calm.add();
        }
        Some(_) => {}
        None => {
            ends.stayed.add();
        }
    }
    ends.done.add();
}

async fn panics(stage: Stage, system: System) {
    let share = stage.count(2 * DRIVERS as u64, 20);
    let half = share * DRIVERS;
    let (census, ends) = (Census::default(), Ends::default());
    let mut resident = Vec::new();
    for turn in 1..=2 {
        for _ in 0..DRIVERS {
            let (census, seed, ends) = (census.clone(), stage.seed(), ends.clone());
            system.spawn(move |cx: Context<()>| drive(cx.system(), census, seed, share, ends));
        }
        let goal = turn * half;
        let mut before = 0;
        // As long as some end, the machine is only slow.
        while !until(|| ends.done.get() >= goal as u64 || ends.done.get() > before + 10_000).await
            || ends.done.get() < goal as u64
        {
            if ends.done.get() == before {
                break;
            }
            before = ends.done.get();
            stage.progress("panics", usize::try_from(before).unwrap_or(0), half * 2);
        }
        until(|| system.inspect().processes.is_empty()).await;
        resident.push(machine::resident_bytes());
    }
    let counts = system.inspect().counts;
    let (done, in_init) = (ends.done.get(), ends.in_init.get());
    let (stayed, calm) = (ends.stayed.get(), ends.calm.get());
    let bystander = system.spawn(|mut cx: Context<()>| async move { cx.receive().await });
    let end = system.wait_for_exit(bystander.pid());
    let _ = bystander.send(());
    let lives = within(end).await == Some(ExitReason::normal());
    stage.row("panics", counts.panicked);
    stage.row(
        "resident KiB after the first and the second half of them",
        format!("{} / {}", resident[0] >> 10, resident[1] >> 10),
    );
    stage.judge(
        "A17",
        "a panic in any callback, closure or drop ends that process alone",
        done == half as u64 * 2 && stayed == 0 && calm == 0 && lives && counts.panicked > in_init,
        format!("{stayed} stayed, {calm} ended without a panic"),
    );
    stage.judge(
        "A20",
        "panics leave nothing behind",
        census.living() == 0
            && flat(resident[0], resident[1])
            && system.inspect().processes.is_empty(),
        format!(
            "{} states, resident {:.3} of the first half",
            census.living(),
            resident[1] as f64 / resident[0].max(1) as f64
        ),
    );
}

async fn begin(system: &System, place: Place, counted: Counted) -> Option<Address<Bomb>> {
    within(system.start::<Fuse>((place, counted))).await?.ok()
}

async fn idle(stage: Stage, system: System) {
    let count = stage.count(10, 1000);
    let before = machine::resident_bytes();
    let idle: Vec<Address<u64>> = (0..count)
        .map(|_| {
            system.spawn(|mut cx: Context<u64>| async move {
                {
                    cx.receive().await;
                }
            })
        })
        .collect();
    let all = until(|| {
        system
            .inspect()
            .processes
            .iter()
            .all(|info| info.status == mesh_runtime::ProcessStatus::Waiting)
    })
    .await;
    let each = machine::resident_bytes().saturating_sub(before) / count as u64;
    stage.row("resident bytes an idle process", each);
    for process in &idle {
        system.kill(process.pid());
    }
    let gone = until(|| system.inspect().processes.is_empty()).await;
    stage.judge(
        "A20",
        "idle processes are killed and gone",
        all && gone,
        format!("{count} processes"),
    );
}
