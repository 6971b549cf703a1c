//! The laboratory: the same seed is the same run; time jumps; faults strike; a deadlock is an error.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mesh_runtime::sim::{Fault, Faults, Sim, SimError, Trace};
use mesh_runtime::{
    Actor, Address, ChildSpec, Context, ExitKind, ExitReason, Flow, Job, Probe, ReplyTo,
    RestartType, RoomMessage, Strategy, Supervisor, System,
};

enum Message {
    Work(u64),
    Total(ReplyTo<u64>),
    Tick,
}

struct Worker {
    total: u64,
}

impl Actor for Worker {
    type Args = ();
    type Message = Message;

    async fn init((): (), cx: &mut Context<Message>) -> Result<Worker, ExitReason> {
        cx.send_after(&cx.address(), Duration::from_millis(3), Message::Tick);
        Ok(Worker { total: 0 })
    }

    async fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Flow {
        match message {
            Message::Work(0) => panic!("no work"),
            Message::Work(much) => {
                let done = cx.blocking(move || much * 2).await;
                self.total += done.unwrap_or(0);
            }
            Message::Total(to) => to.reply(self.total),
            Message::Tick => cx.sleep(Duration::from_millis(1)).await,
        }
        Flow::Continue
    }
}

#[derive(Debug)]
#[expect(dead_code, reason = "what is in them is read as text")]
enum Heard {
    Key(u64),
    Frame(RoomMessage),
}

/// Uses every part of the runtime there is: trees, calls, timers, blocking work, jobs, groups, rooms, the entropy.
async fn everything(sim: &Sim, system: &System, faults: Faults) {
    let tree = Supervisor::new(Strategy::OneForAll)
        .intensity(1000, Duration::from_secs(1))
        .child(
            ChildSpec::worker::<Worker>("left", ())
                .back_off(Duration::from_millis(1), Duration::from_millis(8)),
        )
        .child(ChildSpec::worker::<Worker>("right", ()).restart(RestartType::Transient));
    system.supervise(tree).await.expect("it starts");
    sim.set_faults(faults);
    let names = ["left", "right"];
    let mut jobs = Vec::new();
    for number in 0..6_u64 {
        let worker = system.whereis::<Message>(sim.pick(&names));
        let much = sim.below(4);
        jobs.push(Job::spawn(system, async move {
            let Ok(worker) = worker else { return None };
            let _ = worker.send(Message::Work(much));
            worker
                .call_timeout(Duration::from_millis(5), Message::Total)
                .await
                .ok()
        }));
        if number % 3 == 0 {
            system.sleep(Duration::from_millis(number)).await;
        }
    }
    for job in jobs {
        let result = job.await;
        sim.note(&format!("a job gave {result:?}"));
    }
    let (groups, rooms) = (system.groups(), system.rooms());
    let mut probes: Vec<Probe<Heard>> = (0..4).map(|_| Probe::start(system)).collect();
    for probe in &probes {
        groups.join("all", &probe.address()).expect("it lives");
    }
    for key in 0..8_u64 {
        let member = groups.by_key::<Heard>("all", &key).expect("there are four");
        sim.note(&format!("key {key} is {}'s", member.pid()));
        member.send(Heard::Key(key)).expect("a probe has no bound");
    }
    for probe in &mut probes {
        let seen = probe.drain().await;
        let keys = seen.iter().filter(|heard| matches!(heard, Heard::Key(_)));
        let frames = seen.iter().filter(|heard| matches!(heard, Heard::Frame(_)));
        let (keys, frames) = (keys.count(), frames.count());
        sim.note(&format!(
            "{} got {seen:?}: {keys} keys, {frames} frames",
            probe.pid()
        ));
    }
    for probe in &probes {
        rooms
            .join("all", &probe.address(), Heard::Frame)
            .expect("it lives");
    }
    let report = rooms.broadcast("all", bytes::Bytes::from_static(b"frame"));
    sim.note(&format!("{report:?}"));
    let chance = system.entropy().next_u64();
    sim.note(&format!("chance was {chance}"));
}

fn trace_of(seed: u64) -> Trace {
    let sim = Sim::new(seed);
    let faults = Faults::none()
        .kill(0.01)
        .panic(0.02)
        .stall(0.02, Duration::from_millis(1)..Duration::from_millis(9))
        .delay(0.1, Duration::from_millis(1)..Duration::from_millis(3))
        .clock_step(0.1, Duration::from_secs(60));
    let system = sim.system("lab");
    sim.run(everything(&sim, &system, faults.only("Worker").only("Job")));
    sim.trace()
}

