//! A system that serves a filter on a free port.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use mesh_runtime::{Strategy, Supervisor, SupervisorHandle, System, http};
use warp::{Filter, Reply};

/// Longest a test waits for a thing that must happen; only a broken test ever waits that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A served filter.
pub(crate) struct Site {
    pub(crate) system: System,
    pub(crate) address: SocketAddr,
    pub(crate) tree: SupervisorHandle,
}

/// Serves `filter` under the name `web`.
pub(crate) async fn site<F>(filter: F, options: http::Options) -> Site
where
    F: Filter + Clone + Send + Sync + 'static,
    F::Extract: Reply,
{
    let system = System::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let tree =
        Supervisor::new(Strategy::OneForOne).child(http::server("web", listener, filter, options));
    let tree = system.supervise(tree).await.unwrap();
    Site {
        system,
        address,
        tree,
    }
}

/// Polls `condition` until it holds.
pub(crate) async fn eventually(
    system: &System,
    what: &str,
    mut condition: impl AsyncFnMut() -> bool,
) {
    let wait = async {
        while !condition().await {
            system.sleep(Duration::from_millis(2)).await;
        }
    };
    system
        .timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("never happened: {what}"));
}
