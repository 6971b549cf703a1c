//! Pure: the map from rooms to members and back.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::pid::Pid;

use super::Member;

/// The members of one room at one moment.
pub(super) type Snapshot = Arc<[(Pid, Arc<dyn Member>)]>;

#[derive(Default)]
struct Room {
    members: BTreeMap<Pid, Arc<dyn Member>>,
    /// Built by the first broadcast after a change.
    snapshot: Option<Snapshot>,
}

#[derive(Default)]
pub(super) struct Members {
    rooms: HashMap<Arc<str>, Room>,
    of_member: HashMap<Pid, HashSet<Arc<str>>>,
}

impl Members {
    pub(super) fn join(&mut self, room: &str, pid: Pid, member: Arc<dyn Member>) {
        let name = match self.rooms.get_key_value(room) {
            Some((name, _)) => name.clone(),
            None => Arc::from(room),
        };
        let room = self.rooms.entry(name.clone()).or_default();
        room.members.entry(pid).or_insert(member);
        room.snapshot = None;
        self.of_member.entry(pid).or_default().insert(name);
    }

    pub(super) fn leave(&mut self, room: &str, pid: Pid) -> Option<Arc<dyn Member>> {
        let left = self.take(room, pid)?;
        if let Some(rooms) = self.of_member.get_mut(&pid) {
            rooms.remove(room);
            if rooms.is_empty() {
                self.of_member.remove(&pid);
            }
        }
        Some(left)
    }

    fn take(&mut self, name: &str, pid: Pid) -> Option<Arc<dyn Member>> {
        let room = self.rooms.get_mut(name)?;
        let left = room.members.remove(&pid)?;
        room.snapshot = None;
        if room.members.is_empty() {
            self.rooms.remove(name);
        }
        Some(left)
    }

    /// Takes a member out of every room.
    pub(super) fn leave_all(&mut self, pid: Pid) -> Vec<Arc<dyn Member>> {
        let rooms = self.of_member.remove(&pid).unwrap_or_default();
        rooms
            .iter()
            .filter_map(|room| self.take(room, pid))
            .collect()
    }

    pub(super) fn snapshot(&mut self, room: &str) -> Option<(Arc<str>, Snapshot)> {
        let name = self.rooms.get_key_value(room)?.0.clone();
        let room = self.rooms.get_mut(room)?;
        let members = &room.members;
        let snapshot = room.snapshot.get_or_insert_with(|| {
            members
                .iter()
                .map(|(pid, member)| (*pid, member.clone()))
                .collect()
        });
        Some((name, snapshot.clone()))
    }

    pub(super) fn of(&self, room: &str) -> Vec<Pid> {
        self.rooms
            .get(room)
            .map(|room| room.members.keys().copied().collect())
            .unwrap_or_default()
    }

    pub(super) fn rooms(&self) -> Vec<(String, usize)> {
        let mut all: Vec<_> = self
            .rooms
            .iter()
            .map(|(name, room)| (name.to_string(), room.members.len()))
            .collect();
        all.sort();
        all
    }
}
