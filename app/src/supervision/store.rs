//! The seams between ingestion and storage: where chunks go, and where the keys come from.

use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use mesh_runtime::System;
use mesh_runtime::postgres::Pool;
use uuid::Uuid;

use crate::ingestion::{ChunkStore, Grant, LoadKeys, StoreError};
use crate::storage::projects;
use crate::storage::spools::{self, SpoolPosition};
use crate::storage::writer::{Chunk, Committed, StorageWriterHandle, WriteError};

/// Chunks go to the StorageWriter, found by name for each of them.
pub(super) struct Store {
    system: System,
    pool: Pool,
}

impl Store {
    pub(super) fn new(system: &System, pool: &Pool) -> Store {
        Store {
            system: system.clone(),
            pool: pool.clone(),
        }
    }

    async fn write_once(&self, chunk: Arc<Chunk>) -> Result<Committed, StoreError> {
        let writer = StorageWriterHandle::named(&self.system)
            .map_err(|error| StoreError::Away(error.to_string(), None))?;
        writer.write(chunk).await.map_err(|error| {
            let text = error.to_string();
            match error {
                WriteError::AlreadyReleased { released } => StoreError::AlreadyAt(released),
                WriteError::Superseded { .. } | WriteError::UnknownSpool => {
                    StoreError::OutOfStep(text)
                }
                WriteError::CommitUnknown(committed) => StoreError::Away(text, Some(*committed)),
                _ => StoreError::Away(text, None),
            }
        })
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl ChunkStore for Store {
    fn open(&self, spool_id: Uuid) -> BoxFuture<'_, Result<SpoolPosition, String>> {
        async move {
            let client = self.pool.get().await.map_err(|error| error.to_string())?;
            spools::open(&*client, spool_id)
                .await
                .map_err(|error| error.to_string())
        }
        .boxed()
    }

    fn write(&self, chunk: Arc<Chunk>) -> BoxFuture<'_, Result<Committed, StoreError>> {
        self.write_once(chunk).boxed()
    }
}

/// Every active key with its project, from the database.
pub(super) fn load_keys(pool: &Pool) -> LoadKeys {
    let pool = pool.clone();
    Arc::new(move |_system| {
        let pool = pool.clone();
        async move {
            let client = pool.get().await.map_err(|error| error.to_string())?;
            let rows = projects::keys(&*client)
                .await
                .map_err(|error| error.to_string())?;
            Ok(rows
                .into_iter()
                .filter(|row| row.key.active)
                .map(|row| Grant {
                    public_key: row.key.public_key,
                    project_id: row.key.project_id,
                    number: row.number,
                })
                .collect())
        }
        .boxed()
    })
}
