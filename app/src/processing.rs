//! Processing: what turns an event's bytes into an event that knows its issue.

pub mod fingerprint;
pub mod grouping;
pub mod normalize;
pub mod parameterize;
pub mod scrub;
