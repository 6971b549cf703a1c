//! The libraries, and the raw form beside them.

pub(crate) mod mesh;
pub(crate) mod tokio_raw;
