//! How Mesher speaks of itself: logging now, metrics later.

pub mod logging;
