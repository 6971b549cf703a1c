//! Trees: every start, stop and giving up against the model of OTP's supervisor; and trees that heal.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mesh_runtime::sim::{Fault, Faults, Sim};
use mesh_runtime::{
    Actor, ChildSpec, Context, ExitReason, Flow, ReplyTo, RestartType, Strategy, Supervisor, System,
};

use crate::suites::supervision::model::{How, Model, Step};

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
const CRASHES: usize = 12;
const HOUR: Duration = Duration::from_secs(3600);

pub(super) async fn play(sim: Sim) {
    if sim.chance(0.5) {
        sim.set_turn_cost_max(Duration::ZERO);
    }
    if sim.chance(0.7) {
        model(&sim).await;
    } else {
        healing(&sim).await;
    }
}

#[derive(Clone)]
struct Args {
    index: usize,
    log: Arc<Mutex<Vec<Step>>>,
    /// How many of the next starts fail.
    failing: Arc<AtomicU32>,
}

struct Crasher(Args);

impl Args {
    fn log(&self, step: Step) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push(step);
    }
}

impl Actor for Crasher {
    type Args = Args;
    type Message = How;

    async fn init(args: Args, cx: &mut Context<How>) -> Result<Crasher, ExitReason> {
        cx.trap_exit(true);
        let left = args.failing.load(Ordering::Relaxed);
        if left > 0 {
            args.failing.store(left - 1, Ordering::Relaxed);
            return Err(ExitReason::error("init fails on purpose"));
        }
        args.log(Step::Start(args.index));
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
        self.0.log(Step::Stop(self.0.index));
    }
}

/// The restarts a supervisor remembers.
struct Window {
    at: Vec<Duration>,
    max: usize,
    within: Duration,
}

impl Window {
    /// Counts a restart; whether it is one too many.
    fn is_too_many(&mut self, now: Duration) -> bool {
        self.at.push(now);
        self.at.retain(|at| now.saturating_sub(*at) <= self.within);
        self.at.len() > self.max
    }
}

async fn model(sim: &Sim) {
    let system = sim.system("tree");
    let strategy = sim.pick(&STRATEGIES);
    let types: Vec<RestartType> = (0..1 + sim.below(5)).map(|_| sim.pick(&TYPES)).collect();
    let max = u32::try_from(sim.below(6)).unwrap_or(0);
    // Crashes come at whole seconds, so that none is at the window's edge.
    let within = Duration::from_secs(1 + sim.below(6)) + Duration::from_millis(500);
    let mut window = Window {
        at: Vec::new(),
        max: max as usize,
        within,
    };
    let log: Arc<Mutex<Vec<Step>>> = Arc::default();
    let args: Vec<Args> = (0..types.len())
        .map(|index| Args {
            index,
            log: log.clone(),
            failing: Arc::default(),
        })
        .collect();
    let mut tree = Supervisor::new(strategy).intensity(max, within);
    for (args, restart) in args.iter().zip(&types) {
        let spec = ChildSpec::worker::<Crasher>(&format!("child-{}", args.index), args.clone());
        tree = tree.child(spec.restart(*restart));
    }
    let handle = system
        .supervise(tree)
        .await
        .expect("no child fails to start");
    let mut over = std::pin::pin!(system.wait_for_exit(handle.pid()));
    let mut model = Model::new(strategy, &types);
    sim.note(&format!(
        "{strategy:?} {types:?}, {max} restarts in {within:?}"
    ));
    for crash in 0..CRASHES {
        let running = model.running();
        if running.is_empty() {
            break;
        }
        let next = Duration::from_secs(sim.now().as_secs() + 1 + sim.below(3));
        sim.sleep(next - sim.now()).await;
        let (died, how) = (sim.pick(&running), sim.pick(&How::ALL));
        let fails = match strategy {
            Strategy::OneForOne => u32::try_from(sim.below(5).saturating_sub(2)).unwrap_or(0),
            _ => 0,
        };
        let mut gives_up = false;
        if model.is_restarted(died, how) {
            args[died].failing.store(fails, Ordering::Relaxed);
            gives_up = (0..=fails).any(|_| window.is_too_many(next));
        }
        sim.note(&format!(
            "crash {crash}: child {died} by {how:?}, then {fails} starts fail"
        ));
        let address = system
            .whereis::<How>(&format!("child-{died}"))
            .expect("it runs");
        address.send(how).expect("its mailbox is open");
        if gives_up {
            model.crash_too_many(died, how);
            let reason = over.as_mut().await;
            assert_eq!(
                reason,
                ExitReason::restart_intensity(),
                "how the supervisor ended"
            );
            sim.settle().await;
            break;
        }
        model.crash(died, how);
        sim.settle().await;
        assert_eq!(
            log_of(&log),
            model.steps,
            "the starts and stops after crash {crash}"
        );
        let children = handle
            .which_children()
            .await
            .expect("the supervisor answers");
        let runs = children.iter().filter(|child| child.pid.is_some()).count();
        assert_eq!(
            (children.len(), runs),
            (model.present(), model.running().len()),
            "children and those that run"
        );
    }
    if handle.is_alive() {
        model.stop_all();
        handle.stop().await.expect("the supervisor stops");
    }
    assert_eq!(
        log_of(&log),
        model.steps,
        "the starts and stops of the whole life"
    );
    assert_eq!(system.inspect().processes.len(), 0, "processes left behind");
}

