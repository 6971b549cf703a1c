//! The processor: an actor that is called with its share of a chunk and groups each event of it.

use std::time::Duration;

use mesh_runtime::{Actor, Clock, Context, ExitReason, Flow, ReplyTo};

use super::fingerprint::Memo;
use super::grouping::{self, ProcessingError};
use super::pace;
use crate::domain::{GroupedEvent, RawEvent, wall};

/// The most events of a turn, whatever the clock says.
const TURN_EVENTS_MAX: usize = 80;

/// What a turn costs of a process's budget: all of it, so that the process lets the others go first.
const TURN_REDUCTIONS: u32 = 4_000;

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
        let system = cx.system();
        let group = |event: &RawEvent| (self.group)(&mut self.memo, event);
        let give_way = || cx.consume_budget(TURN_REDUCTIONS);
        reply.reply(in_turns(system.clock(), &events, group, give_way).await);
        Flow::Continue
    }
}

/// Does the work on each event, and gives way whenever a turn is over. The events are in the order in which they were accepted.
async fn in_turns<T, F: Future<Output = ()>>(
    clock: &dyn Clock,
    events: &[RawEvent],
    mut work: impl FnMut(&RawEvent) -> T,
    mut give_way: impl FnMut() -> F,
) -> Vec<T> {
    let mut done = Vec::with_capacity(events.len());
    let oldest = events.first().map(|event| event.received_at);
    let delay = oldest.and_then(|at| {
        let delay = wall::timestamp(clock.wall()).duration_since(at);
        Duration::try_from(delay).ok()
    });
    // A clock that was set back in between says nothing.
    let delay = delay.unwrap_or_default();
    let mut turn = pace::turn(Duration::ZERO, delay);
    let (mut began, mut first) = (clock.now(), 0);
    for event in events {
        done.push(work(event));
        let now = clock.now();
        let is_over = now.saturating_sub(began) >= turn || done.len() - first >= TURN_EVENTS_MAX;
        // Whoever waits for the answer has it at once.
        if is_over && done.len() < events.len() {
            give_way().await;
            began = clock.now();
            turn = pace::turn(began.saturating_sub(now), delay);
            first = done.len();
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::time::{Duration, SystemTime};

    use bytes::Bytes;
    use futures_util::FutureExt as _;
    use jiff::{SignedDuration, Timestamp};
    use mesh_runtime::Clock;
    use parking_lot::Mutex;
    use proptest::collection::vec;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
    use uuid::Uuid;

    use super::in_turns;
    use crate::domain::RawEvent;

    const ACCEPTED: Timestamp = Timestamp::UNIX_EPOCH;

    fn events(count: u128) -> Vec<RawEvent> {
        let event = |number| RawEvent {
            event_id: Uuid::from_u128(number).into(),
            project_id: Uuid::nil().into(),
            received_at: ACCEPTED,
            facts: Bytes::new(),
            payload: Bytes::new(),
        };
        (0..count).map(event).collect()
    }

    /// Time that passes only as it is told to.
    #[derive(Debug)]
    struct Told {
        now: Mutex<Duration>,
        wall: Timestamp,
    }

    impl Told {
        fn new(delay: Duration) -> Told {
            let delay = SignedDuration::try_from(delay).unwrap();
            Told {
                now: Mutex::default(),
                wall: ACCEPTED + delay,
            }
        }

        fn pass(&self, micros: u64) -> Duration {
            let mut now = self.now.lock();
            *now += Duration::from_micros(micros);
            *now
        }
    }

    impl Clock for Told {
        fn now(&self) -> Duration {
            self.pass(0)
        }

        fn wall(&self) -> SystemTime {
            self.wall.into()
        }
    }

    /// Works on as many events as there are costs, beside a door that keeps it waiting as long as it likes, again and again. Tells the turns and
    /// the waits between them.
    fn live(costs: &[u64], waits: &[u64], delay: Duration) -> (Vec<Duration>, Vec<Duration>) {
        let clock = Told::new(delay);
        let (turns, waited) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
        let began = Cell::new(Duration::ZERO);
        let end_turn = || turns.borrow_mut().push(clock.now() - began.get());
        let mut costs = costs.iter();
        let mut door = waits.iter().cycle();
        let events = events(costs.len() as u128);
        let work = |event: &RawEvent| {
            clock.pass(*costs.next().unwrap());
            event.event_id
        };
        let done = in_turns(&clock, &events, work, || {
            end_turn();
            let wait = *door.next().unwrap();
            began.set(clock.pass(wait));
            waited.borrow_mut().push(Duration::from_micros(wait));
            std::future::ready(())
        });
        let done = done.now_or_never().expect("it waits for nobody else");
        assert!(done.iter().eq(events.iter().map(|event| &event.event_id)));
        end_turn();
        (turns.into_inner(), waited.into_inner())
    }

    proptest! {
        #[test]
        fn the_door_waits_for_no_more_than_a_turn_and_an_event(
            costs in vec(50..500_u64, 1..300), waits in vec(0..10_000_u64, 1..20),
        ) {
            let (turns, _) = live(&costs, &waits, Duration::ZERO);
            for turn in turns {
                prop_assert!(turn <= Duration::from_micros(4_500), "{turn:?}");
            }
            // A door that leaves its workers idle is let in as soon as can be.
            let (turns, _) = live(&costs, &[0], Duration::ZERO);
            for turn in turns {
                prop_assert!(turn <= Duration::from_micros(700), "{turn:?}");
            }
        }

        #[test]
        fn whatever_the_door_does_half_of_the_time_is_left_for_grouping(
            costs in vec(50..500_u64, 1..300), waits in vec(0..4_000_u64, 1..20),
        ) {
            let (turns, waited) = live(&costs, &waits, Duration::ZERO);
            prop_assert_eq!(turns.len(), waited.len() + 1);
            // All but the last, which may have ended for want of events.
            for (wait, turn) in waited.iter().zip(&turns[1..]).rev().skip(1) {
                prop_assert!(turn >= wait, "{turn:?} after {wait:?}");
            }
        }

        #[test]
        fn late_events_catch_up(costs in vec(50..500_u64, 1..300), waits in vec(0..10_000_u64, 1..20)) {
            let (turns, _) = live(&costs, &waits, Duration::from_secs(10));
            for turn in turns.iter().rev().skip(1) {
                prop_assert!(*turn >= Duration::from_millis(4), "{turn:?}");
            }
        }
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_event_late() {
        let clock = Told {
            now: Mutex::default(),
            wall: ACCEPTED - SignedDuration::from_hours(1),
        };
        let (gave_way, events) = (Cell::new(0), events(80));
        let done = in_turns(
            &clock,
            &events,
            |_| clock.pass(50),
            || {
                gave_way.set(gave_way.get() + 1);
                std::future::ready(())
            },
        );
        assert_eq!(done.now_or_never().unwrap().len(), 80);
        assert_eq!(
            gave_way.get(),
            19,
            "after four events of 50 µs each time, but for the last"
        );
    }
}