#[test]
fn same_seed_gives_the_same_trace_a_hundred_times() {
    for seed in [1, 2, 3, 5] {
        let first = trace_of(seed);
        assert!(first.lines().len() > 60, "there is something to compare");
        for run in 0..25 {
            // Other laboratories take pids and references meanwhile.
            trace_of(1000 + run);
            let again = trace_of(seed);
            if let Some(parted) = first.diff(&again) {
                panic!("seed {seed}, run {run}: {parted}");
            }
        }
    }
}

/// Prints what the test after it compares. It is a program of its own there: other hash keys, other addresses, other pids.
#[test]
#[ignore = "the other program of the next test"]
fn trace_for_another_program() {
    for seed in 1..6 {
        println!("trace of {seed} is {:016x}", trace_of(seed).fingerprint());
    }
}

#[test]
fn same_seed_gives_the_same_trace_in_another_program() {
    let program = std::env::current_exe().expect("this is a program");
    let run = || {
        let arguments = [
            "--exact",
            "sim::trace_for_another_program",
            "--ignored",
            "--nocapture",
        ];
        let output = std::process::Command::new(&program)
            .args(arguments)
            .output();
        let text = String::from_utf8(output.expect("it runs").stdout).expect("it is text");
        let lines = text.lines().filter(|line| line.contains("trace of "));
        lines
            .map(|line| line[line.find("trace of ").expect("it was found")..].to_owned())
            .collect::<Vec<_>>()
    };
    let first = run();
    assert_eq!(first.len(), 5, "{first:?}");
    assert_eq!(run(), first);
}

#[test]
fn another_seed_gives_another_trace_and_the_first_difference_is_found() {
    let (one, other) = (trace_of(1), trace_of(2));
    let parted = one.diff(&other).expect("two seeds, two runs");
    let line = usize::try_from(parted.line).expect("it is small") - 1;
    assert_eq!(one.lines()[..line], other.lines()[..line]);
    assert_ne!(one.lines().get(line), other.lines().get(line));
    assert_eq!(parted.left[0], one.lines()[line]);
    assert!(parted.to_string().contains("the traces part at line"));
    assert_eq!(one.diff(&one.clone()), None);
}

#[test]
fn clock_jumps_when_nobody_can_run() {
    let sim = Sim::new(1);
    let system = sim.system("lab");
    let year = Duration::from_secs(365 * 24 * 3600);
    let now = sim.run(async {
        system.sleep(year).await;
        system.clock().now()
    });
    assert!(now >= year, "never early");
    assert!(
        now < year + Duration::from_millis(10),
        "late by a tick at most: {now:?}"
    );
}

#[test]
fn longest_times_are_as_good_as_never() {
    let sim = Sim::new(1);
    let forever = sim.try_run(sim.sleep(Duration::MAX));
    assert!(
        matches!(forever, Err(SimError::Deadlock { .. })),
        "{forever:?}"
    );
    let sim = Sim::new(1);
    let slept = sim.try_run(async {
        sim.suspend(Duration::MAX);
        sim.suspend(Duration::MAX);
        sim.sleep(Duration::MAX).await;
    });
    assert!(matches!(slept, Err(SimError::Deadlock { .. })), "{slept:?}");
}

#[test]
fn deadlock_is_an_error_that_names_who_waits() {
    let sim = Sim::new(1);
    let system = sim.system("lab");
    let error = sim.try_run(async {
        let first = system.spawn(|mut cx: Context<ReplyTo<u8>>| async move {
            let _kept = cx.receive().await;
            std::future::pending::<()>().await;
        });
        system.register("keeper", &first).expect("the name is free");
        first.call_timeout(Duration::MAX, |to| to).await
    });
    match error {
        Err(SimError::Deadlock { waiting, .. }) => {
            assert_eq!(waiting.len(), 2, "{waiting:?}");
            assert!(waiting[0].contains("the body"));
            assert!(waiting[1].contains("<lab.1> keeper"), "{waiting:?}");
        }
        other => panic!("expected a deadlock, got {other:?}"),
    }
}

