//! A BEAM-like actor runtime for Rust: processes that crash alone and supervisors that start them anew.

mod actor;
mod address;
mod clock;
mod entropy;
mod error;
mod exit;
mod job;
pub mod limits;
mod mailbox;
mod name;
mod pid;
mod process;
mod reference;
mod registry;
mod reply_to;
mod room;
mod scheduler;
mod service;
mod signal;
mod supervisor;
mod system;
pub mod telemetry;
mod timer;

#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "ws")]
pub mod ws;

pub use actor::{Actor, Flow};
pub use address::Address;
pub use clock::{Clock, SystemClock};
pub use entropy::{Entropy, OsEntropy, SeededEntropy};
pub use error::{CallError, NameError, SendError, StartError};
pub use exit::{ExitKind, ExitReason};
pub use job::{Job, JobError, JobOwner};
pub use mailbox::{Capacity, Overflow};
pub use pid::Pid;
pub use process::context::{Context, Event};
pub use process::info::{ProcessInfo, ProcessStatus};
pub use reference::Ref;
pub use reply_to::ReplyTo;
pub use room::{BroadcastReport, RoomError, RoomMessage, Rooms};
pub use scheduler::{Scheduler, Task, TokioScheduler};
pub use signal::Signal;
pub use supervisor::{
    ChildCounts, ChildInfo, ChildSpec, ChildType, DynamicSupervisor, RestartType, ShutdownType,
    Strategy, Supervisor, SupervisorHandle,
};
pub use system::{Inspection, RoomInfo, ShutdownTimeout, System, SystemBuilder, SystemCounts};
pub use timer::{Elapsed, TimerRef};
