//! Mesher: self-hosted error monitoring.

pub mod dashboard;
