//! Counts open connections, in all and by address, and knows when the last one is gone.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The door of one server.
pub(super) struct Gate {
    counts: Mutex<Counts>,
    total_max: usize,
    per_address_max: usize,
    emptied: Notify,
}

#[derive(Default)]
struct Counts {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Gate {
    pub(super) fn new(total_max: usize, per_address_max: usize) -> Self {
        Self {
            counts: Mutex::default(),
            total_max,
            per_address_max,
            emptied: Notify::new(),
        }
    }

    /// Lets one connection in, unless there are too many.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Permit> {
        let mut counts = self.counts.lock();
        if counts.total >= self.total_max {
            return None;
        }
        let from_address = counts.by_address.entry(address).or_insert(0);
        if *from_address >= self.per_address_max {
            // Without a permit nobody would take a fresh, empty entry out again.
            if *from_address == 0 {
                counts.by_address.remove(&address);
            }
            return None;
        }
        *from_address += 1;
        counts.total += 1;
        drop(counts);
        Some(Permit {
            gate: self.clone(),
            address,
        })
    }

    pub(super) fn open(&self) -> usize {
        self.counts.lock().total
    }

    /// Waits until no connection is open.
    pub(super) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.open() == 0 {
                return;
            }
            emptied.await;
        }
    }
}

/// One connection's place; given back when dropped.
pub(super) struct Permit {
    gate: Arc<Gate>,
    address: IpAddr,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.gate.counts.lock();
        counts.total -= 1;
        if let Entry::Occupied(mut entry) = counts.by_address.entry(self.address) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
        let empty = counts.total == 0;
        drop(counts);
        if empty {
            self.gate.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    #[test]
    fn both_bounds_hold_and_places_come_back() {
        let gate = Arc::new(Gate::new(3, 2));
        let first = gate.admit(HERE).expect("the house is empty");
        let _second = gate.admit(HERE).expect("two from one address are allowed");
        assert!(gate.admit(HERE).is_none(), "three from one address are not");
        let _third = gate
            .admit(THERE)
            .expect("another address has its own count");
        assert!(gate.admit(THERE).is_none(), "the house is full");
        drop(first);
        assert!(gate.admit(THERE).is_some());
        assert_eq!(gate.open(), 2);
    }

    #[test]
    fn addresses_leave_nothing_behind() {
        let gate = Arc::new(Gate::new(2, 0));
        assert!(gate.admit(HERE).is_none());
        assert!(gate.counts.lock().by_address.is_empty());
    }
}
