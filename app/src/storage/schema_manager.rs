//! Migrates the database as soon as it answers, and says whether the tables are there.

use std::error::Error;
use std::time::Duration;

use super::database::Access;
use super::migrate::{self, Applied};
use mesh_runtime::{Actor, CallError, ChildSpec, Context, ExitReason, Flow, ReplyTo, System};

/// The name of the process.
pub const NAME: &str = "SchemaManager";

/// Between two attempts while the database is away. A state, not a crash: it costs no restart.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Brings the tables up to date once, at start; then only answers.
#[derive(Debug)]
pub struct SchemaManager {
    access: Access,
    state: SchemaState,
}

/// Whether the tables are as this program expects them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaState {
    /// Not yet; what the last attempt met.
    Waiting(Option<String>),
    /// They are; what was applied at this start.
    Ready(Applied),
}

/// What the schema manager understands.
#[derive(Debug)]
pub enum SchemaManagerMessage {
    /// Tell how things stand.
    State(ReplyTo<SchemaState>),
    /// Try to migrate.
    Migrate,
}

impl Actor for SchemaManager {
    type Args = Access;
    type Message = SchemaManagerMessage;

    async fn init(
        access: Access,
        _cx: &mut Context<SchemaManagerMessage>,
    ) -> Result<Self, ExitReason> {
        Ok(SchemaManager {
            access,
            state: SchemaState::Waiting(None),
        })
    }

    async fn started(&mut self, cx: &mut Context<SchemaManagerMessage>) -> Flow {
        self.migrate(cx).await;
        Flow::Continue
    }

    async fn handle(
        &mut self,
        message: SchemaManagerMessage,
        cx: &mut Context<SchemaManagerMessage>,
    ) -> Flow {
        match message {
            SchemaManagerMessage::State(reply) => reply.reply(self.state.clone()),
            SchemaManagerMessage::Migrate => self.migrate(cx).await,
        }
        Flow::Continue
    }
}

impl SchemaManager {
    async fn migrate(&mut self, cx: &mut Context<SchemaManagerMessage>) {
        match attempt(&self.access, cx).await {
            Ok(applied) => {
                if !applied.names.is_empty() {
                    tracing::info!(
                        migrations.applied = applied.names.len(),
                        "the database is migrated"
                    );
                }
                self.state = SchemaState::Ready(applied);
            }
            Err(error) => {
                let met = error.to_string();
                if self.state != SchemaState::Waiting(Some(met.clone())) {
                    tracing::warn!(error = %met, "the database cannot be migrated yet");
                }
                self.state = SchemaState::Waiting(Some(met));
                let address = cx.address();
                cx.send_after(&address, RETRY_INTERVAL, SchemaManagerMessage::Migrate);
            }
        }
    }
}

/// Migrates on a connection of its own: were this process killed, the lock must go with the connection, and a pool would
/// lend the connection on.
async fn attempt(
    access: &Access,
    cx: &mut Context<SchemaManagerMessage>,
) -> Result<Applied, Box<dyn Error + Send + Sync>> {
    let (mut client, driver) = access.connect(&cx.system()).await?;
    // Linked, so that it dies with us; it ends by itself when the client is dropped.
    cx.spawn_link(move |_: Context<()>| async move {
        // What breaks the connection is reported by the statement that was running.
        let _ = driver.await;
    });
    Ok(migrate::run(&mut client).await?)
}

/// The schema manager as a child.
#[must_use]
pub fn child(access: Access) -> ChildSpec {
    ChildSpec::worker::<SchemaManager>(NAME, access)
}

/// How things stand, by the schema manager's own word.
///
/// # Errors
///
/// [`CallError`] when it does not answer, as while a long migration runs.
pub async fn state(system: &System) -> Result<SchemaState, CallError> {
    let manager = system
        .whereis::<SchemaManagerMessage>(NAME)
        .map_err(|_| CallError::NoProcess)?;
    manager.call(SchemaManagerMessage::State).await
}
