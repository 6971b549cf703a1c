//! R4: random trees, every way to crash, and a model of OTP's supervisor that knows nothing of ours. Attacks D1 to D13.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mesh_runtime::{
    Actor, ChildSpec, Context, DynamicSupervisor, ExitReason, Flow, RestartType, Strategy,
    Supervisor, SupervisorHandle, System,
};

use crate::seed::Seed;
use crate::stage::{Stage, Tally, now, pause, until, within};
use crate::wait::PATIENCE;

pub(crate) mod model;

use model::{How, Model, Step};

const CRASHES_A_TREE: usize = 20;
const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn play(stage: &Stage) {
    let workers = stage.workers();
    stage.scene("trees against the model", workers, matrix);
    stage.scene("restart intensity", workers, intensity);
    stage.scene("a storm of kills", workers, storm);
    stage.scene("a supervisor is killed", workers, killed_supervisor);
}

/// What a test child is given.
#[derive(Clone)]
pub(super) struct Args {
    index: usize,
    log: Arc<Mutex<Vec<Step>>>,
    /// Starts, and which of them fail.
    starts: Tally,
    failing: std::ops::Range<u64>,
}

impl Args {
    fn new(index: usize) -> Args {
        Args {
            index,
            log: Arc::default(),
            starts: Tally::default(),
            failing: 0..0,
        }
    }
}

struct Crasher(Args);

impl Crasher {
    fn log(args: &Args, step: Step) {
        args.log
            .lock()
            .expect("no panic under this lock")
            .push(step);
    }
}

impl Actor for Crasher {
    type Args = Args;
    type Message = How;

    async fn init(args: Args, cx: &mut Context<How>) -> Result<Crasher, ExitReason> {
        cx.trap_exit(true);
        if args.failing.contains(&args.starts.add()) {
            return Err(ExitReason::error("init fails on purpose"));
        }
        Crasher::log(&args, Step::Start(args.index));
        Ok(Crasher(args))
    }

    async fn handle(&mut self, how: How, cx: &mut Context<How>) -> Flow {
        match how {
            How::Panic => panic!("a test child crashes"),
            How::Error => Flow::Stop(ExitReason::error("a test child fails")),
            How::Normal => Flow::Stop(ExitReason::normal()),
            How::Shutdown => Flow::Stop(ExitReason::shutdown()),
            How::Kill => {
                cx.system().kill(cx.pid());
                cx.sleep(HOUR).await;
                Flow::Continue
            }
        }
    }

    async fn terminate(&mut self, _reason: &ExitReason, _cx: &mut Context<How>) {
        Crasher::log(&self.0, Step::Stop(self.0.index));
    }
}

fn pick<T: Copy>(seed: &mut Seed, from: &[T]) -> T {
    from[usize::try_from(seed.below(from.len() as u64)).unwrap_or(0)]
}

const STRATEGIES: [Strategy; 3] = [
    Strategy::OneForOne,
    Strategy::OneForAll,
    Strategy::RestForOne,
];
const TYPES: [RestartType; 3] = [
    RestartType::Permanent,
    RestartType::Transient,
    RestartType::Temporary,
];

async fn matrix(stage: Stage, system: System) {
    let trees = stage.count(CRASHES_A_TREE as u64, 20);
    let mut seed = stage.seed();
    let (mut crashes, mut wrong) = (0, Vec::new());
    let start = now();
    for tree in 0..trees {
        stage.progress("trees against the model", tree, trees);
        match one_tree(&system, tree, &mut seed).await {
            Ok(done) => crashes += done,
            Err(difference) => wrong.push(difference),
        }
        // The first difference tells more than a hundred.
        if !wrong.is_empty() {
            break;
        }
    }
    let spent = start.elapsed().as_micros() / u128::try_from(crashes.max(1)).unwrap_or(1);
    stage.row("trees and crashes", format!("{trees} / {crashes}"));
    stage.row(
        "microseconds a crash, healed and checked",
        u64::try_from(spent).unwrap_or(0),
    );
    stage.judge(
        "D1 D2 D3 D7",
        "every start and stop, and its order, is what the model of OTP's supervisor says",
        wrong.is_empty(),
        wrong.pop().unwrap_or_else(|| format!("{crashes} crashes")),
    );
}

