//! The process that carries out plans.

use std::sync::Arc;
use std::time::Duration;

use crate::actor::{Ready, Starting};
use crate::address::Address;
use crate::error::StartError;
use crate::exit::ExitReason;
use crate::pid::Pid;
use crate::process::context::{Context, Event};
use crate::process::home::Home;
use crate::process::kernel::Kernel;
use crate::process::storms::Told;
use crate::process::{Birth, spawn};
use crate::registry::Registry;
use crate::signal::Signal;
use crate::telemetry::{SUPERVISOR, count};
use crate::timer;

use super::children::{Child, Children, Place};
use super::pending::{Pending, Start};
use super::plan::{Plan, plan};
use super::restart::{RestartType, RestartWindow};
use super::restarted::Restarted;
use super::shutdown;
use super::strategy::{AutoShutdown, Strategy};
use super::{Message, Supervisor};

/// Begins a supervisor's life behind `home`.
pub(crate) fn start(home: &Arc<Home<Message>>, birth: Birth, supervisor: Supervisor) -> Starting {
    let (birth, ready, starting) = Starting::prepare(Birth {
        behaviour: Some(|| "Supervisor"),
        ..birth
    });
    starting(spawn(home, birth, move |context| {
        live(supervisor, ready, context)
    }))
}

pub(super) struct Server {
    pub(super) kernel: Arc<Kernel>,
    pid: Pid,
    strategy: Strategy,
    pub(super) auto_shutdown: AutoShutdown,
    pub(super) dynamic: bool,
    pub(super) max_children: usize,
    window: RestartWindow,
    /// Its restarts, as they are told.
    told: Arc<Told<Restarted>>,
    pub(super) children: Children,
    /// Children that are to be started later.
    pub(super) pending: Pending,
    pub(super) unnamed: u64,
    /// The name of a tree that hangs on the system itself and whose it is, given back with the server.
    name: Option<(String, Address<Message>)>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.told.settle();
        if let Some((name, address)) = &self.name {
            self.kernel
                .part::<Registry>()
                .release(name, &**address.home());
        }
    }
}

async fn live(supervisor: Supervisor, ready: Ready, mut cx: Context<Message>) -> ExitReason {
    cx.trap_exit(true);
    if let Some(name) = &supervisor.name {
        cx.set_label(name);
    }
    let mut server = Server {
        kernel: cx.home().kernel().clone(),
        pid: cx.pid(),
        strategy: supervisor.strategy,
        auto_shutdown: supervisor.auto_shutdown,
        dynamic: supervisor.dynamic,
        max_children: supervisor.max_children,
        window: RestartWindow::new(supervisor.max_restarts, supervisor.within),
        told: Told::new(cx.pid()),
        children: Children::default(),
        pending: Pending::default(),
        unnamed: 0,
        name: supervisor.name.map(|name| (name, cx.address())),
    };
    if supervisor.within.is_zero() {
        drop(ready.send(Err(StartError::Intensity)));
        return ExitReason::error(StartError::Intensity);
    }
    for spec in supervisor.children {
        let id = spec.id.clone();
        if let Err(error) = server.add_child(&mut cx, spec).await {
            server.stop_all(&mut cx).await;
            let error = match error {
                StartError::Failed {
                    child: None,
                    reason,
                } => StartError::Failed {
                    child: Some(id),
                    reason,
                },
                other => other,
            };
            let reason = ExitReason::error(&error);
            drop(ready.send(Err(error)));
            return reason;
        }
    }
    // Whoever started the tree may have given up waiting; the tree stands all the same.
    drop(ready.send(Ok(())));
    cx.forget_witness();
    let reason = server.serve(&mut cx).await;
    server.stop_all(&mut cx).await;
    reason
}

impl Server {
    /// Works until the supervisor has to stop, and says why.
    async fn serve(&mut self, cx: &mut Context<Message>) -> ExitReason {
        let mut asked = false;
        loop {
            let event = match self.next_event(cx, asked).await {
                Ok(event) => event,
                Err(due) => {
                    asked = false;
                    let tried = match due {
                        Start::Again(place) => {
                            let failed = ExitReason::error("restart failed");
                            self.child_ended(cx, place, &failed).await
                        }
                        Start::Those(places) => {
                            self.start_all(cx, &places).await;
                            Ok(())
                        }
                    };
                    if let Err(reason) = tried {
                        return reason;
                    }
                    cx.consume_budget(crate::limits::REDUCTIONS_PER_MESSAGE)
                        .await;
                    continue;
                }
            };
            asked = matches!(event, Event::Message(_));
            let stop = match event {
                Event::Signal(Signal::Exit { from, reason }) if cx.parent() == Some(from) => {
                    Some(reason)
                }
                Event::Signal(Signal::Exit { from, reason }) => {
                    match self.children.find_pid(from) {
                        Some(place) => {
                            self.children.set_pid(place, None);
                            self.child_ended(cx, place, &reason).await.err()
                        }
                        None => None,
                    }
                }
                Event::Signal(_) => None,
                Event::Message(message) => self.answer(cx, message).await,
            };
            if let Some(reason) = stop {
                return reason;
            }
        }
    }

