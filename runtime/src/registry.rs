//! The registry: names for addresses, unique, typed, released when their process ends for any cause.

use std::any::Any;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::address::Address;
use crate::error::NameError;
use crate::name::Name;
use crate::pid::{Pid, SerialMap};
use crate::process::context::Context;
use crate::process::home::Home;
use crate::process::kernel::{Kernel, Part};

mod local;

use local::{Binding, Entry, Names};

/// Shares of the names, so that those who look up do not meet at one lock.
const SHARES: usize = 64;

type Lives = SerialMap<Pid, Vec<Name>>;

/// A lock in a cache line pair of its own.
#[derive(Default)]
#[repr(align(128))]
struct Padded<T>(T);

/// The names of one system. Whoever holds the lock of a share may take that of the lives, not the other way round.
pub(crate) struct Registry {
    shares: Box<[Padded<RwLock<Names>>]>,
    /// Which names end with which life.
    lives: Box<[Padded<Mutex<Lives>>]>,
}

impl Default for Registry {
    fn default() -> Registry {
        Registry {
            shares: (0..SHARES).map(|_| Padded::default()).collect(),
            lives: (0..SHARES).map(|_| Padded::default()).collect(),
        }
    }
}

impl Part for Registry {
    fn process_exited(&self, pid: Pid) {
        let names = self.lives(pid).lock().remove(&pid).unwrap_or_default();
        for name in names {
            let released = self.share(name.as_bytes()).write().forget(&name, pid);
            drop(released);
        }
    }
}

/// A mailbox whose message type is not written.
pub(crate) trait Named: Send + Sync {
    fn pid(&self) -> Pid;
    /// Where it lies, to tell mailboxes apart.
    fn place(&self) -> *const ();
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl dyn Named {
    fn is_same(&self, other: &dyn Named) -> bool {
        std::ptr::eq(self.place(), other.place())
    }
}

impl<M: Send + 'static> Named for Home<M> {
    fn pid(&self) -> Pid {
        Home::pid(self)
    }

    fn place(&self) -> *const () {
        std::ptr::from_ref(self).cast()
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl Registry {
    /// The share a name belongs to, by its last bytes, in which names of one kind differ most.
    fn share(&self, name: &[u8]) -> &RwLock<Names> {
        let mixed = name.iter().rev().take(4).fold(name.len(), |mixed, byte| {
            mixed.wrapping_mul(31).wrapping_add(usize::from(*byte))
        });
        &self.shares[mixed % SHARES].0
    }

    fn lives(&self, pid: Pid) -> &Mutex<Lives> {
        &self.lives[usize::try_from(pid.get() % SHARES as u64).unwrap_or(0)].0
    }

    /// Names the life behind `address`; released when that life ends.
    pub(crate) fn register<M: Send + 'static>(
        &self,
        kernel: &Kernel,
        name: &str,
        address: &Address<M>,
    ) -> Result<(), NameError> {
        let name = Name::new(name).ok_or(NameError::Invalid)?;
        let pid = address.pid();
        let entry = Entry {
            address: address.home().clone(),
            binding: Binding::Life(pid),
        };
        let mut names = self.share(name.as_bytes()).write();
        if names.insert(name.clone(), entry)? {
            self.lives(pid).lock().entry(pid).or_default().push(name);
        }
        drop(names);
        // The process may have ended before its name was there to be released.
        if !kernel.hold_for(pid) {
            self.process_exited(pid);
            return Err(NameError::Gone);
        }
        Ok(())
    }

    /// Names a supervised mailbox; stays across restarts, until [`Registry::release`].
    pub(crate) fn bind(&self, name: &str, address: Arc<dyn Named>) -> Result<(), NameError> {
        let name = Name::new(name).ok_or(NameError::Invalid)?;
        let entry = Entry {
            address,
            binding: Binding::Mailbox,
        };
        let mut names = self.share(name.as_bytes()).write();
        names.insert(name, entry).map(|_| ())
    }

    /// Takes a bound name back from a mailbox, unless somebody else has it by now.
    pub(crate) fn release(&self, name: &str, address: &dyn Named) {
        let is_held = |names: &Names| names.get(name).is_some_and(|held| held.is_same(address));
        drop(self.take(name, is_held));
    }

    pub(crate) fn unregister(&self, name: &str) -> bool {
        self.take(name, |_| true).is_some()
    }

    /// Takes a name away, if so, and from the life that has it.
    fn take(&self, name: &str, so: impl FnOnce(&Names) -> bool) -> Option<Entry> {
        let name = name.as_bytes();
        let mut names = self.share(name).write();
        if !so(&names) {
            return None;
        }
        let entry = names.remove(name)?;
        if let Binding::Life(pid) = entry.binding {
            let mut lives = self.lives(pid).lock();
            if let Some(held) = lives.get_mut(&pid) {
                held.retain(|held| held.as_bytes() != name);
                if held.is_empty() {
                    lives.remove(&pid);
                }
            }
        }
        drop(names);
        Some(entry)
    }

    pub(crate) fn whereis<M: Send + 'static>(&self, name: &str) -> Result<Address<M>, NameError> {
        let names = self.share(name.as_bytes()).read();
        let home = names.get(name).ok_or(NameError::NotFound)?.clone();
        drop(names);
        home.into_any()
            .downcast()
            .map(Address::of)
            .map_err(|_| NameError::WrongType)
    }

    pub(crate) fn whereis_pid(&self, name: &str) -> Option<Pid> {
        let names = self.share(name.as_bytes()).read();
        names.get(name).map(|home| home.pid())
    }

    /// Every name and its process, by name.
    pub(crate) fn all(&self) -> Vec<(String, Pid)> {
        let mut all = Vec::new();
        for share in &self.shares {
            all.extend(share.0.read().all());
        }
        all.sort();
        all
    }
}

impl<M: Send + 'static> Context<M> {
    /// Names this process. The name is released when it ends.
    ///
    /// # Errors
    /// `Taken` when another process has the name, `Invalid` when it cannot be one.
    pub fn register(&mut self, name: &str) -> Result<(), NameError> {
        let kernel = self.home().kernel();
        kernel
            .part::<Registry>()
            .register(kernel, name, &self.address())
    }
}
