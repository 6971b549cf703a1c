//! Keeps the private server up: looks every second, and starts it again when it is gone.

use std::sync::Arc;
use std::time::Duration;

use mesh_runtime::{Actor, ChildSpec, Context, ExitReason, Flow};

use super::embedded::Cluster;

/// The name of the process.
pub const NAME: &str = "PostgresKeeper";

/// Between two looks, which read one small file.
const INTERVAL: Duration = Duration::from_secs(1);

/// Watches over the server of a [`Cluster`].
#[derive(Debug)]
pub struct Keeper {
    cluster: Arc<Cluster>,
    last_error: Option<String>,
}

/// What the keeper understands.
#[derive(Clone, Copy, Debug)]
pub enum KeeperMessage {
    /// Look whether the server is up.
    Look,
}

impl Actor for Keeper {
    type Args = Arc<Cluster>;
    type Message = KeeperMessage;

    async fn init(
        cluster: Arc<Cluster>,
        cx: &mut Context<KeeperMessage>,
    ) -> Result<Self, ExitReason> {
        let address = cx.address();
        cx.send_interval(&address, INTERVAL, KeeperMessage::Look)
            .expect("the interval is not zero");
        Ok(Keeper {
            cluster,
            last_error: None,
        })
    }

    async fn handle(&mut self, message: KeeperMessage, cx: &mut Context<KeeperMessage>) -> Flow {
        let KeeperMessage::Look = message;
        let cluster = Arc::clone(&self.cluster);
        let met = match cx.system().blocking(move || cluster.revive()).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if met.is_some() && met != self.last_error {
            tracing::error!(
                error = met.as_deref(),
                "the private PostgreSQL cannot be started again"
            );
        }
        self.last_error = met;
        Flow::Continue
    }
}

/// The keeper as a child.
#[must_use]
pub fn child(cluster: Arc<Cluster>) -> ChildSpec {
    ChildSpec::worker::<Keeper>(NAME, cluster)
}
