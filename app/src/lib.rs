//! Mesher: self-hosted error monitoring.
