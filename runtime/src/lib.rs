//! A BEAM-like actor runtime for Rust: processes that crash alone, and supervisors that start them anew.
//!
//! - **Processes** with Erlang's links, monitors, exit signals and trapped exits; a panic anywhere in one ends that one alone, and a
//!   kill wakes it from an await.
//! - **Services** without macros or boxes: a process's messages are your own enum, and a call is a message that carries a
//!   [`ReplyTo`], answered exactly once.
//! - **Supervisors** with OTP's strategies, restart types and intensity; an [`Address`] survives the restart of what it names.
//! - **One timer wheel**, a typed registry, rooms that encode once, jobs, bounded mailboxes, and an inspection of it all.
//!
//! ```
//! use mesh_runtime::{Actor, ChildSpec, Context, ExitReason, Flow, ReplyTo, Strategy, Supervisor, System};
//!
//! enum Message {
//!     Add(u64),
//!     Total(ReplyTo<u64>),
//! }
//!
//! struct Counter(u64);
//!
//! impl Actor for Counter {
//!     type Args = u64;
//!     type Message = Message;
//!
//!     async fn init(start: u64, _cx: &mut Context<Message>) -> Result<Self, ExitReason> {
//!         Ok(Counter(start))
//!     }
//!
//!     async fn handle(&mut self, message: Message, _cx: &mut Context<Message>) -> Flow {
//!         match message {
//!             Message::Add(n) => self.0 = self.0.checked_add(n).expect("the total fits"),
//!             Message::Total(to) => to.reply(self.0),
//!         }
//!         Flow::Continue
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let system = System::new();
//! let tree = Supervisor::new(Strategy::OneForOne).child(ChildSpec::worker::<Counter>("counter", 1));
//! system.supervise(tree).await?;
//!
//! let counter = system.whereis::<Message>("counter")?;
//! counter.send(Message::Add(41))?;
//! assert_eq!(counter.call(Message::Total).await?, 42);
//!
//! let crashed = system.wait_for_exit(counter.pid());
//! counter.send(Message::Add(u64::MAX))?; // panics
//! assert!(crashed.await.is_panic());
//! assert_eq!(counter.call(Message::Total).await?, 1); // fresh state, same address
//! # Ok(())
//! # }
//! ```
//!
//! **When not to use it:** for a handful of tasks that never fail on their own, tokio's tasks and channels are less to learn; for work
//! that only computes, a thread pool is faster. Processes are not preempted: a handler that never suspends holds its worker. With
//! `panic = "abort"` nothing is contained. There are no nodes yet: one program, one machine.
//!
//! | word | where |
//! |---|---|
//! | process, pid, link, monitor, exit signal | [`Context`], [`Pid`], [`Signal`], [`ExitReason`] |
//! | send, call, cast | [`Address`], [`ReplyTo`], [`SendError`], [`CallError`] |
//! | gen_server | [`Actor`], [`Flow`] |
//! | supervisor, child spec | [`Supervisor`], [`DynamicSupervisor`], [`ChildSpec`], [`SupervisorHandle`] |
//! | mailbox | [`Capacity`], [`Overflow`] |
//! | timer | [`Context::send_after`], [`Context::send_interval`], [`System::sleep`], [`System::timeout`] |
//! | registry | [`System::register`], [`System::whereis`] |
//! | room | [`Rooms`], [`RoomMessage`], [`RoomPolicy`] |
//! | group, worker pool | [`Groups`] |
//! | task | [`Job`], [`System::blocking`] |
//! | observer, `sys:get_state` | [`System::inspect`], [`Inspection`], [`Address::get_state`] |
//! | logger, dead letters, metrics | [`telemetry`], [`System::dead_letters`] |
//!
//! What is promised, with the test that proves it, is in `docs/SEMANTICS.md`; what differs from OTP in `docs/OTP_MAP.md`; how other
//! libraries do in the same scenarios in `docs/CONFORMANCE.md`; how to test in microseconds, under a seed, in `docs/TESTING.md`. Each of Mesh's words has its example in the README.

mod actor;
mod address;
mod clock;
mod entropy;
mod error;
mod exit;
mod group;
mod job;
pub mod limits;
mod mailbox;
mod name;
mod pid;
mod probe;
mod process;
mod reference;
mod registry;
mod reply_to;
mod room;
mod scheduler;
mod service;
mod signal;
mod supervisor;
mod sync;
mod system;
pub mod telemetry;
mod timer;

#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sim")]
pub mod sim;
#[cfg(any(feature = "http-tls", feature = "postgres-tls"))]
mod tls;
#[cfg(feature = "ws")]
pub mod ws;

pub use actor::{Actor, Flow};
pub use address::Address;
pub use clock::{Clock, SystemClock};
pub use entropy::{Entropy, OsEntropy, SeededEntropy};
pub use error::{CallError, NameError, SendError, StartError};
pub use exit::{ExitKind, ExitReason};
pub use group::Groups;
pub use job::{Job, JobError, JobOwner};
pub use mailbox::{Capacity, Overflow};
pub use pid::Pid;
pub use probe::Probe;
pub use process::context::{Context, Event};
pub use process::info::{ProcessInfo, ProcessStatus};
pub use reference::Ref;
pub use reply_to::ReplyTo;
pub use room::{BroadcastReport, RoomMessage, RoomPolicy, Rooms};
pub use scheduler::{Scheduler, Task, TokioScheduler};
pub use service::state::StateError;
pub use signal::Signal;
pub use supervisor::{
    AutoShutdown, ChildCounts, ChildInfo, ChildSpec, ChildType, DynamicSupervisor, RestartType,
    ShutdownType, Strategy, Supervisor, SupervisorHandle,
};
pub use system::{Inspection, RoomInfo, ShutdownTimeout, System, SystemBuilder, SystemCounts};
pub use timer::{Elapsed, TimerRef};

/// The examples of the README, which name every feature.
#[cfg(all(doctest, feature = "http", feature = "ws", feature = "postgres"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// The examples of the page on testing.
#[cfg(all(doctest, feature = "sim"))]
#[doc = include_str!("../docs/TESTING.md")]
struct Testing;
