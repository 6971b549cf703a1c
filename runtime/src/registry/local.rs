//! Pure: the names of one node, and who holds them.

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
    of_life: HashMap<Pid, Vec<Name>>,
}

impl Names {
    /// Adds a name. A mailbox that has it already keeps it as it was.
    pub(super) fn insert(&mut self, name: Name, entry: Entry) -> Result<(), NameError> {
        if let Some(holder) = self.entries.get(&name) {
            return if holder.address.same_mailbox(entry.address.as_any()) {
                Ok(())
            } else {
                Err(NameError::Taken)
            };
        }
        if let Binding::Life(pid) = entry.binding {
            self.of_life.entry(pid).or_default().push(name.clone());
        }
        self.entries.insert(name, entry);
        Ok(())
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<dyn Named>> {
        self.entries.get(name).map(|entry| entry.address.clone())
    }

    /// Takes a name away. The caller drops the entry outside the lock.
    pub(super) fn remove(&mut self, name: &str) -> Option<Entry> {
        let entry = self.entries.remove(name)?;
        if let Binding::Life(pid) = entry.binding
            && let Some(names) = self.of_life.get_mut(&pid)
        {
            names.retain(|held| std::borrow::Borrow::<str>::borrow(held) != name);
            if names.is_empty() {
                self.of_life.remove(&pid);
            }
        }
        Some(entry)
    }

    /// Takes every name of a life.
    pub(super) fn forget(&mut self, pid: Pid) -> Vec<Entry> {
        let names = self.of_life.remove(&pid).unwrap_or_default();
        names
            .into_iter()
            .filter_map(|name| self.entries.remove(&name))
            .collect()
    }

    pub(super) fn all(&self) -> Vec<(String, Pid)> {
        let mut all: Vec<_> = self
            .entries
            .iter()
            .map(|(name, entry)| (name.to_string(), entry.address.pid()))
            .collect();
        all.sort();
        all
    }
}