    /// What happened, or what is to be started now. Signals go first; questions and starts take turns.
    async fn next_event(
        &mut self,
        cx: &mut Context<Message>,
        asked: bool,
    ) -> Result<Event<Message>, Start> {
        if let Some(signal) = cx.try_signal() {
            return Ok(Event::Signal(signal));
        }
        let Some(due) = self.pending.next_due() else {
            return Ok(cx.receive_event().await);
        };
        let left = self.kernel.until(due);
        if !(asked && left.is_zero()) {
            let timers = self.kernel.timers().clone();
            if let Ok(event) = timer::timeout(&timers, left, cx.receive_event()).await {
                return Ok(event);
            }
        }
        Err(self.pending.take_next().expect("it was just there"))
    }

    /// A child is over. `Err` when the supervisor must give up.
    async fn child_ended(
        &mut self,
        cx: &mut Context<Message>,
        place: Place,
        reason: &ExitReason,
    ) -> Result<(), ExitReason> {
        let Some(child) = self.children.get_mut(place) else {
            return Ok(());
        };
        child.ended = reason.clone();
        if reason.is_panic() {
            child.last_panic = Some(reason.clone());
        }
        // One for one concerns no other child, so a dynamic supervisor with very many does not list them.
        let (one, only) = ([place], [child.restart]);
        let (all, each): (Vec<Place>, Vec<RestartType>);
        let (places, types, died) = if self.strategy == Strategy::OneForOne {
            (one.as_slice(), only.as_slice(), 0)
        } else {
            all = self.children.places();
            each = self.children.iter().map(|child| child.restart).collect();
            let died = all.iter().position(|other| *other == place);
            (&*all, &*each, died.expect("the child is in the table"))
        };
        let now = self.kernel.clock().now();
        let window = &mut self.window;
        let decision = plan(self.strategy, types, died, reason, window, now);
        self.report(place, reason, &decision, now);
        let over = matches!(decision, Plan::Rest | Plan::Forget) && self.is_work_done(place);
        match decision {
            Plan::Rest if !self.dynamic => {
                if let Some(child) = self.children.get(place) {
                    child.seat.close(reason);
                }
            }
            Plan::Rest | Plan::Forget => drop(self.children.remove(place)),
            Plan::GiveUp => return Err(ExitReason::restart_intensity()),
            Plan::Restart {
                stop,
                forget,
                start,
            } => {
                let waits = !stop.is_empty();
                for index in stop {
                    self.stop_child(cx, places[index]).await;
                }
                for index in forget {
                    drop(self.children.remove(places[index]));
                }
                let start: Vec<Place> = start.into_iter().map(|index| places[index]).collect();
                let now = if waits {
                    self.kernel.clock().now()
                } else {
                    now
                };
                // Those that waited already wait on, together.
                let due = self
                    .pending
                    .forget(&start)
                    .max(now + self.pause(place, now));
                if due > now {
                    self.pending.add(due, Start::Those(start));
                } else {
                    self.start_all(cx, &start).await;
                }
            }
        }
        if over {
            return Err(ExitReason::shutdown());
        }
        Ok(())
    }

