//! The stress and fault suites: against the runtime through its public interface, and against a real `mesher` process from outside, as
//! an SDK and an operator would.
//!
//! Against the runtime: [`seed`] decides, [`stage`] is what a suite plays on, [`machine`] what it costs, [`report`] what it found, [`plot`] and [`page`]
//! what it draws;
//! [`suites`] are the suites. [`laboratory`] holds those that run in the runtime's laboratory, where a seed decides everything, and [`soak`]
//! runs both for hours.
//!
//! Against `mesher`:
//! Modules in the order a suite uses them:
//! [`seed`] decides, [`server`] runs the binary, [`http`] speaks to it, [`load`] sends events and remembers what was promised,
//! [`verify`] compares the promises with the rows; [`throughput`] and [`bars`] measure, [`yardsticks`] the machine; [`kill_nine`], [`kill_processes`], [`sdks`] and [`browser`] are the suites.
//! [`operator`] serves the suite of that name, [`postgres`] that one and `pool`, [`api_probe`] and [`web_socket`] the suite `api`.

use std::error::Error;

pub mod api_probe;
pub mod bars;
pub mod browser;
pub mod burst;
pub mod faults;
pub mod http;
pub mod kill_nine;
pub mod kill_processes;
pub mod laboratory;
pub mod load;
pub mod machine;
pub mod operator;
pub mod page;
pub mod peer;
pub mod plot;
pub mod postgres;
pub mod proxy;
pub mod report;
pub mod sdks;
pub mod seed;
pub mod server;
pub mod soak;
pub mod stage;
pub mod suites;
pub mod throughput;
pub mod verify;
pub mod wait;
pub mod web_socket;
pub mod yardsticks;

/// What stopped a suite: a broken promise or a broken machine, in one line each.
pub type Fault = Box<dyn Error + Send + Sync>;
