//! The smallest program for each finding in FINDINGS.md, kept for ever.

#[path = "repros/born_during_shutdown.rs"]
mod born_during_shutdown;
#[path = "repros/exit_signal_after_unlink.rs"]
mod exit_signal_after_unlink;
#[path = "repros/job_awaited_while_it_dies.rs"]
mod job_awaited_while_it_dies;