async fn one_tree(system: &System, tree: usize, seed: &mut Seed) -> Result<usize, String> {
    let strategy = pick(seed, &STRATEGIES);
    let types: Vec<RestartType> = (0..2 + seed.below(5)).map(|_| pick(seed, &TYPES)).collect();
    let log: Arc<Mutex<Vec<Step>>> = Arc::default();
    let mut supervisor = Supervisor::new(strategy).intensity(1_000_000, HOUR);
    for (index, restart) in types.iter().enumerate() {
        let args = Args {
            log: log.clone(),
            ..Args::new(index)
        };
        let spec = ChildSpec::worker::<Crasher>(&format!("t{tree}-{index}"), args);
        supervisor = supervisor.child(spec.restart(*restart));
    }
    let handle = system
        .supervise(supervisor)
        .await
        .map_err(|error| error.to_string())?;
    let mut model = Model::new(strategy, &types);
    let mut history = Vec::new();
    for _ in 0..CRASHES_A_TREE {
        let running = model.running();
        if running.is_empty() {
            break;
        }
        let (died, how) = (pick(seed, &running), pick(seed, &How::ALL));
        history.push((died, how));
        let name = format!("t{tree}-{died}");
        let address = system
            .whereis::<How>(&name)
            .map_err(|error| format!("{name}: {error}"))?;
        address
            .send(how)
            .map_err(|error| format!("{name}: {error}"))?;
        model.crash(died, how);
        settle(&handle, &model, &log, &format!("t{tree}-"))
            .await
            .map_err(|difference| format!("{strategy:?} {types:?} {history:?}: {difference}"))?;
        if model.runs(died) && system.whereis::<How>(&name).ok().as_ref() != Some(&address) {
            return Err(format!(
                "{name} is behind another address after its restart"
            ));
        }
    }
    model.stop_all();
    within(handle.stop())
        .await
        .ok_or("the supervisor does not stop")?
        .map_err(|error| error.to_string())?;
    let seen = log.lock().expect("no panic under this lock").clone();
    if seen != model.steps {
        return Err(format!(
            "{strategy:?} {types:?} {history:?}, stopped: {seen:?} and not {:?}",
            model.steps
        ));
    }
    Ok(history.len())
}

/// Waits until log and children are what the model says.
async fn settle(
    handle: &SupervisorHandle,
    model: &Model,
    log: &Mutex<Vec<Step>>,
    prefix: &str,
) -> Result<(), String> {
    let start = now();
    loop {
        let children = within(handle.which_children())
            .await
            .ok_or("the supervisor does not answer")?
            .map_err(|error| error.to_string())?;
        let running: Vec<String> = children
            .iter()
            .filter(|child| child.pid.is_some())
            .map(|child| child.id.clone())
            .collect();
        let expected: Vec<String> = model
            .running()
            .iter()
            .map(|index| format!("{prefix}{index}"))
            .collect();
        let seen = log.lock().expect("no panic under this lock").clone();
        if seen == model.steps && running == expected && children.len() == model.present() {
            return Ok(());
        }
        if seen.len() > model.steps.len() || start.elapsed() > PATIENCE {
            return Err(format!(
                "{seen:?} and not {:?}; {running:?} run and not {expected:?}",
                model.steps
            ));
        }
        pause(Duration::from_micros(200)).await;
    }
}

async fn intensity(stage: Stage, system: System) {
    let mut wrong = Vec::new();
    for max in 0..5_u32 {
        for fails in 0..3_u64 {
            if !wrong.is_empty() {
                break;
            }
            let args = Args {
                failing: 1..1 + fails,
                ..Args::new(0)
            };
            let name = format!("i{max}-{fails}");
            let tree = Supervisor::new(Strategy::OneForOne)
                .intensity(max, HOUR)
                .child(ChildSpec::worker::<Crasher>(&name, args.clone()));
            let Ok(handle) = system.supervise(tree).await else {
                wrong.push(format!("{name} does not start"));
                continue;
            };
            let ended = system.wait_for_exit(handle.pid());
            let Ok(address) = system.whereis::<How>(&name) else {
                wrong.push(format!("{name} has no name"));
                continue;
            };
            // The first crash costs one restart, and one more for each start that fails during it.
            let mut spent = 0;
            while spent <= max {
                let failing = if spent == 0 { fails } else { 0 };
                spent += 1 + u32::try_from(failing).unwrap_or(0);
                // Not before the start that succeeds: what is sent to a life that fails to start is lost with it.
                let healed = args.starts.get() + failing + 1;
                let _ = address.send(How::Panic);
                if spent <= max
                    && !until(|| {
                        args.starts.get() == healed && address.is_empty() && address.is_alive()
                    })
                    .await
                {
                    wrong.push(format!("{name} gave up after {spent}"));
                    break;
                }
            }
            let reason = within(ended).await;
            if reason != Some(ExitReason::restart_intensity()) {
                wrong.push(format!("{name} ended as {reason:?}"));
            }
            if !matches!(
                address.send(How::Normal),
                Err(mesh_runtime::SendError::Gone(_))
            ) {
                wrong.push(format!("{name}'s mailbox is open"));
            }
        }
    }
    stage.judge("D5 D6 D10", "a supervisor gives up at one restart more than its intensity, failed starts counted, and not before", wrong.is_empty(), if wrong.is_empty() { "15 trees".to_owned() } else { wrong.join("; ") });
    let inner = Args::new(0);
    let given = inner.clone();
    let tree = Supervisor::new(Strategy::OneForOne)
        .intensity(10, HOUR)
        .child(ChildSpec::supervisor("inner", move || {
            Supervisor::new(Strategy::OneForOne)
                .intensity(0, HOUR)
                .child(ChildSpec::worker::<Crasher>("leaf", given.clone()))
        }));
    let handle = system.supervise(tree).await;
    let mut healed = handle.is_ok();
    for round in 1..=10 {
        let leaf = system.whereis::<How>("leaf");
        healed &= leaf.is_ok_and(|leaf| leaf.send(How::Error).is_ok());
        healed &= until(|| {
            inner.starts.get() > round
                && system
                    .whereis::<How>("leaf")
                    .is_ok_and(|leaf| leaf.is_alive())
        })
        .await;
    }
    stage.judge(
        "D5",
        "a supervisor that gave up is restarted by its parent",
        healed,
        format!("{} starts of the leaf after 10 crashes", inner.starts.get()),
    );
}

