//! The processes that store chunks: each one at a time, in the order they come; neighbouring chunks go to different ones.

use std::sync::Arc;
use std::time::Duration;

use mesh_runtime::postgres::Pool;
use mesh_runtime::{
    Actor, Address, CallError, ChildSpec, Context, ExitReason, Flow, NameError, ReplyTo, System,
};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::ahead::{Ahead, WAIT_MAX};
use super::statements::Statements;
use super::turn::{CHUNKS_UNDER_WAY_MAX, Turn};
use super::{Chunk, Committed, WriteError, write_chunk, write_prepared};
use crate::storage::pool;

/// The name of the process that stores while there is but one chunk at a time.
pub const NAME: &str = "StorageWriter";

/// All of their names, by their lanes.
pub const NAMES: [&str; CHUNKS_UNDER_WAY_MAX] = [NAME, "StorageWriter1", "StorageWriter2"];

/// How long [`StorageWriterHandle::write`] waits, from the chunk's turn on. A chunk takes milliseconds; this is for a database that crawls.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// One of those who write events.
#[derive(Debug)]
pub struct StorageWriter {
    system: System,
    pool: Pool,
    ahead: Ahead,
    /// A chunk whose commit nobody answered, and what it came to if it was committed.
    unknown: Option<Unknown>,
}

#[derive(Debug)]
struct Unknown {
    spool_id: Uuid,
    epoch: i64,
    next: u64,
    committed: Committed,
}

/// What the writer understands.
#[derive(Debug)]
pub enum StorageWriterMessage {
    /// Store this when its turn comes; one attempt.
    WriteChunk(Arc<Chunk>, Turn, ReplyTo<Result<Committed, WriteError>>),
}

impl Actor for StorageWriter {
    /// How long what is copied before its turn waits for it.
    type Args = Duration;
    type Message = StorageWriterMessage;

    async fn init(
        wait_max: Duration,
        cx: &mut Context<StorageWriterMessage>,
    ) -> Result<Self, ExitReason> {
        let system = cx.system();
        Ok(StorageWriter {
            pool: pool::named(&system),
            system,
            ahead: Ahead::new(wait_max),
            unknown: None,
        })
    }

    async fn handle(
        &mut self,
        message: StorageWriterMessage,
        _cx: &mut Context<StorageWriterMessage>,
    ) -> Flow {
        let StorageWriterMessage::WriteChunk(chunk, turn, reply) = message;
        reply.reply(Box::pin(self.write(&chunk, &turn)).await);
        Flow::Continue
    }
}

impl StorageWriter {
    /// One attempt, and a second when the first one's commit was not answered: the second reads what became of it.
    async fn write(&mut self, chunk: &Chunk, turn: &Turn) -> Result<Committed, WriteError> {
        match self.attempt(chunk, turn).await {
            Err(WriteError::CommitUnknown(committed)) if chunk.moves_the_spool() => {
                self.unknown = Some(Unknown {
                    spool_id: chunk.spool_id,
                    epoch: chunk.epoch,
                    next: chunk.next,
                    committed: *committed,
                });
                tracing::warn!("a commit was not answered; asking the database what became of it");
            }
            answered => return self.resolve(chunk, answered),
        }
        let mut second = self.attempt(chunk, turn).await;
        if matches!(&second, Err(WriteError::Database(error)) if error.is_closed()) {
            // The connection that broke was lent out again before anybody had noticed.
            second = self.attempt(chunk, turn).await;
        }
        self.resolve(chunk, second)
    }

    async fn attempt(&mut self, chunk: &Chunk, turn: &Turn) -> Result<Committed, WriteError> {
        if !turn.has_come() && self.ahead.is_worth_it() {
            let stored = self.ahead.store(&self.system, &self.pool, chunk, turn);
            if let Some(committed) = stored.await? {
                return Ok(committed);
            }
            tracing::debug!("copying a chunk's rows ahead came to nothing");
        }
        // Without a connection in hand: the chunk before may need this very one.
        if !turn.comes().await {
            return Err(WriteError::out_of_turn());
        }
        let mut client = self
            .pool
            .get()
            .await
            .map_err(|error| WriteError::Unavailable(error.to_string()))?;
        let statements = Statements::prepare(|sql| client.prepare_cached(sql)).await?;
        match write_prepared(&mut client, Some(&statements), chunk).await {
            Err(WriteError::Database(error)) if is_forgotten(&error) => {
                tracing::debug!(%error, "the connection's statements are no longer good");
                write_chunk(&mut client, chunk).await
            }
            settled => settled,
        }
    }

