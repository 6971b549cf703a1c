//! Sentry's wire format: pure functions from bytes to values.
