//! `ExitReason`: why a process ended, and what counts as normal.

use std::fmt;
use std::sync::{Arc, LazyLock};

/// Why a process ended. One pointer wide; cheap to clone; look inside with [`ExitReason::kind`].
///
/// ```
/// use mesh_runtime::{ExitKind, ExitReason};
///
/// let reason = ExitReason::error("disk full");
/// assert!(reason.is_abnormal());
/// assert!(matches!(reason.kind(), ExitKind::Error(text) if &**text == "disk full"));
/// assert_eq!(ExitReason::killed(), ExitKind::Killed);
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ExitReason(Option<Arc<ExitKind>>);

/// The kinds of [`ExitReason`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExitKind {
    /// The work was done.
    Normal,
    /// Asked to stop by a supervisor or by the system.
    Shutdown,
    /// Killed; no terminate callback ran.
    Killed,
    /// The other side of a link, monitor or call did not exist.
    NoProcess,
    /// The connection to the other side's node was lost.
    NoConnection,
    /// A supervisor gave up: more restarts than its intensity allows.
    RestartIntensity,
    /// A member of a room was further behind than it may be, and had joined with `RoomPolicy::Disconnect`.
    TooSlow,
    /// The process panicked.
    Panic {
        /// The panic's message.
        message: Box<str>,
        /// `file:line:column` of the panic.
        location: Box<str>,
    },
    /// The process stopped itself with an error.
    Error(Box<str>),
}

static NORMAL: ExitKind = ExitKind::Normal;

macro_rules! shared_reason {
    ($kind:ident) => {{
        static REASON: LazyLock<Arc<ExitKind>> = LazyLock::new(|| Arc::new(ExitKind::$kind));
        ExitReason(Some(REASON.clone()))
    }};
}

impl ExitReason {
    /// The work was done.
    #[must_use]
    pub fn normal() -> ExitReason {
        ExitReason(None)
    }

    /// Asked to stop.
    #[must_use]
    pub fn shutdown() -> ExitReason {
        shared_reason!(Shutdown)
    }

    /// Killed.
    #[must_use]
    pub fn killed() -> ExitReason {
        shared_reason!(Killed)
    }

    /// The process does not exist.
    #[must_use]
    pub fn no_process() -> ExitReason {
        shared_reason!(NoProcess)
    }

    /// The connection to the process's node was lost.
    #[must_use]
    pub fn no_connection() -> ExitReason {
        shared_reason!(NoConnection)
    }

    /// A supervisor's restart intensity was exceeded.
    #[must_use]
    pub fn restart_intensity() -> ExitReason {
        shared_reason!(RestartIntensity)
    }

    /// Too slow for a room.
    #[must_use]
    pub fn too_slow() -> ExitReason {
        shared_reason!(TooSlow)
    }

    /// A panic with its message and location.
    #[must_use]
    pub fn panic(message: impl Into<Box<str>>, location: impl Into<Box<str>>) -> ExitReason {
        ExitReason(Some(Arc::new(ExitKind::Panic {
            message: message.into(),
            location: location.into(),
        })))
    }

    /// An error, by its text.
    #[must_use]
    pub fn error(error: impl fmt::Display) -> ExitReason {
        ExitReason(Some(Arc::new(ExitKind::Error(
            error.to_string().into_boxed_str(),
        ))))
    }

    /// What kind of reason this is.
    #[must_use]
    pub fn kind(&self) -> &ExitKind {
        self.0.as_deref().unwrap_or(&NORMAL)
    }

    /// Whether the process ended because its work was done.
    #[must_use]
    pub fn is_normal(&self) -> bool {
        matches!(self.kind(), ExitKind::Normal)
    }

    /// Whether a transient child with this reason is restarted: anything but normal and shutdown, as OTP.
    #[must_use]
    pub fn is_abnormal(&self) -> bool {
        !matches!(self.kind(), ExitKind::Normal | ExitKind::Shutdown)
    }

    /// Whether the process panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self.kind(), ExitKind::Panic { .. })
    }
}

impl PartialEq<ExitKind> for ExitReason {
    fn eq(&self, other: &ExitKind) -> bool {
        self.kind() == other
    }
}

impl From<ExitKind> for ExitReason {
    fn from(kind: ExitKind) -> ExitReason {
        match kind {
            ExitKind::Normal => ExitReason::normal(),
            other => ExitReason(Some(Arc::new(other))),
        }
    }
}

impl From<()> for ExitReason {
    fn from((): ()) -> ExitReason {
        ExitReason::normal()
    }
}

impl From<Result<(), ExitReason>> for ExitReason {
    fn from(result: Result<(), ExitReason>) -> ExitReason {
        result.err().unwrap_or_else(ExitReason::normal)
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            ExitKind::Normal => formatter.write_str("normal"),
            ExitKind::Shutdown => formatter.write_str("shutdown"),
            ExitKind::Killed => formatter.write_str("killed"),
            ExitKind::NoProcess => formatter.write_str("no such process"),
            ExitKind::NoConnection => formatter.write_str("no connection"),
            ExitKind::RestartIntensity => formatter.write_str("restart intensity exceeded"),
            ExitKind::TooSlow => formatter.write_str("too slow for a room"),
            ExitKind::Panic { message, location } => {
                write!(formatter, "panic at {location}: {message}")
            }
            ExitKind::Error(text) => write!(formatter, "error: {text}"),
        }
    }
}

impl fmt::Debug for ExitReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.kind(), formatter)
    }
}

impl std::error::Error for ExitReason {}

impl serde::Serialize for ExitReason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
