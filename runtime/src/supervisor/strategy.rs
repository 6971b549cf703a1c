//! `Strategy`: who is restarted when a child ends; `AutoShutdown`: when the supervisor has nothing left to do.

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

/// Whether a supervisor ends by itself, with `Shutdown`, when significant children have ended by themselves for good. As OTP 24.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AutoShutdown {
    /// It does not; it takes no significant children.
    #[default]
    Never,
    /// When one of them has.
    AnySignificant,
    /// When the last of them that ran has.
    AllSignificant,
}
