//! Mesher: self-hosted error monitoring.

pub mod domain;
pub mod ingestion;
pub mod pressure;
pub mod processing;
pub mod protocol;
pub mod storage;
