//! Which algorithm groups an event.
