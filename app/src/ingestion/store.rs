//! The router's seam to storage: two questions, and what their failures mean for the router.

use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use mesh_runtime::System;
use mesh_runtime::postgres::Client;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::dictionaries::{DICTIONARIES_MAX, DictionaryStore};
use crate::domain::ProjectId;
use crate::domain::payload::Dictionary;
use crate::storage::payload_dictionaries;
use crate::storage::pool;
use crate::storage::spools::{self, SpoolPosition};
use crate::storage::writer::{Chunk, Committed, StorageWriterHandle, Turn, WriteError};

/// Why a chunk is not known to be stored, as far as the router acts on it.
#[derive(Debug)]
pub enum StoreError {
    /// The spool stands there already.
    AlreadyAt(u64),
    /// This life of the router must not write any more: open the position again.
    OutOfStep(String),
    /// Nothing was stored; try the same chunk again.
    Away(String),
    /// It may be stored; try the same chunk again to find out. With what was stored if it was, where
    /// that is known.
    Unknown(String, Option<Committed>),
}

/// Where the router stores chunks: the storage writer, or a test's double.
pub trait ChunkStore: fmt::Debug + Send + Sync + 'static {
    /// Opens the position of a spool: writers of its earlier lives are refused from now on. An
    /// error is a text for the log; the router asks again.
    fn open(&self, spool_id: Uuid) -> BoxFuture<'_, Result<SpoolPosition, String>>;

    /// Stores a chunk when its turn comes, all of it or nothing.
    fn write(&self, chunk: Arc<Chunk>, turn: Turn) -> BoxFuture<'_, Result<Committed, StoreError>>;
}

/// The storage of a system: positions through its pool, chunks through its writer.
#[derive(Clone, Debug)]
pub struct Storage {
    system: System,
}

impl Storage {
    /// The storage of a system, whether it runs yet or not.
    #[must_use]
    pub fn new(system: &System) -> Storage {
        Storage {
            system: system.clone(),
        }
    }

    async fn client(&self) -> Result<Client, String> {
        let client = pool::named(&self.system).get().await;
        client.map_err(|error| error.to_string())
    }

    async fn open_position(&self, spool_id: Uuid) -> Result<SpoolPosition, String> {
        let client = self.client().await?;
        spools::open(&*client, spool_id)
            .await
            .map_err(|error| WriteError::from(error).to_string())
    }

    async fn write_chunk(&self, chunk: Arc<Chunk>, turn: Turn) -> Result<Committed, StoreError> {
        let writer = StorageWriterHandle::of_turn(&self.system, &turn)
            .map_err(|error| StoreError::Away(format!("storage writer: {error}")))?;
        let written = writer.write_in_turn(chunk, turn).await;
        written.map_err(StoreError::from)
    }
}

impl ChunkStore for Storage {
    fn open(&self, spool_id: Uuid) -> BoxFuture<'_, Result<SpoolPosition, String>> {
        self.open_position(spool_id).boxed()
    }

    fn write(&self, chunk: Arc<Chunk>, turn: Turn) -> BoxFuture<'_, Result<Committed, StoreError>> {
        self.write_chunk(chunk, turn).boxed()
    }
}

impl DictionaryStore for Storage {
    fn newest(
        &self,
        after: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<(ProjectId, Dictionary)>, String>> {
        async move {
            let client = self.client().await?;
            let limit = u16::try_from(DICTIONARIES_MAX).unwrap_or(u16::MAX);
            payload_dictionaries::newest(&*client, after, limit)
                .await
                .map_err(|error| WriteError::from(error).to_string())
        }
        .boxed()
    }

    fn newest_of(
        &self,
        project: ProjectId,
        after: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Dictionary>, String>> {
        async move {
            let client = self.client().await?;
            payload_dictionaries::newest_of(&*client, project, after)
                .await
                .map_err(|error| WriteError::from(error).to_string())
        }
        .boxed()
    }

    fn add(
        &self,
        project: ProjectId,
        dictionary: Arc<Dictionary>,
    ) -> BoxFuture<'_, Result<bool, String>> {
        async move {
            let mut client = self.client().await?;
            match payload_dictionaries::add(&mut client, project, &dictionary).await {
                Ok(()) => Ok(true),
                Err(error) if error.code() == Some(&SqlState::FOREIGN_KEY_VIOLATION) => Ok(false),
                Err(error) => Err(WriteError::from(error).to_string()),
            }
        }
        .boxed()
    }
}

impl From<WriteError> for StoreError {
    fn from(error: WriteError) -> StoreError {
        let why = error.to_string();
        match error {
            WriteError::AlreadyReleased { released } => StoreError::AlreadyAt(released),
            WriteError::CommitUnknown(committed) => StoreError::Unknown(why, Some(*committed)),
            WriteError::Unanswered(_) => StoreError::Unknown(why, None),
            error if error.is_transient() => StoreError::Away(why),
            _ => StoreError::OutOfStep(why),
        }
    }
}
