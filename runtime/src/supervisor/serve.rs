//! The process that carries out plans.

use std::collections::VecDeque;
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
use crate::process::{Birth, spawn};
use crate::registry::Registry;
use crate::signal::Signal;
use crate::telemetry::{SUPERVISOR, count};
use crate::timer;

use super::child_spec::ChildSpec;
use super::children::{Child, Children, Place};
use super::plan::{Plan, plan};
use super::restart::{RestartType, RestartWindow};
use super::shutdown;
use super::strategy::Strategy;
use super::{Message, Supervisor};

/// Begins a supervisor's life behind `home`.
pub(crate) fn start(home: &Arc<Home<Message>>, birth: Birth, supervisor: Supervisor) -> Starting {
    let (birth, ready, starting) = Starting::prepare(Birth {
        behaviour: "Supervisor",
        ..birth
    });
    starting(spawn(home, birth, move |context| {
        live(supervisor, ready, context)
    }))
}

pub(super) struct Server {
    kernel: Arc<Kernel>,
    pid: Pid,
    strategy: Strategy,
    pub(super) dynamic: bool,
    max_children: usize,
    window: RestartWindow,
    pub(super) children: Children,
    /// Children whose restart failed and is to be tried again, after the signals that wait.
    pub(super) retries: VecDeque<Place>,
    unnamed: u64,
    /// The name of a tree that hangs on the system itself and whose it is, given back with the server.
    name: Option<(String, Address<Message>)>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some((name, address)) = &self.name {
            self.kernel.part::<Registry>().release(name, address);
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
        dynamic: supervisor.dynamic,
        max_children: supervisor.max_children,
        window: RestartWindow::new(supervisor.max_restarts, supervisor.within),
        children: Children::default(),
        retries: VecDeque::new(),
        unnamed: 0,
        name: supervisor.name.map(|name| (name, cx.address())),
    };
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
                Err(place) => {
                    asked = false;
                    let failed = ExitReason::error("restart failed");
                    if let Err(reason) = self.child_ended(cx, place, &failed).await {
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

    /// What happened, or the child whose failed restart is to be tried again. Signals go first; questions and tries take turns.
    async fn next_event(
        &mut self,
        cx: &mut Context<Message>,
        asked: bool,
    ) -> Result<Event<Message>, Place> {
        if let Some(signal) = cx.try_signal() {
            return Ok(Event::Signal(signal));
        }
        let Some(place) = self.retries.front().copied() else {
            return Ok(cx.receive_event().await);
        };
        if !asked {
            let timers = self.kernel.timers().clone();
            if let Ok(event) = timer::timeout(&timers, Duration::ZERO, cx.receive_event()).await {
                return Ok(event);
            }
        }
        self.retries.pop_front();
        Err(place)
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
        // One for one concerns no other child, so a dynamic supervisor with very many does not list them.
        let (places, died) = if self.strategy == Strategy::OneForOne {
            (vec![place], 0)
        } else {
            let places = self.children.places();
            let died = places
                .iter()
                .position(|other| *other == place)
                .expect("the child is in the table");
            (places, died)
        };
        let types: Vec<RestartType> = places
            .iter()
            .filter_map(|place| self.children.get(*place))
            .map(|child| child.restart)
            .collect();
        let decision = plan(
            self.strategy,
            &types,
            died,
            reason,
            &mut self.window,
            self.kernel.clock().now(),
        );
        self.report(place, reason, &decision);
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
                for index in stop {
                    self.stop_child(cx, places[index]).await;
                }
                for index in forget {
                    drop(self.children.remove(places[index]));
                }
                for index in start {
                    if self.restart_place(cx, places[index]).await.is_err() {
                        self.retries.push_back(places[index]);
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn report(&self, place: Place, reason: &ExitReason, decision: &Plan) {
        let id = self
            .children
            .get(place)
            .map_or("", |child| child.id.as_str());
        match decision {
            Plan::Rest | Plan::Forget => {
                tracing::debug!(target: SUPERVISOR, { supervisor.child = id, exit.reason = %reason }, "child ended");
            }
            Plan::Restart { .. } => {
                tracing::warn!(target: SUPERVISOR, { supervisor.child = id, exit.reason = %reason }, "child ended and is restarted");
            }
            Plan::GiveUp => {
                tracing::error!(
                    target: SUPERVISOR,
                    { supervisor.child = id, exit.reason = %reason },
                    "child ended once too often; the supervisor gives up"
                );
            }
        }
    }

    /// Adds a child at the end and starts it; one that does not start is not added.
    pub(super) async fn add_child(
        &mut self,
        cx: &mut Context<Message>,
        spec: ChildSpec,
    ) -> Result<Pid, StartError> {
        let ChildSpec {
            mut id,
            child_type,
            restart,
            shutdown,
            registered,
            keeps_mailbox,
            make_seat,
        } = spec;
        let nameless = id.is_empty();
        while id.is_empty() || (nameless && self.children.find(&id).is_some()) {
            self.unnamed += 1;
            id = format!("child-{}", self.unnamed);
        }
        if let Some(child) = self
            .children
            .find(&id)
            .and_then(|place| self.children.get(place))
        {
            return Err(if child.pid.is_some() {
                StartError::AlreadyStarted
            } else {
                StartError::AlreadyPresent
            });
        }
        if self.children.len() >= self.max_children {
            return Err(StartError::MaxChildren);
        }
        let seat = make_seat(&self.kernel);
        let name = (registered && !nameless).then(|| id.clone());
        if let Some(name) = &name {
            let bound = self.kernel.part::<Registry>().bind(name, seat.named());
            bound.map_err(|error| StartError::Name {
                name: name.clone(),
                error,
            })?;
        }
        let kernel = self.kernel.clone();
        let ended = ExitReason::shutdown();
        let child = Child {
            id,
            child_type,
            restart,
            shutdown,
            keeps_mailbox,
            name,
            pid: None,
            restarts: 0,
            seat,
            kernel,
            ended,
        };
        let place = self.children.add(child);
        let started = self.start_place(cx, place).await;
        if started.is_err() {
            drop(self.children.remove(place));
        }
        started
    }

    /// Starts the child at a place, and waits for its `init`.
    pub(super) async fn start_place(
        &mut self,
        cx: &mut Context<Message>,
        place: Place,
    ) -> Result<Pid, StartError> {
        let pid = self.pid;
        let child = self.children.get_mut(place).ok_or(StartError::NotFound)?;
        let birth = Birth {
            parent: Some(pid),
            linked: true,
            supervised: true,
            keeps_mailbox: child.keeps_mailbox,
            restarts: child.restarts,
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
        self.retries.retain(|retry| *retry != place);
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