    /// An unanswered commit of this very chunk is known to have happened when the spool stands behind it.
    fn resolve(
        &mut self,
        chunk: &Chunk,
        answer: Result<Committed, WriteError>,
    ) -> Result<Committed, WriteError> {
        match answer {
            Err(WriteError::AlreadyReleased { released }) if released == chunk.next => {
                match self.unknown.take() {
                    Some(unknown) if unknown.is_of(chunk) => Ok(unknown.committed),
                    _ => Err(WriteError::AlreadyReleased { released }),
                }
            }
            Err(error) if error.is_transient() => Err(error),
            settled => {
                self.unknown = None;
                settled
            }
        }
    }
}

/// Whether the server knows a prepared statement no longer, or by other types: somebody between us and it hands out connections by turns,
/// or a later version of Mesher changed a table. Nothing was stored.
fn is_forgotten(error: &Error) -> bool {
    error.code().is_some_and(|code| {
        *code == SqlState::INVALID_SQL_STATEMENT_NAME || *code == SqlState::FEATURE_NOT_SUPPORTED
    })
}

impl Unknown {
    fn is_of(&self, chunk: &Chunk) -> bool {
        (self.spool_id, self.epoch, self.next) == (chunk.spool_id, chunk.epoch, chunk.next)
    }
}

/// Client side of the writer.
#[derive(Clone, Debug)]
pub struct StorageWriterHandle {
    system: System,
    writer: Address<StorageWriterMessage>,
}

impl StorageWriterHandle {
    /// The writer that runs; the address outlives its restarts.
    ///
    /// # Errors
    ///
    /// [`NameError`] while none has been started.
    pub fn named(system: &System) -> Result<StorageWriterHandle, NameError> {
        Ok(StorageWriterHandle {
            writer: system.whereis(NAME)?,
            system: system.clone(),
        })
    }

    /// The one for chunks of this turn.
    ///
    /// # Errors
    ///
    /// As [`StorageWriterHandle::named`].
    pub fn of_turn(system: &System, turn: &Turn) -> Result<StorageWriterHandle, NameError> {
        Ok(StorageWriterHandle {
            writer: system.whereis(NAMES[turn.lane()])?,
            system: system.clone(),
        })
    }

    /// Stores a chunk; one attempt, which the caller repeats, with back-off, as long as the error is transient.
    ///
    /// [`WriteError::AlreadyReleased`] at the chunk's `next` means that it was stored by an attempt whose answer was lost.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; [`WriteError::Unanswered`] when the writer itself does not answer.
    pub async fn write(&self, chunk: Arc<Chunk>) -> Result<Committed, WriteError> {
        self.write_in_turn(chunk, Turn::now()).await
    }

    /// [`StorageWriterHandle::write`] when its turn comes, by the writer of that turn. Much of it is done before.
    ///
    /// # Errors
    ///
    /// As [`StorageWriterHandle::write`]; [`WriteError::Unavailable`] if the turn never comes.
    pub async fn write_in_turn(
        &self,
        chunk: Arc<Chunk>,
        turn: Turn,
    ) -> Result<Committed, WriteError> {
        let own = turn.clone();
        let answer = self.writer.call_timeout(Duration::MAX, |reply| {
            StorageWriterMessage::WriteChunk(chunk, turn, reply)
        });
        // The chunk before may be held up for longer than any chunk takes.
        let late = async {
            own.comes().await;
            self.system.sleep(WRITE_TIMEOUT).await;
        };
        let answer = tokio::select! {
            biased;
            answer = answer => answer,
            () = late => Err(CallError::Timeout),
        };
        answer.unwrap_or_else(|error| {
            let why = error.to_string();
            Err(match error {
                CallError::NoProcess | CallError::Full => WriteError::Unavailable(why),
                _ => WriteError::Unanswered(why),
            })
        })
    }
}

/// The writers as children.
pub fn children() -> impl Iterator<Item = ChildSpec> {
    children_with(WAIT_MAX)
}