async fn storm(stage: Stage, system: System) {
    let count = stage.count(10, 100);
    let tree = Supervisor::new(Strategy::OneForOne).child(ChildSpec::dynamic(
        "crowd",
        DynamicSupervisor::new().intensity(u32::MAX, HOUR),
    ));
    let mut seed = stage.seed();
    let begun = system.supervise(tree).await.is_ok();
    let Ok(crowd) = system.supervisor("crowd") else {
        stage.judge(
            "D12",
            "a dynamic supervisor starts",
            false,
            "it has no name",
        );
        return;
    };
    let mut args = Vec::new();
    for index in 0..count {
        let one = Args::new(index);
        let spec = ChildSpec::worker::<Crasher>(&format!("c-{index}"), one.clone());
        if crowd.start_child(spec).await.is_ok() {
            args.push(one);
        }
    }
    let start = now();
    let (mut told, mut killed) = (0, 0);
    for _ in 0..count {
        let index = usize::try_from(seed.below(count as u64)).unwrap_or(0);
        let name = format!("c-{index}");
        if seed.below(2) == 0 {
            let pid = system.whereis_pid(&name);
            killed += u64::from(pid.is_some_and(|pid| system.kill(pid)));
        } else {
            let sent = system
                .whereis::<How>(&name)
                .is_ok_and(|child| child.send(How::Panic).is_ok());
            told += u64::from(sent);
        }
    }
    let mut active = 0;
    let mut stands = false;
    while !stands && start.elapsed() < PATIENCE {
        active = crowd
            .count_children()
            .await
            .map_or(0, |counts| counts.active);
        let named = (0..count).all(|index| {
            system
                .whereis::<How>(&format!("c-{index}"))
                .is_ok_and(|child| child.is_alive() && child.is_empty())
        });
        stands = active == count && named;
        pause(Duration::from_millis(1)).await;
    }
    let counts = system.inspect().counts;
    let starts: u64 = args.iter().map(|one| one.starts.get()).sum();
    let living = counts.spawned - counts.exited;
    // One that is killed again before its `init` runs is a life and no start.
    let lives = count as u64 + counts.restarts;
    let unborn = lives.checked_sub(starts);
    stage.row(
        "children and crashes at once",
        format!("{count} / {}", killed + told),
    );
    stage.judge(
        "D1 D12",
        "after a storm every child stands again, once, under its name",
        begun && args.len() == count && stands,
        format!("{active} of {count} stand"),
    );
    stage.judge(
        "D1 D12",
        "starts are children and restarts, but for who is killed before it starts, and nobody else lives",
        unborn.is_some_and(|unborn| unborn <= killed) && living == count as u64 + 2,
        format!(
            "{starts} starts, {} restarts, {killed} kills, {living} live",
            counts.restarts
        ),
    );
}

async fn killed_supervisor(stage: Stage, system: System) {
    let count = stage.count(100, 50);
    let mut ended = Vec::new();
    let mut tree = Supervisor::new(Strategy::OneForAll).named("doomed");
    for index in 0..count {
        tree = tree.child(ChildSpec::worker::<Crasher>(
            &format!("d-{index}"),
            Args::new(index),
        ));
    }
    let handle = system.supervise(tree).await;
    for index in 0..count {
        ended.push(
            system
                .whereis_pid(&format!("d-{index}"))
                .map(|pid| system.wait_for_exit(pid)),
        );
    }
    let up = handle
        .as_ref()
        .is_ok_and(|handle| system.kill(handle.pid()));
    let mut stayed = 0;
    for one in ended {
        match one {
            Some(one) => stayed += usize::from(within(one).await.is_none()),
            None => stayed += 1,
        }
    }
    let empty = until(|| system.names().is_empty() && system.inspect().processes.is_empty()).await;
    stage.judge(
        "D13",
        "a killed supervisor takes its children and their names along",
        up && stayed == 0 && empty,
        format!(
            "{stayed} of {count} stayed, {} names left",
            system.names().len()
        ),
    );
}
