//! The router's seam to storage: two questions, and what their failures mean for the router.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use uuid::Uuid;

use crate::storage::spools::SpoolPosition;
use crate::storage::writer::{Chunk, Committed};

/// Why a chunk is not known to be stored, as far as the router acts on it.
#[derive(Debug)]
pub enum StoreError {
    /// The spool stands there already.
    AlreadyAt(u64),
    /// This life of the router must not write any more: open the position again.
    OutOfStep(String),
    /// Try the same chunk again. When the fate of the commit is unknown, with what was stored if it
    /// was committed after all.
    Away(String, Option<Committed>),
}

/// Where the router stores chunks: the storage writer, or a test's double.
pub trait ChunkStore: fmt::Debug + Send + Sync + 'static {
    /// Opens the position of a spool: writers of its earlier lives are refused from now on. An
    /// error is a text for the log; the router asks again.
    fn open(&self, spool_id: Uuid) -> BoxFuture<'_, Result<SpoolPosition, String>>;

    /// Stores a chunk, all of it or nothing.
    fn write(&self, chunk: Arc<Chunk>) -> BoxFuture<'_, Result<Committed, StoreError>>;
}
