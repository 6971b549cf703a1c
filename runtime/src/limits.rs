//! Every default bound of the runtime, with its unit and its reason.

use std::time::Duration;

/// Messages a mailbox holds unless its process chooses otherwise. Generous: a healthy process never meets it, a stuck one cannot eat the machine.
pub const MAILBOX_MESSAGES_MAX: usize = 65_536;

/// Room frames one member may have waiting before the oldest is dropped. A browser that is further behind is better told what it missed.
pub const ROOM_FRAMES_MAX: usize = 256;

/// How long `Address::call` waits for an answer, as OTP's `gen_server:call/2`.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Reductions a process may spend before it goes to the back of the queue, as Mesh.
pub const REDUCTIONS_PER_SLICE: u32 = 4_000;

/// Reductions one message costs, so that a slice is at most 125 messages.
pub const REDUCTIONS_PER_MESSAGE: u32 = 32;

/// Longest run of messages before a process yields, whatever its reductions say.
pub const SLICE_TIME_MAX: Duration = Duration::from_micros(50);

/// Restarts a supervisor accepts within [`RESTARTS_WITHIN`] before it gives up.
pub const RESTARTS_MAX: u32 = 3;

/// The sliding window in which [`RESTARTS_MAX`] is counted.
pub const RESTARTS_WITHIN: Duration = Duration::from_secs(5);

/// How long a worker may take to stop before its supervisor kills it, as OTP.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a question to a supervisor may take; starting a child runs its `init`.
pub const SUPERVISOR_CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Events alike that are told line by line within [`STORM_WITHIN`]: panics at one place, restarts by one supervisor. More are told together, as
/// one line with their number, so that a crash storm does not bury what else is said. Enough to see a pattern by.
pub const STORM_LINES_MAX: u32 = 10;

/// The time, from its first line, within which a storm's lines are counted, and after which those that were not told one by one are told together.
pub const STORM_WITHIN: Duration = Duration::from_secs(1);

/// Closures that may block a thread at the same time; more wait their turn.
pub const BLOCKING_THREADS_MAX: usize = 64;

/// Bytes of a registered name.
pub const NAME_BYTES_MAX: usize = 255;

/// Length of one tick of the timer wheel. Deadlines are rounded up to it.
pub const TIMER_TICK: Duration = Duration::from_millis(1);

/// Capacity of a drained queue that is worth keeping; a larger buffer left by a flood is given back.
pub const QUEUE_SPARE_MAX: usize = 1_024;

/// Turns a laboratory gives before it says that its program does not come to an end.
#[cfg(feature = "sim")]
pub const SIM_STEPS_MAX: u64 = 1_000_000;

/// Most virtual time one turn takes in a laboratory; each takes less or as much, drawn from the seed, so that deadlines pass during work too.
#[cfg(feature = "sim")]
pub const SIM_TURN_COST_MAX: Duration = Duration::from_micros(20);

/// Lines a laboratory's trace keeps.
#[cfg(feature = "sim")]
pub const SIM_TRACE_LINES_MAX: usize = 100_000;

/// How long a probe waits for what it expects, unless told.
pub const PROBE_PATIENCE: Duration = Duration::from_secs(5);
