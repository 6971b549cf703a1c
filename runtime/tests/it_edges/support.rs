//! What the tests of the edges share.

pub(crate) mod alone;
pub(crate) mod certificate;
pub(crate) mod database;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod site;
