//! Groups: many members under one name, one of whom is picked for each piece of work. OTP's `pg`, and the core of a worker pool.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use parking_lot::Mutex;

use crate::address::Address;
use crate::error::NameError;
use crate::name::Name;
use crate::pid::Pid;
use crate::process::kernel::Part;

mod members;

use members::Groups as Map;

/// The groups of one system. A group's members take one type of message; a member leaves when its life ends.
pub struct Groups {
    map: Mutex<Map>,
}

impl fmt::Debug for Groups {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Groups").finish_non_exhaustive()
    }
}

impl Part for Groups {
    fn process_exited(&self, pid: Pid) {
        let left = self.map.lock().leave_all(pid);
        drop(left);
    }
}

impl Groups {
    pub(crate) fn new() -> Groups {
        Groups {
            map: Mutex::new(Map::default()),
        }
    }

    /// Adds the life behind `member`. Joining twice changes nothing.
    ///
    /// # Errors
    /// `Gone` when the member has ended, `WrongType` when the group's members take another type of message, `Invalid` when `group` cannot
    /// be a name.
    pub fn join<M: Send + 'static>(
        &self,
        group: &str,
        member: &Address<M>,
    ) -> Result<(), NameError> {
        let name = Name::new(group).ok_or(NameError::Invalid)?;
        let life = member.pid();
        let entry = Box::new(member.clone());
        let refused = self.map.lock().join(name, life, entry);
        if refused.is_some() {
            return Err(NameError::WrongType);
        }
        // The process may have ended before it was there to be forgotten.
        if !member.kernel().hold_for(life) {
            self.process_exited(life);
            return Err(NameError::Gone);
        }
        Ok(())
    }

    /// Takes a member out; `false` when it was not in it.
    pub fn leave(&self, group: &str, member: Pid) -> bool {
        let left = self.map.lock().leave(group, member);
        left.is_some()
    }

    /// The members, by the order of their pids; none when nobody is in it.
    ///
    /// # Errors
    /// `WrongType` when they take another type of message.
    pub fn members<M: Send + 'static>(&self, group: &str) -> Result<Vec<Address<M>>, NameError> {
        match self
            .map
            .lock()
            .pick(group, |members, _| members.values().map(typed).collect())
        {
            Some(members) => members,
            None => Ok(Vec::new()),
        }
    }

    /// The member for a key: the same one for as long as it is there, and when it goes, only its keys move.
    ///
    /// # Errors
    /// `NotFound` when nobody is in the group, `WrongType`.
    ///
    /// Source: Thaler and Ravishankar, "A name-based mapping scheme for rendezvous", 1996.
    pub fn by_key<M: Send + 'static>(
        &self,
        group: &str,
        key: &impl Hash,
    ) -> Result<Address<M>, NameError> {
        // The key's own hashing is the user's code, and runs outside the lock.
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let key = hasher.finish();
        let weight = |joined: &members::Joined| {
            let mut hasher = DefaultHasher::new();
            (key, joined.rank).hash(&mut hasher);
            hasher.finish()
        };
        let picked = self.map.lock().pick(group, |members, _| {
            let heaviest = members.values().max_by_key(|joined| weight(joined));
            heaviest.map(typed)
        });
        picked.flatten().unwrap_or(Err(NameError::NotFound))
    }

    /// The members in turn.
    ///
    /// # Errors
    /// `NotFound` when nobody is in the group, `WrongType`.
    pub fn round_robin<M: Send + 'static>(&self, group: &str) -> Result<Address<M>, NameError> {
        let picked = self.map.lock().pick(group, |members, turn| {
            members.values().nth(turn % members.len()).map(typed)
        });
        picked.flatten().unwrap_or(Err(NameError::NotFound))
    }

    /// The member with the fewest messages waiting; those with equally few in turn.
    ///
    /// # Errors
    /// `NotFound` when nobody is in the group, `WrongType`.
    pub fn least_busy<M: Send + 'static>(&self, group: &str) -> Result<Address<M>, NameError> {
        let found = self.map.lock().pick(group, |members, turn| {
            let all: Result<Vec<Address<M>>, NameError> = members.values().map(typed).collect();
            all.map(|mut all| {
                let middle = turn % all.len();
                all.rotate_left(middle);
                all
            })
        });
        let members = found.unwrap_or(Err(NameError::NotFound))?;
        // Mailboxes are asked outside the lock.
        let least = members.into_iter().min_by_key(Address::len);
        least.ok_or(NameError::NotFound)
    }
}

fn typed<M: Send + 'static>(joined: &members::Joined) -> Result<Address<M>, NameError> {
    joined
        .member
        .downcast_ref::<Address<M>>()
        .cloned()
        .ok_or(NameError::WrongType)
}
