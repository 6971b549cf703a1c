//! What can go wrong when one sends, calls, starts or names.

use std::fmt;

use crate::exit::ExitReason;

/// A message was not accepted. Gives the message back.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError<M> {
    /// The mailbox is at its bound.
    Full(M),
    /// The process has ended and nobody will restart it behind this address.
    Gone(M),
    /// The node of the address cannot be reached.
    NoConnection(M),
    /// The message could not be encoded for the wire.
    Encode(M),
    /// An interval needs a period longer than zero.
    NoPeriod(M),
}

impl<M> SendError<M> {
    /// The message that was not sent.
    pub fn into_message(self) -> M {
        match self {
            SendError::Full(message)
            | SendError::Gone(message)
            | SendError::NoConnection(message)
            | SendError::Encode(message)
            | SendError::NoPeriod(message) => message,
        }
    }

    /// Whether the mailbox was full.
    pub fn is_full(&self) -> bool {
        matches!(self, SendError::Full(_))
    }

    fn text(&self) -> &'static str {
        match self {
            SendError::Full(_) => "mailbox is full",
            SendError::Gone(_) => "process is gone",
            SendError::NoConnection(_) => "node cannot be reached",
            SendError::Encode(_) => "message cannot be encoded",
            SendError::NoPeriod(_) => "interval has a period of zero",
        }
    }
}

impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            SendError::Full(_) => "Full",
            SendError::Gone(_) => "Gone",
            SendError::NoConnection(_) => "NoConnection",
            SendError::Encode(_) => "Encode",
            SendError::NoPeriod(_) => "NoPeriod",
        };
        formatter.debug_tuple(name).finish_non_exhaustive()
    }
}

impl<M> fmt::Display for SendError<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text())
    }
}

impl<M> std::error::Error for SendError<M> {}

/// A call was not answered. Every call ends in exactly one of these or in its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// The callee, or whoever held the token, ended before it answered.
    Exited(ExitReason),
    /// The deadline passed. The callee may still do the work; its answer will be dropped and counted.
    Timeout,
    /// There was no process behind the address.
    NoProcess,
    /// The callee's mailbox was full, or its overflow policy dropped the call.
    Full,
    /// A living callee dropped the token without answering.
    NoReply,
    /// A process called itself, which would wait for ever.
    CallingSelf,
    /// The callee's node cannot be reached.
    NoConnection,
}

impl fmt::Display for CallError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Exited(reason) => write!(formatter, "callee exited: {reason}"),
            CallError::Timeout => formatter.write_str("call timed out"),
            CallError::NoProcess => formatter.write_str("no such process"),
            CallError::Full => formatter.write_str("callee's mailbox is full"),
            CallError::NoReply => formatter.write_str("callee dropped the call without a reply"),
            CallError::CallingSelf => formatter.write_str("process called itself"),
            CallError::NoConnection => formatter.write_str("callee's node cannot be reached"),
        }
    }
}

impl std::error::Error for CallError {}

/// A process or a child did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// Its `init` failed, panicked or was killed.
    Failed {
        /// Id of the child that failed; `None` for a process without supervisor.
        child: Option<String>,
        /// Why.
        reason: ExitReason,
    },
    /// A name it wants is taken or invalid.
    Name {
        /// The name.
        name: String,
        /// Why.
        error: NameError,
    },
    /// The supervisor has a child with this id and it is running.
    AlreadyStarted,
    /// The supervisor has a child with this id, which is not running: restart or delete it.
    AlreadyPresent,
    /// The supervisor has as many children as it may have.
    MaxChildren,
    /// A significant child must not be permanent, and its supervisor must have an auto-shutdown.
    Significant,
    /// A supervisor counts its restarts in a window longer than zero; in one of zero there would be no limit.
    Intensity,
    /// The supervisor has no child with this id.
    NotFound,
    /// The supervisor could not be asked.
    Supervisor(CallError),
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Failed {
                child: Some(child),
                reason,
            } => write!(formatter, "child {child} failed to start: {reason}"),
            StartError::Failed {
                child: None,
                reason,
            } => write!(formatter, "process failed to start: {reason}"),
            StartError::Name { name, error } => write!(formatter, "name {name}: {error}"),
            StartError::AlreadyStarted => formatter.write_str("child is already started"),
            StartError::AlreadyPresent => {
                formatter.write_str("child is already present but not running")
            }
            StartError::MaxChildren => {
                formatter.write_str("supervisor has its maximum of children")
            }
            StartError::Significant => formatter.write_str(
                "a significant child must not be permanent, and its supervisor must have an auto-shutdown",
            ),
            StartError::Intensity => {
                formatter.write_str("the window of a restart intensity must be longer than zero")
            }
            StartError::NotFound => formatter.write_str("supervisor has no such child"),
            StartError::Supervisor(error) => write!(formatter, "supervisor: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// A name could not be registered or looked up, or a room or group of that name not be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// Nobody has this name.
    NotFound,
    /// The process with this name, or the group, takes another type of message.
    WrongType,
    /// Another living process has this name.
    Taken,
    /// Empty, longer than 255 bytes, or with control characters.
    Invalid,
    /// The process to be named, or to join, has ended.
    Gone,
}

impl fmt::Display for NameError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            NameError::NotFound => "name is not registered",
            NameError::WrongType => "process with this name takes another message type",
            NameError::Taken => "name is taken",
            NameError::Invalid => "name is invalid",
            NameError::Gone => "process has ended",
        })
    }
}

impl std::error::Error for NameError {}
