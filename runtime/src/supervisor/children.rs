//! The ordered table of children: by order of start, by id, and by pid.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::exit::ExitReason;
use crate::pid::{Pid, SerialMap};
use crate::process::kernel::Kernel;
use crate::registry::Registry;

use super::child_spec::{ChildType, Seat};
use super::restart::{BackOff, RestartType};
use super::shutdown::ShutdownType;

/// A child's place in the order of start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place(u64);

/// One child. Dropped, it closes its mailbox and gives its name back, also when its supervisor was killed.
pub(super) struct Child {
    pub(super) id: String,
    pub(super) child_type: ChildType,
    pub(super) restart: RestartType,
    pub(super) shutdown: ShutdownType,
    pub(super) keeps_mailbox: bool,
    pub(super) significant: bool,
    pub(super) back_off: Option<BackOff>,
    /// When its current or last life began.
    pub(super) started: Duration,
    pub(super) name: Option<String>,
    pub(super) pid: Option<Pid>,
    pub(super) restarts: u32,
    pub(super) seat: Box<dyn Seat>,
    pub(super) kernel: Arc<Kernel>,
    /// How the last of its lives that panicked did.
    pub(super) last_panic: Option<ExitReason>,
    /// Why its last life ended.
    pub(super) ended: ExitReason,
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            let address = self.seat.named();
            self.kernel.part::<Registry>().release(name, &*address);
        }
        self.seat.close(&self.ended);
    }
}

#[derive(Default)]
pub(super) struct Children {
    next: u64,
    by_place: BTreeMap<Place, Child>,
    by_id: HashMap<String, Place>,
    by_pid: SerialMap<Pid, Place>,
}

impl Children {
    pub(super) fn len(&self) -> usize {
        self.by_place.len()
    }

    pub(super) fn find(&self, id: &str) -> Option<Place> {
        self.by_id.get(id).copied()
    }

    pub(super) fn find_pid(&self, pid: Pid) -> Option<Place> {
        self.by_pid.get(&pid).copied()
    }

    pub(super) fn add(&mut self, child: Child) -> Place {
        let place = Place(self.next);
        self.next += 1;
        self.by_id.insert(child.id.clone(), place);
        if let Some(pid) = child.pid {
            self.by_pid.insert(pid, place);
        }
        self.by_place.insert(place, child);
        place
    }

    pub(super) fn get(&self, place: Place) -> Option<&Child> {
        self.by_place.get(&place)
    }

    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut Child> {
        self.by_place.get_mut(&place)
    }

    pub(super) fn remove(&mut self, place: Place) -> Option<Child> {
        let child = self.by_place.remove(&place)?;
        self.by_id.remove(&child.id);
        if let Some(pid) = child.pid {
            self.by_pid.remove(&pid);
        }
        Some(child)
    }

    /// Notes that a child runs, or does not.
    pub(super) fn set_pid(&mut self, place: Place, pid: Option<Pid>) {
        let Some(child) = self.by_place.get_mut(&place) else {
            return;
        };
        if let Some(old) = child.pid.take() {
            self.by_pid.remove(&old);
        }
        child.pid = pid;
        if let Some(pid) = pid {
            self.by_pid.insert(pid, place);
        }
    }

    /// Places in the order of start.
    pub(super) fn places(&self) -> Vec<Place> {
        self.by_place.keys().copied().collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Child> {
        self.by_place.values()
    }
}