#[test]
fn program_without_an_end_is_an_error() {
    let sim = Sim::new(1);
    sim.set_steps_max(1_000);
    let system = sim.system("lab");
    let error = sim.try_run(async {
        let _ticker = system.spawn(|mut cx: Context<()>| async move {
            let period = Duration::from_secs(1);
            cx.send_interval(&cx.address(), period, ())
                .expect("a second is a period");
            while cx.receive_timeout(Duration::MAX).await.is_some() {}
        });
        std::future::pending::<()>().await;
    });
    assert!(matches!(
        error,
        Err(SimError::TooManySteps { steps: 1_000, .. })
    ));
}

#[test]
fn panic_of_the_body_is_told_with_its_place() {
    let sim = Sim::new(1);
    let error = sim.try_run(async { panic!("on purpose") });
    match error {
        Err(SimError::Panicked { message, location }) => {
            assert_eq!(message, "on purpose");
            assert!(location.contains("sim.rs"), "{location}");
        }
        other => panic!("expected a panic, got {other:?}"),
    }
}

/// What a supervised worker's lives ended with, under these faults.
fn ends_under(seed: u64, faults: Faults) -> (Vec<String>, Trace) {
    let sim = Sim::new(seed);
    let system = sim.system("lab");
    sim.run(async {
        let tree = Supervisor::new(Strategy::OneForOne)
            .intensity(1_000_000, Duration::from_secs(1))
            .child(ChildSpec::worker::<Worker>("worker", ()));
        system.supervise(tree).await.expect("it starts");
        sim.set_faults(faults);
        let worker = system.whereis::<Message>("worker").expect("it has started");
        for _ in 0..100 {
            let _ = worker.send(Message::Work(1));
            system.sleep(Duration::from_millis(10)).await;
        }
    });
    let trace = sim.trace();
    let ends = trace.lines().iter().filter(|line| line.contains(" ends: "));
    (ends.cloned().collect(), trace)
}

#[test]
fn faults_strike_whom_and_as_often_as_they_may() {
    let count =
        |lines: &[String], text: &str| lines.iter().filter(|line| line.contains(text)).count();
    let (ends, _) = ends_under(1, Faults::none());
    assert_eq!(ends.len(), 0, "{ends:?}");

    let (ends, _) = ends_under(2, Faults::none().kill(0.2).only("Worker"));
    assert!(count(&ends, "killed") > 10, "{ends:?}");
    let (ends, _) = ends_under(2, Faults::none().kill(0.2).only("Worker").at_most(3));
    assert_eq!(ends.len(), 3, "{ends:?}");
    let (ends, _) = ends_under(2, Faults::none().kill(1.0).only("nobody"));
    assert_eq!(ends.len(), 0, "{ends:?}");

    let (ends, _) = ends_under(3, Faults::none().panic(0.2).only("Worker"));
    assert!(count(&ends, "a fault of the laboratory") > 10, "{ends:?}");

    let planned = Faults::none()
        .at(Duration::from_millis(100), Fault::Kill("worker".into()))
        .at(Duration::from_millis(200), Fault::Panic("worker".into()));
    let (ends, _) = ends_under(4, planned);
    assert_eq!(ends.len(), 2, "{ends:?}");
    assert!(
        ends[0].contains("killed") && ends[1].contains("a fault"),
        "{ends:?}"
    );
}

/// The clock that is to panic is first read when the panic of the process itself is told.
#[test]
fn a_process_that_panics_before_its_fault_strikes_ends_as_its_own_panic() {
    let sim = Sim::new(6);
    let system = sim.system("lab");
    sim.set_faults(Faults::none().panic(1.0).only("Message"));
    let reason = sim.run(async {
        let process = falls(&system);
        system.wait_for_exit(process.pid()).await
    });
    let ExitKind::Panic { message, .. } = reason.kind() else {
        panic!("{reason:?}")
    };
    assert_eq!(&**message, "by itself");
    assert_eq!(system.inspect().counts.panicked, 1);
}

fn falls(system: &System) -> Address<Message> {
    let fall: fn() = || panic!("by itself");
    system.spawn(move |_cx: Context<Message>| async move { fall() })
}

