//! The door through which the reply slot, the mailbox, the process with its system lane, its home and the timers take their locks and
//! atomics: parking_lot's and std's, or loom's, which tries every order of threads.
//!
//! `script/test loom` runs what is tried. The name of the flag is our own, because
//! tokio changes under `--cfg loom`.

#[cfg(all(test, mesh_loom))]
use std::sync::atomic::Ordering;

#[cfg(not(all(test, mesh_loom)))]
pub(crate) use parking_lot::Mutex;
#[cfg(not(all(test, mesh_loom)))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};

/// A lock for stretches of a few instructions: let go by a plain store, where parking_lot's takes a second locked instruction to see who
/// sleeps at it. Nobody sleeps here; who waits looks again.
#[cfg(not(all(test, mesh_loom)))]
pub(crate) type Short<T> = spin::mutex::SpinMutex<T, Patience>;
#[cfg(not(all(test, mesh_loom)))]
pub(crate) type ShortGuard<'a, T> = spin::mutex::SpinMutexGuard<'a, T>;
#[cfg(all(test, mesh_loom))]
pub(crate) use {Mutex as Short, MutexGuard as ShortGuard};

/// How one waits for a [`Short`] lock: some turns, then the core goes to others, because who holds the lock may have lost its own; and at
/// last sleep, because there may be nobody whom it goes to, as among threads of unequal priority in real time.
#[cfg(not(all(test, mesh_loom)))]
#[derive(Debug)]
pub(crate) struct Patience;

#[cfg(not(all(test, mesh_loom)))]
impl spin::RelaxStrategy for Patience {
    #[expect(
        clippy::disallowed_methods,
        reason = "the way out of what would else be no lock but a stop; nobody comes here who has not looked for long"
    )]
    #[cold]
    fn relax() {
        thread_local! {
            /// Turns this thread has waited; where a wait begins in it does not matter.
            static TURNS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
        }
        let turns = TURNS.get().wrapping_add(1);
        TURNS.set(turns);
        if turns.is_multiple_of(4096) {
            std::thread::sleep(std::time::Duration::from_micros(50));
        } else if turns.is_multiple_of(16) {
            std::thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
}

#[cfg(all(test, mesh_loom))]
pub(crate) use loom::sync::{
    MutexGuard,
    atomic::{AtomicU32, AtomicU64, AtomicUsize},
};

/// loom's flag. A store that is sequentially consistent has a fence behind it, as machines have it: loom takes such an access for one that
/// acquires and releases, and knows the one order of all threads from fences alone.
#[cfg(all(test, mesh_loom))]
#[derive(Debug, Default)]
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
