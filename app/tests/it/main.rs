//! The integration tests of Mesher, in one binary.

mod ingestion;
