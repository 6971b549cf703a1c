//! The simulated network: links between named nodes that lose, double, delay, reorder and cut what they carry.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::poll_fn;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::entropy::{Dice, Stream};
use super::executor::Lab;
use super::state::Alarm;

/// How good a link is, in one direction. The default delivers everything once, in order, within 1 ms.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkQuality {
    loss: f64,
    duplication: f64,
    delay: Range<Duration>,
    reorders: bool,
}

impl Default for LinkQuality {
    fn default() -> LinkQuality {
        LinkQuality {
            loss: 0.0,
            duplication: 0.0,
            delay: Duration::from_micros(50)..Duration::from_millis(1),
            reorders: false,
        }
    }
}

impl LinkQuality {
    /// A packet is lost with this probability, from 0 to 1.
    #[must_use]
    pub fn loss(mut self, probability: f64) -> LinkQuality {
        self.loss = probability;
        self
    }

    /// A packet arrives twice with this probability.
    #[must_use]
    pub fn duplication(mut self, probability: f64) -> LinkQuality {
        self.duplication = probability;
        self
    }

    /// How long a packet takes.
    #[must_use]
    pub fn delay(mut self, delay: Range<Duration>) -> LinkQuality {
        self.delay = delay;
        self
    }

    /// A packet may overtake another.
    #[must_use]
    pub fn reorders(mut self) -> LinkQuality {
        self.reorders = true;
        self
    }
}

/// What arrived, and from whom.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Packet {
    /// The name of the node that sent it.
    pub from: String,
    /// What it carries.
    pub payload: Bytes,
}

/// A packet on its way.
#[derive(Clone)]
pub(super) struct Parcel {
    from: Arc<str>,
    to: Arc<str>,
    payload: Bytes,
    number: u64,
}

#[derive(Default)]
struct Inbox {
    arrived: VecDeque<Packet>,
    receiver: Option<Waker>,
}

type Pair = (Arc<str>, Arc<str>);

/// The state of the network.
pub(super) struct Net {
    dice: Dice,
    inboxes: BTreeMap<Arc<str>, Inbox>,
    quality: LinkQuality,
    qualities: BTreeMap<Pair, LinkQuality>,
    cut: BTreeSet<Pair>,
    /// When the last packet of an ordered link arrives.
    last: BTreeMap<Pair, Duration>,
    sent: u64,
}

impl Net {
    pub(super) fn new(seed: u64) -> Net {
        Net {
            dice: Dice::new(seed, Stream::Network),
            inboxes: BTreeMap::new(),
            quality: LinkQuality::default(),
            qualities: BTreeMap::new(),
            cut: BTreeSet::new(),
            last: BTreeMap::new(),
            sent: 0,
        }
    }

    pub(super) fn close(&mut self) {
        self.inboxes.clear();
    }

    /// When a new packet arrives: never, once or twice.
    fn arrivals(&mut self, now: Duration, pair: &Pair) -> Vec<Duration> {
        let quality = self.qualities.get(pair).unwrap_or(&self.quality).clone();
        if self.dice.chance(quality.loss) {
            return Vec::new();
        }
        let copies = if self.dice.chance(quality.duplication) {
            2
        } else {
            1
        };
        let mut arrivals = Vec::with_capacity(copies);
        for _ in 0..copies {
            let mut at = now.saturating_add(self.dice.within(&quality.delay));
            if !quality.reorders {
                let last = self.last.entry(pair.clone()).or_default();
                at = at.max(*last);
                *last = at;
            }
            arrivals.push(at);
        }
        arrivals
    }
}

impl Lab {
    fn send(&self, from: &Arc<str>, to: &str, payload: Bytes) {
        let now = self.now();
        let mut net = self.net.lock();
        net.sent += 1;
        let number = net.sent;
        let pair = (from.clone(), Arc::from(to));
        let fate = if !net.inboxes.contains_key(to) {
            Err("nobody is there")
        } else if net.cut.contains(&pair) {
            Err("the link is cut")
        } else {
            Ok(net.arrivals(now, &pair))
        };
        drop(net);
        let (arrivals, what) = match fate {
            Ok(arrivals) if arrivals.is_empty() => (arrivals, "it is lost".to_owned()),
            Ok(arrivals) if arrivals.len() > 1 => (arrivals, "it is doubled".to_owned()),
            Ok(arrivals) => (arrivals, String::new()),
            Err(why) => (Vec::new(), why.to_owned()),
        };
        let stop = if what.is_empty() { "" } else { ": " };
        self.say(&format!(
            "packet {number} leaves {from} for {to}{stop}{what}"
        ));
        let mut state = self.state.lock();
        for at in arrivals {
            state.alarm(
                at,
                Alarm::Deliver(Parcel {
                    from: from.clone(),
                    to: Arc::from(to),
                    payload: payload.clone(),
                    number,
                }),
            );
        }
    }

