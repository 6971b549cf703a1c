//! `Strategy`: who is restarted when a child ends.

/// Who is restarted when a child ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// That child alone.
    OneForOne,
    /// All children: they are stopped in reverse order and started in order.
    OneForAll,
    /// That child and those started after it.
    RestForOne,
}
