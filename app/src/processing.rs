//! Processing: what turns an event's bytes into an event that knows its issue.

pub mod fan_out;
pub mod fingerprint;
pub mod grouping;
mod lanes;
pub mod normalize;
mod pace;
pub mod parameterize;
mod processor;
pub mod scrub;
mod workers;

use mesh_runtime::{ChildSpec, Strategy, Supervisor};

pub use self::fan_out::{FanOut, StoredChunk};
pub use self::processor::{Group, ProcessorMessage};
pub use self::workers::{PROCESSOR_POOL, Processors, Unprocessed};

/// Name of the supervisor of this stage.
pub const PROCESSING: &str = "ProcessingSupervisor";

/// The stage as a child of the root: `one_for_one`, since processors share nothing.
#[must_use]
pub fn child(workers: usize) -> ChildSpec {
    ChildSpec::supervisor(PROCESSING, move || {
        Supervisor::new(Strategy::OneForOne).child(workers::child(workers))
    })
}

/// The stage with another way to group, for tests that need one that crashes.
#[must_use]
pub fn child_with(workers: usize, group: Group) -> ChildSpec {
    ChildSpec::supervisor(PROCESSING, move || {
        Supervisor::new(Strategy::OneForOne).child(workers::child_with(workers, group))
    })
}
