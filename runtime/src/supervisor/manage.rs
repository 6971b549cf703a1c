//! How a supervisor adds children, and what it does for those who ask it at run time.

use std::time::Duration;

use crate::error::StartError;
use crate::exit::ExitReason;
use crate::pid::Pid;
use crate::process::context::Context;
use crate::registry::Registry;

use super::child_spec::{ChildSpec, ChildType};
use super::children::Child;
use super::restart::RestartType;
use super::serve::Server;
use super::strategy::AutoShutdown;
use super::{ChildCounts, ChildInfo, Message};

impl Server {
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
            significant,
            back_off,
            make_seat,
        } = spec;
        let pointless =
            self.auto_shutdown == AutoShutdown::Never || restart == RestartType::Permanent;
        if significant && pointless {
            return Err(StartError::Significant);
        }
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
            significant,
            back_off,
            started: Duration::ZERO,
            name,
            pid: None,
            restarts: 0,
            seat,
            kernel,
            last_panic: None,
            ended,
        };
        let place = self.children.add(child);
        let started = self.start_place(cx, place).await;
        if started.is_err() {
            drop(self.children.remove(place));
        }
        started
    }

    /// Does what a handle asks. `Some` when the supervisor is to stop.
    pub(super) async fn answer(
        &mut self,
        cx: &mut Context<Message>,
        message: Message,
    ) -> Option<ExitReason> {
        match message {
            Message::Start(spec, reply_to) => reply_to.reply(self.add_child(cx, *spec).await),
            Message::Terminate(id, reply_to) => reply_to.reply(self.terminate(cx, &id).await),
            Message::Restart(id, reply_to) => reply_to.reply(self.restart(cx, &id).await),
            Message::Delete(id, reply_to) => reply_to.reply(self.delete(&id)),
            Message::Which(reply_to) => reply_to.reply(self.children.iter().map(info).collect()),
            Message::Count(reply_to) => reply_to.reply(self.counts()),
            Message::Stop => return Some(ExitReason::shutdown()),
        }
        None
    }

    async fn terminate(&mut self, cx: &mut Context<Message>, id: &str) -> Result<(), StartError> {
        let place = self.children.find(id).ok_or(StartError::NotFound)?;
        self.stop_child(cx, place).await;
        let child = self.children.get_mut(place).ok_or(StartError::NotFound)?;
        child.ended = ExitReason::shutdown();
        if self.dynamic || child.restart == RestartType::Temporary {
            drop(self.children.remove(place));
        } else {
            child.seat.close(&child.ended);
        }
        Ok(())
    }

    async fn restart(&mut self, cx: &mut Context<Message>, id: &str) -> Result<Pid, StartError> {
        let place = self.children.find(id).ok_or(StartError::NotFound)?;
        let child = self.children.get(place).ok_or(StartError::NotFound)?;
        if child.pid.is_some() || self.pending.contains(place) {
            return Err(StartError::AlreadyStarted);
        }
        child.seat.reopen();
        let started = self.start_place(cx, place).await;
        if started.is_err()
            && let Some(child) = self.children.get(place)
        {
            child.seat.close(&child.ended);
        }
        started
    }

    fn delete(&mut self, id: &str) -> Result<(), StartError> {
        let place = self.children.find(id).ok_or(StartError::NotFound)?;
        if self.pending.contains(place)
            || self
                .children
                .get(place)
                .is_some_and(|child| child.pid.is_some())
        {
            return Err(StartError::AlreadyStarted);
        }
        drop(self.children.remove(place));
        Ok(())
    }

    fn counts(&self) -> ChildCounts {
        let mut counts = ChildCounts {
            specs: self.children.len(),
            ..ChildCounts::default()
        };
        for child in self.children.iter() {
            counts.active += usize::from(child.pid.is_some());
            match child.child_type {
                ChildType::Worker => counts.workers += 1,
                ChildType::Supervisor => counts.supervisors += 1,
            }
        }
        counts
    }
}

fn info(child: &Child) -> ChildInfo {
    let Child {
        id,
        pid,
        child_type,
        restart,
        restarts,
        ..
    } = child;
    ChildInfo {
        id: id.clone(),
        pid: *pid,
        child_type: *child_type,
        restart: *restart,
        restarts: *restarts,
    }
}