/// The same with another longest time that what is copied before its turn waits for it.
pub fn children_with(wait_max: Duration) -> impl Iterator<Item = ChildSpec> {
    NAMES
        .into_iter()
        .map(move |name| ChildSpec::worker::<StorageWriter>(name, wait_max))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, SystemTime};

    use mesh_runtime::{Clock, Context, ExitReason, System, SystemClock};
    use uuid::Uuid;

    use super::{
        Ahead, Chunk, Committed, NAMES, StorageWriter, StorageWriterHandle, StorageWriterMessage,
        Turn, Unknown, WAIT_MAX, WRITE_TIMEOUT, WriteError,
    };
    use crate::storage::pool;

    fn chunk(next: u64) -> Chunk {
        Chunk {
            spool_id: Uuid::nil(),
            epoch: 1,
            released: 0,
            next,
            events: vec![],
            quarantined: vec![],
            outcomes: vec![],
        }
    }

    fn writer(unknown: Option<u64>) -> StorageWriter {
        let system = System::new();
        StorageWriter {
            pool: pool::named(&system),
            system,
            ahead: Ahead::new(WAIT_MAX),
            unknown: unknown.map(|next| Unknown {
                spool_id: Uuid::nil(),
                epoch: 1,
                next,
                committed: Committed::default(),
            }),
        }
    }

    #[tokio::test]
    async fn an_unanswered_commit_is_believed_when_the_spool_stands_behind_it() {
        let released = |released| Err(WriteError::AlreadyReleased { released });
        assert!(writer(Some(7)).resolve(&chunk(7), released(7)).is_ok());
        // Another chunk's, or a spool that stands elsewhere: no answer to hand on.
        assert!(writer(Some(6)).resolve(&chunk(7), released(7)).is_err());
        assert!(writer(Some(7)).resolve(&chunk(7), released(8)).is_err());
        assert!(writer(None).resolve(&chunk(7), released(7)).is_err());
    }

    #[tokio::test]
    async fn the_question_stays_open_until_the_database_answers() {
        let mut writer = writer(Some(7));
        let away = Err(WriteError::Unavailable("away".into()));
        assert!(writer.resolve(&chunk(7), away).is_err());
        assert!(writer.unknown.is_some());
        assert!(writer.resolve(&chunk(7), Ok(Committed::default())).is_ok());
        assert!(writer.unknown.is_none());
    }

    /// A clock that can be put forward.
    #[derive(Debug, Default)]
    struct ForwardClock(SystemClock, AtomicU64);

    impl Clock for ForwardClock {
        fn now(&self) -> Duration {
            self.0.now() + Duration::from_secs(self.1.load(Ordering::Relaxed))
        }

        fn wall(&self) -> SystemTime {
            self.0.wall()
        }
    }

    /// A writer that answers when the turn comes, or never.
    async fn answered(answers: bool) -> Result<Committed, WriteError> {
        let clock = Arc::new(ForwardClock::default());
        let system = System::builder().clock(clock.clone()).build();
        let writer = system.spawn(
            async move |mut cx: Context<StorageWriterMessage>| -> ExitReason {
                let StorageWriterMessage::WriteChunk(_, turn, reply) = cx.receive().await;
                turn.comes().await;
                if !answers {
                    std::future::pending::<()>().await;
                }
                reply.reply(Ok(Committed::default()));
                ExitReason::normal()
            },
        );
        let (turn, giver) = Turn::now().next();
        system.register(NAMES[turn.lane()], &writer).unwrap();
        let handle = StorageWriterHandle::of_turn(&system, &turn).unwrap();
        let a_little = Duration::from_millis(20);
        let forward = async || {
            let jump = async {
                clock
                    .1
                    .fetch_add(2 * WRITE_TIMEOUT.as_secs(), Ordering::Relaxed)
            };
            // The timers look at the clock when the first of them would be due: that is one set before the jump.
            tokio::join!(system.sleep(a_little), jump);
            system.sleep(a_little).await;
        };
        let hold_up = async {
            forward().await;
            giver.give();
            if !answers {
                // The turn is seen before the clock goes on.
                system.sleep(a_little).await;
                forward().await;
            }
        };
        tokio::join!(handle.write_in_turn(Arc::new(chunk(7)), turn), hold_up).0
    }

    #[tokio::test]
    async fn the_wait_for_an_answer_begins_with_the_turn() {
        let stored = answered(true).await;
        assert!(stored.is_ok(), "{stored:?}");
        let stored = answered(false).await;
        assert!(
            matches!(stored, Err(WriteError::Unanswered(_))),
            "{stored:?}"
        );
    }
}
