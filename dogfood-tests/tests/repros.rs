//! The smallest program for each finding in FINDINGS.md, kept for ever.

#[path = "repros/born_during_shutdown.rs"]
mod born_during_shutdown;
#[path = "repros/job_awaited_while_it_dies.rs"]
mod job_awaited_while_it_dies;
