//! Which process this thread is running, and where its last panic was: what the panic hook and the self-call check ask.

use std::cell::{Cell, RefCell};
use std::panic::{self, Location, PanicHookInfo};
use std::sync::Once;

use crate::exit::{ExitKind, ExitReason};
use crate::pid::Pid;

thread_local! {
    static CURRENT: Cell<Option<Pid>> = const { Cell::new(None) };
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static LAST_PANIC: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

/// The panic the hook saw last on this thread. Kept, so that one that repeats itself shares its reason.
struct Seen {
    file: Box<str>,
    line: u32,
    column: u32,
    reason: ExitReason,
    /// Whether nobody has taken it.
    fresh: bool,
}

impl Seen {
    fn is_at(&self, place: &Location<'_>) -> bool {
        (self.line, self.column) == (place.line(), place.column()) && *self.file == *place.file()
    }

    fn says(&self, text: &str) -> bool {
        matches!(self.reason.kind(), ExitKind::Panic { message, .. } if **message == *text)
    }
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

/// The reason of the panic the hook saw last on this thread, if that is the one with this text.
pub(crate) fn take_panic(text: &str) -> Option<ExitReason> {
    let take = |last: &RefCell<Option<Seen>>| {
        let mut last = last.borrow_mut();
        let seen = last.as_mut()?;
        let fresh = std::mem::take(&mut seen.fresh);
        (fresh && seen.says(text)).then(|| seen.reason.clone())
    };
    LAST_PANIC.try_with(take).ok().flatten()
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
    // It is always told, says the standard library; without it the reason says "unknown".
    let Some(place) = info.location() else {
        return;
    };
    let text = text_of(info.payload());
    // A second panic while the cell is borrowed cannot happen: nothing of the user's runs inside the borrow.
    let _ = LAST_PANIC.try_with(|last| {
        let mut last = last.borrow_mut();
        match &mut *last {
            Some(seen) if seen.is_at(place) && seen.says(text) => seen.fresh = true,
            _ => {
                *last = Some(Seen {
                    file: place.file().into(),
                    line: place.line(),
                    column: place.column(),
                    reason: ExitReason::panic(text, place.to_string()),
                    fresh: true,
                });
            }
        }
    });
}

/// The text of a panic's payload.
pub(crate) fn text_of(payload: &(dyn std::any::Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        return text;
    }
    match payload.downcast_ref::<String>() {
        Some(text) => text,
        None => "panic with a payload that is not text",
    }
}
