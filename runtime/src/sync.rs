//! The door through which the reply slot, the mailbox, the process with its system lane, its home and the timers take their locks and
//! atomics: parking_lot's and std's, or loom's, which tries every order of threads.
//!
//! `script/test loom` runs what is tried. The name of the flag is our own, because
//! tokio changes under `--cfg loom`.

#[cfg(all(test, mesh_loom))]
use std::sync::atomic::Ordering;

#[cfg(not(all(test, mesh_loom)))]
pub(crate) use parking_lot::{Mutex, MutexGuard};
#[cfg(not(all(test, mesh_loom)))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

#[cfg(all(test, mesh_loom))]
pub(crate) use loom::sync::{
    MutexGuard,
    atomic::{AtomicU64, AtomicUsize},
};

/// loom's flag. A store that is sequentially consistent has a fence behind it, as machines have it: loom takes such an access for one that
/// acquires and releases, and knows the one order of all threads from fences alone.
#[cfg(all(test, mesh_loom))]
#[derive(Debug)]
pub(crate) struct AtomicBool(loom::sync::atomic::AtomicBool);

#[cfg(all(test, mesh_loom))]
impl AtomicBool {
    pub(crate) fn new(value: bool) -> AtomicBool {
        AtomicBool(loom::sync::atomic::AtomicBool::new(value))
    }

    pub(crate) fn load(&self, ordering: Ordering) -> bool {
        self.0.load(ordering)
    }

    pub(crate) fn store(&self, value: bool, ordering: Ordering) {
        self.0.store(value, ordering);
        if ordering == Ordering::SeqCst {
            loom::sync::atomic::fence(ordering);
        }
    }

    pub(crate) fn swap(&self, value: bool, ordering: Ordering) -> bool {
        self.0.swap(value, ordering)
    }
}

/// loom's lock with parking_lot's face.
#[cfg(all(test, mesh_loom))]
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

#[cfg(all(test, mesh_loom))]
impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
        self.0.lock().expect("loom's locks are not poisoned")
    }
}
