//! The libraries, and the raw form beside them.

pub(crate) mod actix;
pub(crate) mod bastion;
pub(crate) mod kameo;
pub(crate) mod mesh;
pub(crate) mod ractor;
pub(crate) mod tokio_raw;
pub(crate) mod xtra;
