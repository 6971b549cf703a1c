//! R15: everything waits for something that never comes, and the system is told to stop. Attacks D14.

use std::time::Duration;

use mesh_runtime::{
    Actor, ChildSpec, Context, ExitReason, Flow, ReplyTo, ShutdownType, Strategy, Supervisor,
    System,
};

use crate::stage::{Census, Counted, Stage, Tally, now, within};

const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn play(stage: &Stage) {
    let workers = stage.workers();
    stage.scene("a system that waits", workers, waits);
    stage.scene("a system that refuses", workers, refuses);
}

struct Polite {
    _counted: Counted,
    terminated: Tally,
}

impl Actor for Polite {
    type Args = (Census, Tally);
    type Message = Counted;

    async fn init(
        (census, terminated): (Census, Tally),
        cx: &mut Context<Counted>,
    ) -> Result<Polite, ExitReason> {
        cx.trap_exit(true);
        let me = cx.address();
        cx.send_after(&me, HOUR, census.enter());
        Ok(Polite {
            _counted: census.enter(),
            terminated,
        })
    }

    async fn handle(&mut self, _message: Counted, _cx: &mut Context<Counted>) -> Flow {
        Flow::Continue
    }

    async fn terminate(&mut self, _reason: &ExitReason, _cx: &mut Context<Counted>) {
        self.terminated.add();
    }
}

fn stuck(system: &System, census: &Census, kind: u64) {
    let held = census.enter();
    match kind {
        0 => drop(system.spawn(async move |mut cx: Context<()>| {
            cx.receive().await;
            drop(held);
        })),
        1 => drop(system.spawn(async move |_cx: Context<()>| {
            std::future::pending::<()>().await;
            drop(held);
        })),
        2 => drop(system.spawn(async move |cx: Context<()>| {
            cx.sleep(HOUR).await;
            drop(held);
        })),
        3 => drop(system.spawn(async move |cx: Context<()>| {
            let silent = cx.system().spawn(async |mut cx: Context<ReplyTo<()>>| {
                let _kept = cx.receive().await;
                std::future::pending::<()>().await;
            });
            let _ = silent.call_timeout(HOUR, |to| to).await;
            drop(held);
        })),
        4 => drop(system.spawn(async move |cx: Context<()>| {
            let _held = held;
            while cx.pid() == cx.pid() {
                cx.consume_budget(500).await;
            }
        })),
        _ => {
            let target = system.spawn(async move |mut cx: Context<Counted>| -> ExitReason {
                loop {
                    cx.receive().await;
                }
            });
            system.send_after(&target, HOUR, held);
        }
    }
}

async fn waits(stage: Stage, system: System) {
    let count = stage.count(1, 200);
    let (census, terminated) = (Census::default(), Tally::default());
    let mut seed = stage.seed();
    for _ in 0..count {
        // Few of those that keep a worker busy.
        let kind = if seed.below(100) == 0 {
            4
        } else {
            [0, 1, 2, 3, 5][usize::try_from(seed.below(5)).unwrap_or(0)]
        };
        stuck(&system, &census, kind);
    }
    const CHILDREN: u64 = 50;
    let mut tree = Supervisor::new(Strategy::OneForAll);
    for index in 0..CHILDREN {
        tree = tree.child(ChildSpec::worker::<Polite>(
            &format!("polite-{index}"),
            (census.clone(), terminated.clone()),
        ));
    }
    let up = system.supervise(tree).await.is_ok();
    let start = now();
    let stopped = within(system.shutdown(Duration::from_secs(50))).await;
    stage.row(
        "milliseconds to stop",
        u64::try_from(start.elapsed().as_millis()).unwrap_or(0),
    );
    let counts = system.inspect().counts;
    stage.judge(
        "D14",
        "a system in which everything waits stops, and asks its supervised children first",
        up && stopped == Some(Ok(())) && terminated.get() == CHILDREN,
        format!(
            "{} of {CHILDREN} ran terminate; {}",
            terminated.get(),
            match stopped {
                Some(Ok(())) => "nobody had to be killed".to_owned(),
                Some(Err(error)) => error.to_string(),
                None => "it hangs".to_owned(),
            }
        ),
    );
    stage.judge(
        "D14 A19",
        "nothing is left of it: no process, no timer, no name, no message",
        census.living() == 0
            && counts.timers == 0
            && counts.spawned == counts.exited
            && system.names().is_empty(),
        format!(
            "{} values, {} timers, {} of {} ended, {} names",
            census.living(),
            counts.timers,
            counts.exited,
            counts.spawned,
            system.names().len()
        ),
    );
}

async fn refuses(stage: Stage, system: System) {
    let census = Census::default();
    let held = census.enter();
    let deaf = system.spawn(async move |mut cx: Context<()>| -> ExitReason {
        let _held = held;
        cx.trap_exit(true);
        loop {
            cx.receive().await;
        }
    });
    let tree = Supervisor::new(Strategy::OneForOne).child(
        ChildSpec::process("deaf child", {
            let census = census.clone();
            move |mut cx: Context<()>| {
                let held = census.enter();
                async move {
                    cx.trap_exit(true);
                    let _held = held;
                    std::future::pending::<()>().await;
                }
            }
        })
        .shutdown(ShutdownType::Infinity),
    );
    let up = system.supervise(tree).await.is_ok();
    let limit = Duration::from_millis(100);
    let start = now();
    let stopped = within(system.shutdown(limit)).await;
    let patient = start.elapsed() >= limit;
    let told = matches!(&stopped, Some(Err(error)) if error.killed.contains(&deaf.pid()));
    let gone = crate::stage::until(|| census.living() == 0).await;
    stage.judge(
        "D14",
        "who traps exits and does not stop is killed at the deadline, not before, and named",
        up && patient && told && gone,
        format!(
            "{} values left; {}",
            census.living(),
            match stopped {
                Some(Ok(())) => "nobody was killed".to_owned(),
                Some(Err(error)) => error.to_string(),
                None => "it hangs".to_owned(),
            }
        ),
    );
}
