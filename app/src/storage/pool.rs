//! The pool of connections: the first child of the storage supervisor after the private server's keeper.

use std::time::Duration;

use mesh_runtime::postgres::{self, Options, Pool};
use mesh_runtime::{ChildSpec, System};

use super::database::Access;

/// The name of the pool's process.
pub const NAME: &str = "PgPool";

/// Connections at most. The private server allows 60; a handful serves a small machine, and waiting is bounded.
const SIZE_MAX: u32 = 16;

/// How long somebody waits for a connection before hearing that the database is away.
const CHECKOUT_TIMEOUT: Duration = Duration::from_secs(5);

/// The pool as a child; it starts degraded while the database is away.
#[must_use]
pub fn child(access: Access) -> ChildSpec {
    let options = Options {
        size_max: SIZE_MAX,
        checkout_timeout: CHECKOUT_TIMEOUT,
        ..access.options
    };
    postgres::pool(NAME, access.config, options)
}

/// The pool, whatever life of it runs.
#[must_use]
pub fn named(system: &System) -> Pool {
    Pool::named(system, NAME)
}
