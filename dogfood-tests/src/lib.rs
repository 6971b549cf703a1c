//! The stress suite.
