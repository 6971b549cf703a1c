//! monitors
