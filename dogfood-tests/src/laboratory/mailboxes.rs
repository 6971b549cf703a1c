//! Mailboxes: what is kept, given back and dropped under every policy, against a queue as anybody would write it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use mesh_runtime::sim::Sim;
use mesh_runtime::{Address, Capacity, Context, Overflow, Probe, SendError, System};
use tokio::sync::mpsc;

const ACTS: usize = 80;

/// What the receiver is told to do.
enum Take {
    Next,
    /// The first whose number is a multiple of this.
    Multiple(u64),
}

struct World {
    sim: Sim,
    system: System,
    bound: usize,
    policy: Overflow,
    target: Address<u64>,
    hand: mpsc::Sender<Take>,
    probe: Probe<u64>,
    /// What waits, by the model; under `DropOldest` what may.
    waiting: VecDeque<u64>,
    /// How many wait.
    count: usize,
    /// Whether some may already be in the receiver's batch, which `DropOldest` does not take from.
    touched: bool,
    next: u64,
    dropped: u64,
    high_water: usize,
    /// What the receiver is to take once it comes.
    asked: Option<Take>,
}

async fn receiver(mut cx: Context<u64>, mut hand: mpsc::Receiver<Take>, to: Address<u64>) {
    while let Some(take) = hand.recv().await {
        let taken = match take {
            Take::Next => cx.receive().await,
            Take::Multiple(of) => cx.receive_match(|number| number.is_multiple_of(of)).await,
        };
        let _ = to.send(taken);
    }
}

pub(super) async fn play(sim: Sim) {
    if sim.chance(0.3) {
        crowd(&sim).await;
        return;
    }
    let system = sim.system("mailboxes");
    let bound = 1 + usize::try_from(sim.below(8)).unwrap_or(0);
    let policies = [
        Overflow::Reject,
        Overflow::Wait,
        Overflow::DropOldest,
        Overflow::DropNewest,
    ];
    let unbounded = sim.chance(0.3);
    let policy = if unbounded {
        Overflow::Reject
    } else {
        sim.pick(&policies)
    };
    let capacity = if unbounded {
        Capacity::unbounded()
    } else {
        Capacity::bounded(bound).overflow(policy)
    };
    let probe = Probe::start(&system);
    let (hand, told) = mpsc::channel(1);
    let to = probe.address();
    let target = system.spawn_with(capacity, move |cx: Context<u64>| receiver(cx, told, to));
    let mut world = World {
        sim,
        system,
        bound: if unbounded { usize::MAX } else { bound },
        policy,
        target,
        hand,
        probe,
        waiting: VecDeque::new(),
        count: 0,
        touched: false,
        next: 1,
        dropped: 0,
        high_water: 0,
        asked: None,
    };
    for _ in 0..ACTS {
        match world.sim.below(10) {
            0..=5 => world.send(),
            6 | 7 => world.take(),
            8 => world.wait_for_room().await,
            _ => {}
        }
        world.sim.settle().await;
        world.compare().await;
    }
}

impl World {
    fn name(&self) -> String {
        format!("{:?} of {}", self.policy, self.bound)
    }

    fn send(&mut self) {
        let number = self.next;
        self.next += 1;
        let full = self.count >= self.bound;
        let sent = self.target.send(number);
        let (may, name) = (
            full && matches!(self.policy, Overflow::Reject | Overflow::Wait),
            self.name(),
        );
        match sent {
            Err(SendError::Full(back)) => assert!(
                may && back == number,
                "{name}: {number} came back as {back}"
            ),
            Err(other) => panic!("{name}: {other:?}"),
            Ok(()) => assert!(!may, "{name}: a full mailbox took {number}"),
        }
        match self.policy {
            _ if !full => {
                self.waiting.push_back(number);
                self.count += 1;
            }
            Overflow::DropOldest => {
                if !self.touched {
                    self.waiting.pop_front();
                }
                self.waiting.push_back(number);
                self.dropped += 1;
            }
            Overflow::DropNewest => self.dropped += 1,
            _ => {}
        }
        self.high_water = self.high_water.max(self.count);
    }

    fn take(&mut self) {
        if self.asked.is_some() {
            return;
        }
        // Under a bound, what is skipped would fill it.
        let of = 2 + self.sim.below(3);
        let (told, asked) = if self.bound == usize::MAX && self.sim.chance(0.4) {
            (Take::Multiple(of), Take::Multiple(of))
        } else {
            (Take::Next, Take::Next)
        };
        self.hand
            .try_send(told)
            .expect("the receiver took what it was told before");
        self.asked = Some(asked);
    }

