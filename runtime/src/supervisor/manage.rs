//! What a supervisor does for those who ask it at run time.

use crate::error::StartError;
use crate::exit::ExitReason;
use crate::pid::Pid;
use crate::process::context::Context;

use super::child_spec::ChildType;
use super::children::Child;
use super::restart::RestartType;
use super::serve::Server;
use super::{ChildCounts, ChildInfo, Message};

impl Server {
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
        if child.pid.is_some() || self.retries.contains(&place) {
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
        if self.retries.contains(&place)
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
