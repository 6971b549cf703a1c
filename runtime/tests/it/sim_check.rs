//! Many seeds: a failure names its seed, shrinks, and happens again.

use std::time::Duration;

use mesh_runtime::sim::{Check, Failure, Faults, Sim, SimError};
use mesh_runtime::{ChildSpec, Context, ExitReason, Probe, ReplyTo, Strategy, Supervisor};

/// Fails when the second of two messages is seen first: the order of two senders, which nobody promises.
async fn race(sim: Sim) {
    let system = sim.system("lab");
    let mut probe = Probe::start(&system);
    for number in [1, 2] {
        let to = probe.address();
        system.spawn(move |_: Context<()>| async move {
            let _ = to.send(number);
        });
    }
    let first = probe.expect().await;
    assert_eq!(first, 1, "the first one is first");
}

fn failure(check: Check, test: impl AsyncFn(Sim)) -> Box<Failure> {
    check.run(test).expect_err("some seed finds it")
}

#[test]
fn race_is_found_and_its_seed_finds_it_again() {
    let found = failure(Check::new(1_000).base(1), race);
    assert!(
        matches!(&found.error, SimError::Panicked { message, .. } if message.contains("the first one is first"))
    );
    let replay = Check::new(1)
        .only(&found.replay)
        .expect("it is what `only` takes");
    let again = failure(replay, race);
    assert_eq!(again.error, found.error);
    assert_eq!(again.trace.diff(&found.trace), None);
    let told = found.to_string();
    for needed in [
        &format!("seed {} failed", found.seed),
        &found.replay,
        "again with: MESH_SEED=",
        "race_is_found_and_its_seed",
    ] {
        assert!(told.contains(needed), "{needed} is missing in:\n{told}");
    }
}

#[test]
fn seeds_follow_from_the_base_and_all_are_run() {
    let seeds = |base| {
        let seen = std::cell::RefCell::new(Vec::new());
        let ran = Check::new(50)
            .base(base)
            .run(async |sim: Sim| seen.borrow_mut().push(sim.seed()));
        assert_eq!(ran.expect("it holds"), 50);
        seen.into_inner()
    };
    assert_eq!(seeds(1), seeds(1));
    assert_ne!(seeds(1), seeds(2));
    let mut different = seeds(3);
    different.dedup();
    assert_eq!(different.len(), 50);
    assert!(Check::new(1).only("seven").is_err());
}

/// Fails once both workers have been killed; faults that strike anybody else do not matter.
async fn two_kills(sim: Sim) {
    let system = sim.system("lab");
    sim.set_faults(
        Faults::none()
            .kill(0.05)
            .stall(0.2, Duration::from_millis(1)..Duration::from_millis(5)),
    );
    async fn idle(mut cx: Context<ReplyTo<()>>) {
        loop {
            cx.receive().await.reply(());
        }
    }
    let workers = [system.spawn(idle), system.spawn(idle)];
    for _ in 0..30 {
        for worker in &workers {
            let _ = worker.call(|to| to).await;
        }
        sim.sleep(Duration::from_millis(1)).await;
        assert!(
            workers.iter().any(|worker| worker.is_alive()),
            "both are gone"
        );
    }
}

#[test]
fn schedule_is_shrunk_to_the_faults_that_matter() {
    let found = failure(Check::new(1_000).base(1), two_kills);
    let faults = found
        .replay
        .split("faults=")
        .nth(1)
        .expect("faults were left out");
    let kept = faults
        .split('/')
        .next()
        .unwrap_or_default()
        .split('+')
        .count();
    assert_eq!(kept, 2, "two kills and nothing else: {}", found.replay);
    assert!(
        found.replay.contains("choices=0"),
        "the order does not matter: {}",
        found.replay
    );
    let faults = found
        .trace
        .lines()
        .iter()
        .filter(|line| line.contains("fault: "));
    assert_eq!(faults.count(), 2, "{}", found.trace);
}

async fn echo(mut cx: Context<ReplyTo<u32>>) {
    loop {
        cx.receive().await.reply(7);
        cx.sleep(Duration::from_micros(10)).await;
    }
}

#[test]
fn panic_in_a_process_is_no_failure_and_a_supervisor_survives_many_seeds() {
    mesh_runtime::sim::check(200, async |sim| {
        let system = sim.system("lab");
        sim.set_faults(Faults::none().kill(0.02).panic(0.02).only("ReplyTo"));
        let tree = Supervisor::new(Strategy::OneForOne)
            .intensity(1_000, Duration::from_secs(1))
            .child(ChildSpec::process("echo", echo));
        let handle = system.supervise(tree).await.expect("it starts");
        let echo = system
            .whereis::<ReplyTo<u32>>("echo")
            .expect("it has started");
        for _ in 0..20 {
            let answer = echo.call(|to| to).await;
            assert!(matches!(answer, Ok(7) | Err(_)));
        }
        sim.set_faults(Faults::none());
        sim.settle().await;
        assert_eq!(echo.call(|to| to).await, Ok(7));
        system.exit(handle.pid(), ExitReason::shutdown());
        handle.stop().await.ok();
    });
}

#[test]
fn failure_of_a_plain_run_says_how_to_run_it_again() {
    let failed = std::panic::catch_unwind(|| {
        Sim::new(77).run(async { panic!("on purpose") });
    });
    let message = failed.expect_err("it panicked");
    let message = message.downcast_ref::<String>().expect("a text");
    for needed in [
        "seed 77 failed",
        "on purpose",
        "the body runs",
        "MESH_SEED=77 cargo test",
        "failure_of_a_plain_run",
    ] {
        assert!(
            message.contains(needed),
            "{needed} is missing in:\n{message}"
        );
    }
}
