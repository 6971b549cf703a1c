//! The processor: an actor that is called with its share of a chunk and groups each event of it.

use mesh_runtime::{Actor, Context, ExitReason, Flow, ReplyTo};

use super::fingerprint::Memo;
use super::grouping::{self, ProcessingError};
use crate::domain::{GroupedEvent, RawEvent};

/// What one event costs of a process's budget.
const EVENT_REDUCTIONS: u32 = 50;

/// How an event is grouped; [`grouping::group_with`] but for tests that need one that crashes.
pub type Group = fn(&mut Memo, &RawEvent) -> Result<GroupedEvent, ProcessingError>;

/// What a processor is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProcessorMessage {
    /// Group these; the answers come in the same order.
    ProcessRaw(
        Vec<RawEvent>,
        ReplyTo<Vec<Result<GroupedEvent, ProcessingError>>>,
    ),
}

/// One processor. What it remembers saves it work and no more: a crash loses nothing but the answer.
#[derive(Debug)]
pub(super) struct Processor {
    group: Group,
    memo: Memo,
}

/// The usual way to group.
pub(super) const GROUP: Group = grouping::group_with;

impl Actor for Processor {
    type Args = Group;
    type Message = ProcessorMessage;

    async fn init(
        group: Group,
        _cx: &mut Context<ProcessorMessage>,
    ) -> Result<Processor, ExitReason> {
        Ok(Processor {
            group,
            memo: Memo::default(),
        })
    }

    async fn handle(
        &mut self,
        message: ProcessorMessage,
        cx: &mut Context<ProcessorMessage>,
    ) -> Flow {
        let ProcessorMessage::ProcessRaw(events, reply) = message;
        let mut grouped = Vec::with_capacity(events.len());
        for event in &events {
            grouped.push((self.group)(&mut self.memo, event));
            cx.consume_budget(EVENT_REDUCTIONS).await;
        }
        reply.reply(grouped);
        Flow::Continue
    }
}