    /// A packet arrives, unless its link has been cut meanwhile.
    pub(super) fn deliver(&self, parcel: Parcel) {
        let Parcel {
            from,
            to,
            payload,
            number,
        } = parcel;
        let mut net = self.net.lock();
        let is_cut = net.cut.contains(&(from.clone(), to.clone()));
        let receiver = match net.inboxes.get_mut(&to) {
            Some(inbox) if !is_cut => {
                inbox.arrived.push_back(Packet {
                    from: from.to_string(),
                    payload,
                });
                inbox.receiver.take()
            }
            _ => None,
        };
        drop(net);
        let what = if is_cut { "is cut off from" } else { "reaches" };
        self.say(&format!("packet {number} from {from} {what} {to}"));
        if let Some(receiver) = receiver {
            receiver.wake();
        }
    }
}

/// The network of one laboratory. Cheap to clone.
///
/// Nodes are names; a node exists once somebody has asked for its [`Endpoint`]. Every packet's fate is drawn from the seed and stands in the
/// trace.
#[derive(Clone)]
pub struct Network(pub(super) Weak<Lab>);

impl std::fmt::Debug for Network {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Network")
    }
}

impl Network {
    fn change(&self, said: &str, change: impl FnOnce(&mut Net)) {
        if let Some(lab) = self.0.upgrade() {
            change(&mut lab.net.lock());
            if !said.is_empty() {
                lab.say(said);
            }
        }
    }

    /// The end of every link of this node: what was sent to it arrives here. There is one inbox for a name.
    #[must_use]
    pub fn endpoint(&self, node: &str) -> Endpoint {
        let name: Arc<str> = Arc::from(node);
        self.change("", |net| {
            net.inboxes.entry(name.clone()).or_default();
        });
        Endpoint {
            lab: self.0.clone(),
            name,
        }
    }

    /// How good every link is that was not set by itself.
    pub fn set_quality(&self, quality: LinkQuality) {
        self.change("", |net| net.quality = quality);
    }

    /// How good the link is from one node to another, in this direction.
    pub fn set_link(&self, from: &str, to: &str, quality: LinkQuality) {
        self.change("", |net| {
            net.qualities.insert((from.into(), to.into()), quality);
        });
    }

    /// Nothing passes from one node to the other, in this direction; what is on its way is lost.
    pub fn cut(&self, from: &str, to: &str) {
        self.change(&format!("network: {from} to {to} is cut"), |net| {
            net.cut.insert((from.into(), to.into()));
        });
    }

    /// Nothing passes between these nodes and all others there are, either way.
    pub fn partition(&self, nodes: &[&str]) {
        let said = format!("network: {} are cut off from the rest", nodes.join(", "));
        self.change(&said, |net| {
            let all: Vec<Arc<str>> = net.inboxes.keys().cloned().collect();
            let (inside, outside): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|name| nodes.contains(&&**name));
            for left in &inside {
                for right in &outside {
                    net.cut.insert((left.clone(), right.clone()));
                    net.cut.insert((right.clone(), left.clone()));
                }
            }
        });
    }

    /// Every cut is mended.
    pub fn heal(&self) {
        self.change("network: every link is whole again", |net| net.cut.clear());
    }
}

/// One node's end of its links.
#[derive(Clone)]
pub struct Endpoint {
    lab: Weak<Lab>,
    name: Arc<str>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Endpoint").field(&self.name).finish()
    }
}

impl Endpoint {
    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends a packet. As on a real network, nobody learns whether it arrives.
    pub fn send(&self, to: &str, payload: impl Into<Bytes>) {
        if let Some(lab) = self.lab.upgrade() {
            lab.send(&self.name, to, payload.into());
        }
    }

    /// The next packet for this node.
    ///
    /// Cancel safety: a dropped future has taken nothing. Of several who wait at once, the last one is woken.
    pub async fn receive(&self) -> Packet {
        poll_fn(|context| {
            let Some(lab) = self.lab.upgrade() else {
                return Poll::Pending;
            };
            let mut net = lab.net.lock();
            let Some(inbox) = net.inboxes.get_mut(&self.name) else {
                return Poll::Pending;
            };
            if let Some(packet) = inbox.arrived.pop_front() {
                return Poll::Ready(packet);
            }
            let old = inbox.receiver.replace(context.waker().clone());
            drop(net);
            drop(old);
            Poll::Pending
        })
        .await
    }
}
