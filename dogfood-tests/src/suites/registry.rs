//! Many processes fight for few names and die with them. Attacks F1 and F2.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mesh_runtime::{Context, NameError, System};

use crate::stage::{Stage, Tally, until, within};

const NAMES: u64 = 8;
const FIGHTERS: u64 = 32;

pub(super) fn play(stage: &Stage) {
    let workers = stage.workers();
    stage.scene("a fight for names", workers, fight);
    stage.scene("names at odds", workers, odds);
}

async fn fight(stage: Stage, system: System) {
    let attempts = stage.count(FIGHTERS, 50) as u64;
    // Who holds each name, as the holders themselves say.
    let holders: Arc<Vec<AtomicU64>> = Arc::new((0..NAMES).map(|_| AtomicU64::new(0)).collect());
    let (done, won, shared, other) = (
        Tally::default(),
        Tally::default(),
        Tally::default(),
        Tally::default(),
    );
    for fighter in 1..=FIGHTERS {
        let mut seed = stage.seed();
        let (holders, done, won) = (holders.clone(), done.clone(), won.clone());
        let (shared, other) = (shared.clone(), other.clone());
        system.spawn(move |cx: Context<()>| async move {
            for attempt in 0..attempts {
                let name = seed.below(NAMES);
                let how = seed.below(4);
                let mine = fighter * 1_000_000_000 + attempt + 1;
                let (holders, won, shared, odd) =
                    (holders.clone(), won.clone(), shared.clone(), other.clone());
                let taker = cx.system().spawn(move |mut cx: Context<()>| async move {
                    let slot = &holders[usize::try_from(name).unwrap_or(0)];
                    match cx.register(&format!("name-{name}")) {
                        Ok(()) => {
                            if slot.swap(mine, Ordering::AcqRel) != 0 {
                                shared.add();
                            }
                            won.add();
                            cx.consume_budget(4000).await;
                            if slot.swap(0, Ordering::AcqRel) != mine {
                                shared.add();
                            }
                        }
                        Err(NameError::Taken) => {}
                        Err(_) => {
                            odd.add();
                        }
                    }
                    match how {
                        0 => panic!("dies with its name"),
                        1 => {
                            cx.system().kill(cx.pid());
                            cx.consume_budget(1).await;
                        }
                        2 => drop(cx.system().unregister(&format!("nobody-{name}"))),
                        _ => {}
                    }
                });
                if within(cx.system().wait_for_exit(taker.pid()))
                    .await
                    .is_none()
                {
                    other.add();
                }
                if cx.system().whereis_pid(&format!("name-{name}")) == Some(taker.pid()) {
                    other.add();
                }
            }
            done.add();
        });
    }
    let all = until(|| done.get() == FIGHTERS).await;
    stage.row(
        "attempts and names won",
        format!("{} / {}", attempts * FIGHTERS, won.get()),
    );
    stage.judge(
        "F1",
        "a name has one holder at a time",
        all && shared.get() == 0 && won.get() > 0,
        format!("{} shared", shared.get()),
    );
    stage.judge(
        "F2",
        "a name is free once its holder's death is told, whatever ended it",
        other.get() == 0 && until(|| system.names().is_empty()).await,
        format!(
            "{} ghosts or other errors, {} names left",
            other.get(),
            system.names().len()
        ),
    );
}

async fn odds(stage: Stage, system: System) {
    let first = system.spawn(|_cx: Context<u8>| std::future::pending::<()>());
    let second = system.spawn(|_cx: Context<u8>| std::future::pending::<()>());
    let long = "n".repeat(256);
    let seen = [
        system.register("odd", &first),
        system.register("odd", &second),
        system.register("odd", &first),
        system.register("", &first),
        system.register(&long, &first),
        system.register("with\nnewline", &first),
        system.whereis::<u16>("odd").map(drop),
        system.whereis::<u8>("nobody").map(drop),
        system.whereis::<u8>("odd").map(drop),
    ];
    let expected_errors = [false, true, false, true, true, true, true, true, false];
    let right = seen
        .iter()
        .zip(expected_errors)
        .all(|(result, fails)| result.is_err() == fails)
        && seen[1] == Err(NameError::Taken)
        && seen[6] == Err(NameError::WrongType)
        && seen[7] == Err(NameError::NotFound);
    stage.judge("F1", "naming again is naming; a name that is taken by another, empty, too long, of control characters or of another type is a named error", right, format!("{seen:?}"));
    let end = system.wait_for_exit(first.pid());
    system.kill(first.pid());
    within(end).await;
    let dead = system.register("after", &first);
    stage.judge(
        "F2",
        "the dead cannot be named, and their name may be taken at once",
        dead == Err(NameError::Gone) && system.register("odd", &second).is_ok(),
        format!("{dead:?}"),
    );
}
