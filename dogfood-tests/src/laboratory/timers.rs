//! Timers: each fires once, at the first tick not before its deadline, or was cancelled, or died with its target.

use std::collections::BTreeMap;
use std::time::Duration;

use mesh_runtime::sim::Sim;
use mesh_runtime::{Address, Context, Probe, System, TimerRef};

/// What a timer says: which it is, and for an interval that is all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fired(u64);

/// When a message came.
type Heard = (Fired, Duration);

struct Model {
    sim: Sim,
    system: System,
    /// Whether time passes only between ticks, so that a timer fires at its tick and not a moment later.
    exact: bool,
    /// Deadlines of those that are to fire.
    due: BTreeMap<u64, Duration>,
    timers: BTreeMap<u64, TimerRef>,
    next: u64,
}

/// From nothing to two years, every order of magnitude alike.
fn any_delay(sim: &Sim) -> Duration {
    let bits = sim.below(36);
    let millis = sim.below(1 << bits);
    let nanos = if sim.chance(0.5) {
        sim.below(1_000_000)
    } else {
        0
    };
    Duration::from_millis(millis) + Duration::from_nanos(nanos)
}

fn tick_after(time: Duration) -> Duration {
    let millis = time.as_nanos().div_ceil(1_000_000);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

async fn stamp(mut cx: Context<Fired>, to: Address<Heard>) {
    loop {
        let fired = cx.receive().await;
        let now = cx.system().clock().now();
        let _ = to.send((fired, now));
    }
}

pub(super) async fn play(sim: Sim) {
    let system = sim.system("timers");
    let exact = sim.chance(0.6);
    if exact {
        sim.set_turn_cost_max(Duration::ZERO);
    }
    match sim.below(4) {
        0 => intervals(&sim, &system, exact).await,
        1 => waits(&sim, &system, exact).await,
        _ => deadlines(sim, system, exact).await,
    }
}

async fn deadlines(sim: Sim, system: System, exact: bool) {
    let mut probe = Probe::start(&system);
    let to = probe.address();
    let target = system.spawn(move |cx: Context<Fired>| stamp(cx, to));
    let doomed = system
        .spawn(|mut cx: Context<Fired>| async move { while cx.receive().await.0 < u64::MAX {} });
    let mut model = Model {
        sim,
        system,
        exact,
        due: BTreeMap::new(),
        timers: BTreeMap::new(),
        next: 0,
    };
    for _ in 0..60 {
        match model.sim.below(10) {
            0..=5 => model.set(&target),
            6 => {
                let delay = any_delay(&model.sim);
                model.system.send_after(&doomed, delay, Fired(0));
            }
            7 => model.cancel(),
            _ => {
                let pause = Duration::from_millis(model.sim.below(1 << model.sim.below(20)));
                model.sim.sleep(pause).await;
                model.collect(&mut probe).await;
            }
        }
    }
    model.system.kill(doomed.pid());
    model.sim.settle().await;
    model.collect(&mut probe).await;
    let pending = model.system.inspect().counts.timers;
    assert_eq!(
        pending,
        model.due.len() as u64,
        "timers pending once the other target is dead"
    );
    while let Some(last) = model.due.values().max().copied() {
        let left = last.saturating_sub(model.sim.now()) + Duration::from_secs(1);
        model.sim.sleep(left).await;
        model.collect(&mut probe).await;
    }
    assert_eq!(
        model.system.inspect().counts.timers,
        0,
        "timers left behind"
    );
    let timers: Vec<TimerRef> = model.timers.values().copied().collect();
    for timer in timers {
        assert_eq!(
            model.system.cancel(timer),
            None,
            "a timer that has fired is not cancelled"
        );
    }
}

impl Model {
    fn set(&mut self, target: &Address<Fired>) {
        let delay = any_delay(&self.sim);
        let number = self.next;
        self.next += 1;
        let timer = self.system.send_after(target, delay, Fired(number));
        self.timers.insert(number, timer);
        self.due.insert(number, self.sim.now() + delay);
    }

    fn cancel(&mut self) {
        let Some((number, timer)) = self
            .timers
            .iter()
            .nth(usize::try_from(self.sim.below(8)).unwrap_or(0))
        else {
            return;
        };
        let (number, timer) = (*number, *timer);
        let left = self.system.cancel(timer);
        match self.due.get(&number) {
            Some(due) if tick_after(*due) > self.sim.now() || left.is_some() => {
                let expected = tick_after(*due).saturating_sub(self.sim.now());
                assert_eq!(left, Some(expected), "time left of timer {number}");
                self.due.remove(&number);
            }
            // Due in this very moment, and already on its way.
            Some(_) => {}
            None => assert_eq!(left, None, "timer {number} has fired or was cancelled"),
        }
    }

    /// Compares what fired since the last time.
    async fn collect(&mut self, probe: &mut Probe<Heard>) {
        self.sim.settle().await;
        let now = self.sim.now();
        for (Fired(number), at) in probe.drain().await {
            let due = self.due.remove(&number);
            let due = due
                .unwrap_or_else(|| panic!("timer {number} fired at {at:?}: twice, or cancelled"));
            assert!(
                at >= due,
                "timer {number} fired at {at:?}, due at {due:?}: early"
            );
            let slack = Duration::from_millis(if self.exact { 0 } else { 10 });
            assert!(
                at <= tick_after(due) + slack,
                "timer {number} fired at {at:?}, due at {due:?}: late"
            );
        }
        let slack = Duration::from_millis(if self.exact { 0 } else { 10 });
        let missing = self
            .due
            .iter()
            .find(|(_, due)| tick_after(**due) + slack < now);
        assert_eq!(missing, None, "a timer has not fired at {now:?}");
    }
}

/// Intervals keep their beat and skip what they missed.
async fn intervals(sim: &Sim, system: &System, exact: bool) {
    let mut probe = Probe::start(system);
    let to = probe.address();
    let target = system.spawn(
        move |mut cx: Context<(Duration, Address<Heard>)>| async move {
            let (period, to) = cx.receive().await;
            let own = cx.spawn_link(move |cx: Context<Fired>| stamp(cx, to));
            let timer = cx
                .send_interval(&own, period, Fired(0))
                .expect("it is a period");
            let _ = cx.receive().await;
            cx.cancel(timer);
            let _ = cx.receive().await;
        },
    );
    let period = Duration::from_millis(1 + sim.below(50_000));
    let start = sim.now();
    target.send((period, to.clone())).expect("it lives");
    let beats = 1 + u32::try_from(sim.below(20)).unwrap_or(0);
    let mut missed = 0;
    for beat in 1..=beats {
        if sim.chance(0.1) {
            // The machine sleeps over some beats.
            missed = 1 + u32::try_from(sim.below(4)).unwrap_or(0);
            sim.suspend(period * missed);
        }
        let _ = beat;
        let (_, at) = probe.expect_within(period * (missed + 2)).await;
        let since = at - start;
        let whole = since.as_nanos() / period.as_nanos();
        let off = since - period * u32::try_from(whole).unwrap_or(0);
        // The fire that comes at once after a sleep of the machine is off the beat, no other.
        let slack = Duration::from_millis(if exact { 1 } else { 5 });
        assert!(
            missed > 0 || (whole > 0 && off <= slack),
            "a beat at {since:?} of {period:?}, off by {off:?}"
        );
        missed = missed.saturating_sub(1);
    }
    target.send((period, to)).expect("it lives");
    sim.settle().await;
    drop(probe.drain().await);
    assert_eq!(system.inspect().counts.timers, 0, "a cancelled interval");
    system.kill(target.pid());
    probe.refute(period * 3).await;
}

/// Sleeps, timeouts and receive timeouts end at their tick.
async fn waits(sim: &Sim, system: &System, exact: bool) {
    let mut probe = Probe::start(system).patience(Duration::MAX);
    let mut due = BTreeMap::new();
    for number in 0..10_u64 {
        let (delay, to) = (any_delay(sim), probe.address());
        due.insert(number, sim.now() + delay);
        let way = sim.below(3);
        system.spawn(move |mut cx: Context<()>| async move {
            // Begins a turn later than the test knows.
            let begun = cx.system().clock().now();
            match way {
                0 => cx.sleep(delay).await,
                1 => drop(cx.receive_timeout(delay).await),
                _ => drop(
                    cx.system()
                        .timeout(delay, std::future::pending::<()>())
                        .await,
                ),
            }
            let now = cx.system().clock().now();
            assert!(now - begun >= delay, "early");
            let _ = to.send((Fired(number), now));
        });
    }
    for _ in 0..10 {
        let (Fired(number), at) = probe.expect().await;
        let due = due.remove(&number).expect("it waits once");
        let slack = Duration::from_millis(if exact { 0 } else { 5 });
        assert!(
            at >= due && at <= tick_after(due) + slack,
            "ended at {at:?}, due at {due:?}"
        );
    }
    assert_eq!(system.inspect().counts.timers, 0, "timers left behind");
}