fn log_of(log: &Mutex<Vec<Step>>) -> Vec<Step> {
    log.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

struct Healer;

impl Actor for Healer {
    type Args = ();
    type Message = ReplyTo<()>;

    async fn init((): (), cx: &mut Context<ReplyTo<()>>) -> Result<Healer, ExitReason> {
        cx.sleep(Duration::from_millis(1)).await;
        Ok(Healer)
    }

    async fn handle(&mut self, to: ReplyTo<()>, cx: &mut Context<ReplyTo<()>>) -> Flow {
        cx.sleep(Duration::from_millis(2)).await;
        to.reply(());
        Flow::Continue
    }
}

/// Workers of two levels are killed and panic, supervisors are killed by name; once that is over, all stand.
async fn healing(sim: &Sim) {
    let system = sim.system("tree");
    let (outer, inner) = (sim.pick(&STRATEGIES), sim.pick(&STRATEGIES));
    let count = 1 + sim.below(3);
    let tree = Supervisor::new(outer)
        .intensity(u32::MAX, HOUR)
        .child(ChildSpec::worker::<Healer>("first", ()))
        .child(ChildSpec::supervisor("inner", move || {
            let mut tree = Supervisor::new(inner).intensity(u32::MAX, HOUR);
            for worker in 0..count {
                tree = tree.child(ChildSpec::worker::<Healer>(&format!("inner-{worker}"), ()));
            }
            tree
        }))
        .child(ChildSpec::worker::<Healer>("last", ()));
    let handle = system.supervise(tree).await.expect("nothing fails yet");
    let mut names = vec!["first".to_owned(), "last".to_owned()];
    names.extend((0..count).map(|worker| format!("inner-{worker}")));
    let mut faults = Faults::none()
        .kill(0.02)
        .panic(0.02)
        .stall(0.02, Duration::from_millis(1)..Duration::from_millis(20))
        .delay(0.02, Duration::from_millis(1)..Duration::from_millis(5))
        .only("Healer")
        .at_most(20);
    if sim.chance(0.5) {
        faults = faults.at(
            Duration::from_millis(sim.below(100)),
            Fault::Kill("inner".into()),
        );
    }
    sim.set_faults(faults);
    for _ in 0..20 {
        let name = &names[usize::try_from(sim.below(names.len() as u64)).unwrap_or(0)];
        if let Ok(worker) = system.whereis::<ReplyTo<()>>(name) {
            let _ = worker.call_timeout(Duration::from_millis(5), |to| to).await;
        }
        sim.sleep(Duration::from_millis(5)).await;
    }
    sim.set_faults(Faults::none());
    sim.sleep(Duration::from_secs(1)).await;
    stands(&system, &names).await;
    handle.stop().await.expect("the tree stops");
    assert_eq!(system.inspect().processes.len(), 0, "processes left behind");
    assert!(system.names().is_empty(), "names left behind");
}

async fn stands(system: &System, names: &[String]) {
    for name in names {
        let worker = system.whereis::<ReplyTo<()>>(name);
        let worker = worker.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(worker.call(|to| to).await, Ok(()), "{name} answers");
    }
    // Two supervisors, and the workers.
    assert_eq!(
        system.inspect().processes.len(),
        names.len() + 2,
        "processes in the tree"
    );
}
