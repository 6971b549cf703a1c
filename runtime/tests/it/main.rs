//! The guarantees of `docs/SEMANTICS.md`, each proved by a test named there.

mod bad_values;
mod dead_letters;
mod docs;
mod exit_order;
mod exit_reasons;
mod groups;
mod inspection;
mod jobs;
mod links;
mod mailbox_order;
#[cfg(feature = "metrics")]
mod metrics;
mod monitors;
mod own_executor;
mod probe;
mod public_api;
mod registry;
mod rooms;
mod service_calls;
#[cfg(feature = "sim")]
mod sim;
#[cfg(feature = "sim")]
mod sim_check;
#[cfg(feature = "sim")]
mod sim_network;
mod states;
mod storms;
mod stuck;
mod supervisor_back_off;
mod supervisor_intensity;
mod supervisor_matrix;
mod supervisor_one_for_all;
mod supervisor_one_for_one;
mod supervisor_rest_for_one;
mod supervisor_shutdown;
mod support;
mod timers;
