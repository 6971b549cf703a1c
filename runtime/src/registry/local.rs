//! Pure: a share of the names of one node, and who holds them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::NameError;
use crate::name::Name;
use crate::pid::Pid;

use super::Named;

/// How long a name lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binding {
    /// Until this life ends.
    Life(Pid),
    /// Until its supervisor takes it back.
    Mailbox,
}

pub(super) struct Entry {
    pub(super) address: Arc<dyn Named>,
    pub(super) binding: Binding,
}

#[derive(Default)]
pub(super) struct Names {
    entries: HashMap<Name, Entry>,
}

impl Names {
    /// Adds a name; whether it is new. A mailbox that has it already keeps it as it was.
    pub(super) fn insert(&mut self, name: Name, entry: Entry) -> Result<bool, NameError> {
        if let Some(holder) = self.entries.get(name.as_bytes()) {
            return if holder.address.is_same(&*entry.address) {
                Ok(false)
            } else {
                Err(NameError::Taken)
            };
        }
        self.entries.insert(name, entry);
        Ok(true)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<dyn Named>> {
        self.entries
            .get(name.as_bytes())
            .map(|entry| &entry.address)
    }

    /// Takes a name away. The caller drops the entry outside the lock.
    pub(super) fn remove(&mut self, name: &[u8]) -> Option<Entry> {
        self.entries.remove(name)
    }

    /// Takes a name of a life away, unless somebody else has it by now.
    pub(super) fn forget(&mut self, name: &Name, pid: Pid) -> Option<Entry> {
        let held = self.entries.get(name.as_bytes())?;
        if held.binding == Binding::Life(pid) {
            self.entries.remove(name.as_bytes())
        } else {
            None
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (String, Pid)> + '_ {
        self.entries
            .iter()
            .map(|(name, entry)| (name.to_string(), entry.address.pid()))
    }
}
