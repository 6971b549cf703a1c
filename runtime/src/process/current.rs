//! Which process this thread is running, and where its last panic was: what the panic hook and the self-call check ask.

use std::cell::{Cell, RefCell};
use std::panic::{self, PanicHookInfo};
use std::sync::Once;

use crate::pid::Pid;

thread_local! {
    static CURRENT: Cell<Option<Pid>> = const { Cell::new(None) };
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static LAST_PANIC: RefCell<Option<Panicked>> = const { RefCell::new(None) };
}

/// What the hook saw.
#[derive(Clone, Debug)]
pub(crate) struct Panicked {
    pub(crate) message: Box<str>,
    pub(crate) location: Box<str>,
}

/// The process this thread is running.
pub(crate) fn pid() -> Option<Pid> {
    CURRENT.try_with(Cell::get).ok().flatten()
}

/// Marks the stretch in which a process runs on this thread.
pub(crate) struct Running {
    outer: Option<Pid>,
}

impl Running {
    pub(crate) fn enter(pid: Pid) -> Running {
        Running {
            outer: CURRENT.replace(Some(pid)),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        CURRENT.set(self.outer);
    }
}

/// A stretch in which this thread's panics are kept and not printed: whoever runs it reports them.
#[cfg(feature = "sim")]
pub(crate) struct Quiet {
    outer: bool,
}

#[cfg(feature = "sim")]
impl Quiet {
    pub(crate) fn enter() -> Quiet {
        install_panic_hook();
        Quiet {
            outer: QUIET.replace(true),
        }
    }
}

#[cfg(feature = "sim")]
impl Drop for Quiet {
    fn drop(&mut self) {
        QUIET.set(self.outer);
    }
}

fn is_quiet() -> bool {
    QUIET.try_with(Cell::get).unwrap_or(false)
}

/// The panic the hook saw last on this thread.
pub(crate) fn take_panic() -> Option<Panicked> {
    LAST_PANIC
        .try_with(|last| last.borrow_mut().take())
        .ok()
        .flatten()
}

/// Chains the panic hook, once for the operating-system process. Outside processes it changes nothing; inside, the panic is
/// kept for `run.rs`, which logs it once, unless nobody listens to `tracing`.
pub(crate) fn install_panic_hook() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if is_quiet() {
                remember(info);
                return;
            }
            if pid().is_none() {
                previous(info);
                return;
            }
            remember(info);
            if !tracing::dispatcher::has_been_set() {
                previous(info);
            }
        }));
    });
}

fn remember(info: &PanicHookInfo<'_>) {
    let message = message_of(info.payload());
    let location = info.location().map_or_else(
        || "unknown".into(),
        |location| location.to_string().into_boxed_str(),
    );
    // A second panic while the cell is borrowed cannot happen: nothing of the user's runs inside the borrow.
    let _ = LAST_PANIC.try_with(|last| last.replace(Some(Panicked { message, location })));
}

/// The text of a panic's payload.
pub(crate) fn message_of(payload: &(dyn std::any::Any + Send)) -> Box<str> {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        return (*text).into();
    }
    match payload.downcast_ref::<String>() {
        Some(text) => text.as_str().into(),
        None => "panic with a payload that is not text".into(),
    }
}