    /// What was received since the last time is what the model gives.
    async fn compare(&mut self) {
        let name = self.name();
        for taken in self.probe.drain().await {
            let asked = self.asked.take().expect("nothing is taken unasked");
            let place = self.waiting.iter().position(|number| match &asked {
                // Some of those before it may have been dropped; which, only the mailbox knows.
                Take::Next if self.touched && self.policy == Overflow::DropOldest => {
                    *number == taken
                }
                Take::Next => true,
                Take::Multiple(of) => number.is_multiple_of(*of),
            });
            let place =
                place.unwrap_or_else(|| panic!("{name}: {taken} was taken and did not wait"));
            assert_eq!(self.waiting.remove(place), Some(taken), "{name}: taken");
            if self.policy == Overflow::DropOldest && matches!(asked, Take::Next) {
                self.waiting.drain(..place);
            }
            self.count -= 1;
            self.touched = self.count > 0;
            if self.count == 0 && self.bound != usize::MAX {
                self.waiting.clear();
            }
        }
        let process = self
            .system
            .inspect()
            .processes
            .into_iter()
            .find(|one| one.pid == self.target.pid());
        let process = process.expect("the receiver lives");
        assert_eq!(process.mailbox_dropped, self.dropped, "{name}: dropped");
        assert_eq!(process.mailbox_len, self.count, "{name}: waiting");
        assert_eq!(
            process.mailbox_high_water, self.high_water,
            "{name}: high water"
        );
        let sleeps = matches!(self.asked, Some(Take::Next)) && self.count > 0;
        assert!(
            !sleeps,
            "{name}: {} wait and the receiver sleeps",
            self.count
        );
    }

    /// One who waits for room gets it when the receiver takes, and its message back when nobody does.
    async fn wait_for_room(&mut self) {
        if self.asked.is_some() || self.policy != Overflow::Wait || self.count < self.bound {
            return;
        }
        let number = self.next;
        self.next += 1;
        let limit = Duration::from_millis(1 + self.sim.below(20));
        let start = self.sim.now();
        let target = self.target.clone();
        let waits = target.send_wait(number, limit);
        if self.sim.chance(0.5) {
            let sent = waits.await;
            assert_eq!(
                sent,
                Err(SendError::Full(number)),
                "{}: nobody took",
                self.name()
            );
            assert!(
                self.sim.now() - start >= limit,
                "{}: given up early",
                self.name()
            );
            return;
        }
        self.take();
        let sent = waits.await;
        assert_eq!(sent, Ok(()), "{}: there was room", self.name());
        self.waiting.push_back(number);
        self.count += 1;
    }
}

/// Many send to one: each one's order is kept and nothing is lost but what is given back or counted.
async fn crowd(sim: &Sim) {
    let system = sim.system("crowd");
    let policies = [
        Overflow::Reject,
        Overflow::Wait,
        Overflow::DropOldest,
        Overflow::DropNewest,
    ];
    let policy = sim.pick(&policies);
    let bound = 1 + usize::try_from(sim.below(20)).unwrap_or(0);
    let mut probe = Probe::start(&system);
    let to = probe.address();
    let target = system.spawn_with(
        Capacity::bounded(bound).overflow(policy),
        move |mut cx: Context<(u64, u64)>| async move {
            loop {
                let message = cx.receive().await;
                if to.send(message).is_err() {
                    break;
                }
            }
        },
    );
    let (senders, each) = (2 + sim.below(4), 30);
    let refused = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let mut over = Vec::new();
    for sender in 0..senders {
        let (target, refused) = (target.clone(), refused.clone());
        let waits = policy == Overflow::Wait && sim.chance(0.7);
        let process = system.spawn(move |cx: Context<()>| async move {
            for number in 0..each {
                let sent = if waits {
                    target
                        .send_wait((sender, number), Duration::from_secs(60))
                        .await
                } else {
                    target.send((sender, number))
                };
                if sent.is_err() {
                    refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
                if number % 7 == sender {
                    cx.consume_budget(4_000).await;
                }
            }
        });
        over.push(system.wait_for_exit(process.pid()));
    }
    for end in over {
        assert!(end.await.is_normal(), "a sender ends by itself");
    }
    sim.settle().await;
    let received = probe.drain().await;
    for sender in 0..senders {
        let own: Vec<u64> = received
            .iter()
            .filter(|(from, _)| *from == sender)
            .map(|(_, number)| *number)
            .collect();
        assert!(
            own.is_sorted_by(|one, next| one < next),
            "{policy:?} of {bound}, sender {sender}: {own:?}"
        );
    }
    let dropped = system.inspect().counts.messages_dropped;
    let refused = refused.load(std::sync::atomic::Ordering::Relaxed);
    let sum = received.len() as u64 + dropped + refused;
    assert_eq!(
        sum,
        senders * each,
        "{policy:?} of {bound}: {} received, {dropped} dropped, {refused} given back",
        received.len()
    );
    assert!(dropped == 0 || matches!(policy, Overflow::DropOldest | Overflow::DropNewest));
    assert!(refused == 0 || matches!(policy, Overflow::Reject | Overflow::Wait));
}
