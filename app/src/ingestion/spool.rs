//! The spool: durable before acknowledged, read in order.

mod file;
#[cfg(test)]
mod faulty;
mod log;
mod record;
mod segment;
#[cfg(test)]
mod tests;
mod view;
