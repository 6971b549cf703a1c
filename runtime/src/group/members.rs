//! Pure: the map from groups to members and back.

use std::any::Any;
use std::collections::{BTreeMap, HashMap, HashSet};

use crate::name::Name;
use crate::pid::Pid;

/// An address whose message type is not written.
pub(super) type Member = Box<dyn Any + Send + Sync>;

/// A member and its place among all who ever joined, by which keys find it: the number of a pid says nothing about a system, because
/// every system of the program draws from the same serials.
pub(super) struct Joined {
    pub(super) member: Member,
    pub(super) rank: u64,
}

#[derive(Default)]
struct Group {
    members: BTreeMap<Pid, Joined>,
    /// How often a member was picked.
    turn: usize,
}

#[derive(Default)]
pub(super) struct Groups {
    groups: HashMap<Name, Group>,
    of_member: HashMap<Pid, HashSet<Name>>,
    /// How many have joined.
    joined: u64,
}

impl Groups {
    /// Adds a member; gives it back when it has not the type of those who are there.
    pub(super) fn join(&mut self, name: Name, pid: Pid, member: Member) -> Option<Member> {
        let group = self.groups.entry(name.clone()).or_default();
        if let Some(other) = group.members.values().next()
            && (*other.member).type_id() != (*member).type_id()
        {
            return Some(member);
        }
        let rank = self.joined;
        self.joined += 1;
        group.members.entry(pid).or_insert(Joined { member, rank });
        self.of_member.entry(pid).or_default().insert(name);
        None
    }

    /// Takes a member out. The caller drops it outside the lock.
    pub(super) fn leave(&mut self, name: &str, pid: Pid) -> Option<Member> {
        let name = name.as_bytes();
        let left = self.take(name, pid)?;
        if let Some(names) = self.of_member.get_mut(&pid) {
            names.remove(name);
            if names.is_empty() {
                self.of_member.remove(&pid);
            }
        }
        Some(left)
    }

    /// Takes a member out of every group.
    pub(super) fn leave_all(&mut self, pid: Pid) -> Vec<Member> {
        let names = self.of_member.remove(&pid).unwrap_or_default();
        names
            .iter()
            .filter_map(|name| self.take(name.as_bytes(), pid))
            .collect()
    }

    fn take(&mut self, name: &[u8], pid: Pid) -> Option<Member> {
        let group = self.groups.get_mut(name)?;
        let left = group.members.remove(&pid)?;
        if group.members.is_empty() {
            self.groups.remove(name);
        }
        Some(left.member)
    }

    /// Shows the members of a group, of whom there is one at least, and how often somebody has looked before.
    pub(super) fn pick<R>(
        &mut self,
        name: &str,
        choose: impl FnOnce(&BTreeMap<Pid, Joined>, usize) -> R,
    ) -> Option<R> {
        let group = self.groups.get_mut(name.as_bytes())?;
        let turn = group.turn;
        group.turn = turn.wrapping_add(1);
        Some(choose(&group.members, turn))
    }
}
