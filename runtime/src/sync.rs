//! The door through which the reply slot, the mailbox and the system lane take their locks and atomics: parking_lot's and std's, or loom's, which tries
//! every order of threads.
//!
//! `script/test loom` runs what is tried. The name of the flag is our own, because
//! tokio changes under `--cfg loom`.

#[cfg(not(all(test, mesh_loom)))]
pub(crate) use parking_lot::{Mutex, MutexGuard};
#[cfg(not(all(test, mesh_loom)))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32};

#[cfg(all(test, mesh_loom))]
pub(crate) use loom::sync::{
    MutexGuard,
    atomic::{AtomicBool, AtomicU32},
};

/// loom's lock with parking_lot's face.
#[cfg(all(test, mesh_loom))]
#[derive(Debug)]
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