#[test]
fn stalls_delays_and_steps_of_the_clock_take_place() {
    let sim = Sim::new(5);
    let system = sim.system("lab");
    let hour = Duration::from_secs(3600);
    sim.set_faults(
        Faults::none()
            .at(Duration::from_secs(1), Fault::Stall("sleeper".into(), hour))
            .at(
                Duration::from_secs(2),
                Fault::ClockBack("lab".into(), 2 * hour),
            ),
    );
    let (before, after, woke) = sim.run(async {
        let before = system.clock().wall();
        let mut probe = Probe::start(&system);
        let to = probe.address();
        let sleeper = system.spawn(move |cx: Context<()>| async move {
            cx.sleep(Duration::from_secs(10)).await;
            let _ = to.send(cx.system().clock().now());
        });
        system
            .register("sleeper", &sleeper)
            .expect("the name is free");
        system.sleep(Duration::from_secs(3)).await;
        let after = system.clock().wall();
        (before, after, probe.expect_within(2 * hour).await)
    });
    assert!(after < before, "the wall clock went back");
    assert!(woke >= hour, "held back for an hour: {woke:?}");

    let sim = Sim::new(6);
    let system = sim.system("lab");
    sim.set_faults(Faults::none().delay(1.0, hour..2 * hour));
    let now = sim.run(async {
        system.sleep(Duration::from_secs(1)).await;
        sim.now()
    });
    assert!(now > hour, "the timer was late: {now:?}");
    sim.suspend(hour);
    assert!(sim.now() > 2 * hour);
}

#[test]
fn blocking_work_runs_in_seeded_order() {
    let order = |seed: u64| {
        let sim = Sim::new(seed);
        let system = sim.system("lab");
        let seen = Arc::new(Mutex::new(Vec::new()));
        sim.run(async {
            let jobs: Vec<_> = (0..100)
                .map(|number| {
                    let (seen, inner) = (seen.clone(), system.clone());
                    Job::spawn(&system, async move {
                        inner
                            .blocking(move || seen.lock().unwrap().push(number))
                            .await
                    })
                })
                .collect();
            for job in jobs {
                job.await
                    .expect("it does not panic")
                    .expect("nor does its work");
            }
        });
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen.len(), 100);
        seen
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
}

#[test]
fn several_systems_share_one_time_and_not_one_chance() {
    let sim = Sim::new(1);
    let (left, right) = (sim.system("left"), sim.system("right"));
    assert_ne!(left.entropy().next_u64(), right.entropy().next_u64());
    sim.run(async {
        left.sleep(Duration::from_secs(9)).await;
        assert_eq!(left.clock().now(), right.clock().now());
        let mut probe = Probe::start(&right);
        let to = probe.address();
        left.spawn(move |_: Context<()>| async move {
            let _ = to.send(1);
        });
        assert_eq!(probe.expect().await, 1);
    });
    assert!(
        sim.trace()
            .lines()
            .iter()
            .any(|line| line.contains("<left.1>"))
    );
}

#[test]
fn settle_waits_for_those_who_can_run_and_no_longer() {
    let sim = Sim::new(9);
    sim.set_turn_cost_max(Duration::ZERO);
    let system = sim.system("lab");
    sim.run(async {
        async fn count_down(mut cx: Context<u32>) {
            loop {
                let left = cx.receive().await;
                if left > 0 {
                    let _ = cx.address().send(left - 1);
                }
            }
        }
        let chain = system.spawn(count_down);
        chain.send(1_000).expect("it lives");
        system.send_after(&chain, Duration::from_secs(1), 5);
        sim.settle().await;
        assert_eq!(sim.now(), Duration::ZERO);
        let handled = system
            .inspect()
            .processes
            .iter()
            .map(|process| process.messages_handled)
            .sum::<u64>();
        assert_eq!(handled, 1_001);
    });
}

#[test]
fn who_is_left_at_the_end_is_ended() {
    struct Flag(Arc<Mutex<u32>>);
    impl Drop for Flag {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
        }
    }
    let dropped = Arc::new(Mutex::new(0));
    let sim = Sim::new(1);
    let system = sim.system("lab");
    sim.run(async {
        for _ in 0..3 {
            let flag = Flag(dropped.clone());
            let own = sim.clone();
            system.spawn(move |mut cx: Context<()>| async move {
                let _held = (flag, own);
                cx.receive().await;
            });
        }
        sim.settle().await;
    });
    assert_eq!(*dropped.lock().unwrap(), 3);
    assert_eq!(system.inspect().processes.len(), 0);
    let late = system.spawn(|_: Context<()>| async {});
    assert!(!late.is_alive(), "nobody would run it");
}