    /// Whether the end of this child, for good, is the supervisor's.
    fn is_work_done(&self, place: Place) -> bool {
        if !self
            .children
            .get(place)
            .is_some_and(|child| child.significant)
        {
            return false;
        }
        match self.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant => !self.children.places().into_iter().any(|other| {
                let runs = |child: &Child| {
                    child.significant && (child.pid.is_some() || self.pending.contains(other))
                };
                other != place && self.children.get(other).is_some_and(runs)
            }),
        }
    }

    /// How long the child's back-off wants to wait.
    fn pause(&mut self, place: Place, now: Duration) -> Duration {
        let Some(child) = self.children.get_mut(place) else {
            return Duration::ZERO;
        };
        let Some(back_off) = &mut child.back_off else {
            return Duration::ZERO;
        };
        let lived = now.saturating_sub(child.started);
        back_off.pause(lived, self.kernel.entropy().next_u64())
    }

    /// Starts those that do not run, in order; one that does not start is tried again, and the rest after it.
    async fn start_all(&mut self, cx: &mut Context<Message>, places: &[Place]) {
        for place in places {
            if self
                .children
                .get(*place)
                .is_none_or(|child| child.pid.is_some())
            {
                continue;
            }
            if self.restart_place(cx, *place).await.is_err() {
                let now = self.kernel.clock().now();
                self.pending.add(now, Start::Again(*place));
                break;
            }
        }
    }

    fn report(&self, place: Place, reason: &ExitReason, decision: &Plan, now: Duration) {
        let id = self
            .children
            .get(place)
            .map_or("", |child| child.id.as_str());
        match decision {
            Plan::Rest | Plan::Forget => {
                tracing::debug!(target: SUPERVISOR, { supervisor.child = id, exit.reason = %reason }, "child ended");
            }
            Plan::Restart { .. } => {
                let keep = |last: &mut Restarted| last.keep(id, reason);
                if self.told.admits(self.kernel.timers(), now, keep) {
                    tracing::warn!(target: SUPERVISOR, { supervisor.child = id, exit.reason = %reason }, "child ended and is restarted");
                }
            }
            Plan::GiveUp => {
                // What came before is told before.
                self.told.settle();
                tracing::error!(
                    target: SUPERVISOR,
                    { supervisor.child = id, exit.reason = %reason },
                    "child ended once too often; the supervisor gives up"
                );
            }
        }
    }

    /// Starts the child at a place, and waits for its `init`.
    pub(super) async fn start_place(
        &mut self,
        cx: &mut Context<Message>,
        place: Place,
    ) -> Result<Pid, StartError> {
        let pid = self.pid;
        let now = self.kernel.clock().now();
        let child = self.children.get_mut(place).ok_or(StartError::NotFound)?;
        child.started = now;
        let birth = Birth {
            parent: Some(pid),
            linked: true,
            supervised: true,
            keeps_mailbox: child.keeps_mailbox,
            restarts: child.restarts,
            last_panic: child.last_panic.clone(),
            ..Birth::default()
        };
        let starting = child
            .seat
            .start(pid, birth)
            .map_err(|reason| StartError::Failed {
                child: None,
                reason,
            })?;
        let child_pid = starting.pid;
        match starting.finish().await {
            Ok(started) => {
                self.children.set_pid(place, Some(started));
                Ok(started)
            }
            Err(error) => {
                cx.unlink(child_pid);
                if let StartError::Failed { reason, .. } = &error
                    && reason.is_panic()
                    && let Some(child) = self.children.get_mut(place)
                {
                    child.last_panic = Some(reason.clone());
                }
                Err(error)
            }
        }
    }

    async fn restart_place(
        &mut self,
        cx: &mut Context<Message>,
        place: Place,
    ) -> Result<(), StartError> {
        if let Some(child) = self.children.get_mut(place) {
            child.restarts = child.restarts.saturating_add(1);
            child.seat.reopen();
            count(&self.kernel.counters().restarts);
        }
        self.start_place(cx, place).await.map(|_| ())
    }

    /// Stops the child at a place, if it runs. Its mailbox stays open.
    pub(super) async fn stop_child(&mut self, cx: &mut Context<Message>, place: Place) {
        self.pending.forget(&[place]);
        let Some(child) = self.children.get(place) else {
            return;
        };
        let (Some(pid), how) = (child.pid, child.shutdown) else {
            return;
        };
        let asked = self.kernel.clock().now();
        shutdown::ask(&self.kernel, self.pid, pid, how);
        shutdown::wait(&self.kernel, pid, how, asked).await;
        cx.unlink(pid);
        self.children.set_pid(place, None);
    }

    /// Stops every child in reverse order; a dynamic supervisor asks all at once.
    async fn stop_all(&mut self, cx: &mut Context<Message>) {
        let mut places = self.children.places();
        places.reverse();
        let asked = self.kernel.clock().now();
        if self.dynamic {
            for child in self.children.iter() {
                if let Some(pid) = child.pid {
                    shutdown::ask(&self.kernel, self.pid, pid, child.shutdown);
                }
            }
        }
        for place in places {
            if self.dynamic {
                if let Some((pid, how)) = self
                    .children
                    .get(place)
                    .and_then(|child| Some((child.pid?, child.shutdown)))
                {
                    shutdown::wait(&self.kernel, pid, how, asked).await;
                    cx.unlink(pid);
                    self.children.set_pid(place, None);
                }
            } else {
                self.stop_child(cx, place).await;
            }
            drop(self.children.remove(place));
        }
    }
}
