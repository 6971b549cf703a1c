//! The registry: names for addresses, unique, typed, released when their process ends for any cause.

use std::any::Any;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::address::Address;
use crate::error::NameError;
use crate::name::Name;
use crate::pid::Pid;
use crate::process::context::Context;
use crate::process::kernel::{Kernel, Part};

mod local;

use local::{Binding, Entry, Names};

/// The names of one system.
#[derive(Default)]
pub(crate) struct Registry {
    names: Mutex<Names>,
}

impl Part for Registry {
    fn process_exited(&self, pid: Pid) {
        let released = self.names.lock().forget(pid);
        drop(released);
    }
}

/// An address whose message type is not written.
pub(crate) trait Named: Send + Sync {
    fn pid(&self) -> Pid;
    fn same_mailbox(&self, other: &dyn Any) -> bool;
    fn as_any(&self) -> &dyn Any;
}

impl<M: Send + 'static> Named for Address<M> {
    fn pid(&self) -> Pid {
        Address::pid(self)
    }

    fn same_mailbox(&self, other: &dyn Any) -> bool {
        other
            .downcast_ref::<Address<M>>()
            .is_some_and(|other| other == self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Registry {
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
            address: Arc::new(address.clone()),
            binding: Binding::Life(pid),
        };
        self.names.lock().insert(name, entry)?;
        // The process may have ended before its name was there to be released.
        if !kernel.is_alive(pid) {
            let released = self.names.lock().forget(pid);
            drop(released);
            return Err(NameError::Gone);
        }
        Ok(())
    }

    /// Names a supervised mailbox; stays across restarts, until [`Registry::release`].
    pub(crate) fn bind(&self, name: &str, address: Arc<dyn Named>) -> Result<(), NameError> {
        let name = Name::new(name).ok_or(NameError::Invalid)?;
        self.names.lock().insert(
            name,
            Entry {
                address,
                binding: Binding::Mailbox,
            },
        )
    }

    /// Takes a bound name back from a mailbox, unless somebody else has it by now.
    pub(crate) fn release(&self, name: &str, address: &dyn Named) {
        let mut names = self.names.lock();
        let held = names
            .get(name)
            .is_some_and(|holder| holder.same_mailbox(address.as_any()));
        let released = if held { names.remove(name) } else { None };
        drop(names);
        drop(released);
    }

    pub(crate) fn unregister(&self, name: &str) -> bool {
        let released = self.names.lock().remove(name);
        released.is_some()
    }

    pub(crate) fn whereis<M: Send + 'static>(&self, name: &str) -> Result<Address<M>, NameError> {
        let address = self.names.lock().get(name).ok_or(NameError::NotFound)?;
        address
            .as_any()
            .downcast_ref::<Address<M>>()
            .cloned()
            .ok_or(NameError::WrongType)
    }

    pub(crate) fn whereis_pid(&self, name: &str) -> Option<Pid> {
        let address = self.names.lock().get(name)?;
        Some(address.pid())
    }

    /// Every name and its process, by name.
    pub(crate) fn all(&self) -> Vec<(String, Pid)> {
        self.names.lock().all()
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
