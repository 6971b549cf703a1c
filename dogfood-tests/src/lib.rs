//! The stress and fault suites that drive a real `mesher` process from outside, as an SDK and an operator would.
//!
//! Modules in the order a suite uses them:
//! [`seed`] decides, [`server`] runs the binary, [`http`] speaks to it, [`load`] sends events and remembers what was promised,
//! [`verify`] compares the promises with the rows; [`throughput`] measures; [`kill_nine`], [`kill_processes`], [`sdks`] and [`browser`] are the suites.
//! [`operator`] and [`postgres`] serve the suite of that name, [`api_probe`] and [`web_socket`] the suite `api`.

use std::error::Error;

pub mod api_probe;
pub mod browser;
pub mod http;
pub mod kill_nine;
pub mod kill_processes;
pub mod load;
pub mod operator;
pub mod postgres;
pub mod sdks;
pub mod seed;
pub mod server;
pub mod throughput;
pub mod verify;
pub mod wait;
pub mod web_socket;

/// What stopped a suite: a broken promise or a broken machine, in one line each.
pub type Fault = Box<dyn Error + Send + Sync>;
