//! The spool: an event is acknowledged once it is durable here, and read from here in order.
//!
//! One process owns the directory. Appends that arrive while a group is being synced wait in its
//! mailbox and form the next group: one sync covers them all. What was read is kept until the
//! database has said, in the same transaction as the rows, that it is done.

mod file;
mod log;
mod record;
mod segment;
mod serve;
mod view;
mod walk;

#[cfg(test)]
mod faulty;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_damage;
#[cfg(test)]
mod tests_process;

use std::fmt;
use std::path::PathBuf;
#[cfg(test)]
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use mesh_runtime::{Address, CallError, ChildSpec, NameError, ReplyTo, System};
use uuid::Uuid;

#[cfg(test)]
use self::file::SpoolDirectory;
use self::serve::Spool;
use self::view::Cursor;
use crate::pressure::Pressure;

/// Name of the process that owns the spool.
pub const SPOOL: &str = "Spool";

/// Where the spool lies and its bounds.
#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// Its directory, made when missing; one process of one machine may own it.
    pub directory: PathBuf,
    /// Bytes of one preallocated segment.
    pub segment_bytes: u64,
    /// Segments that may exist: how long the database may be away. At least two. Where a spool holds more, it takes nothing until they
    /// are released, and then deletes them.
    pub segments_max: usize,
    /// Bytes of one record.
    pub record_bytes_max: usize,
    /// Records one group of appends may hold; more wait for the next sync.
    pub group_records_max: usize,
    /// Bytes one group of appends may hold, give or take one record.
    pub group_bytes_max: usize,
    /// Records of one chunk.
    pub chunk_records_max: usize,
    /// Bytes of one chunk, give or take one record.
    pub chunk_bytes_max: usize,
    /// How long a chunk waits for more records at most.
    pub linger: Duration,
    /// How long it waits while none arrive.
    pub linger_step: Duration,
    /// How often, while the spool is full, one group is let in to find out whether it still is.
    pub full_pause: Duration,
    /// Where it tells how full it is.
    pub pressure: Pressure,
    /// How long an opening waits for another owner of the directory: a life before this one whose
    /// last group is still being synced, or a process that is just ending.
    pub owner_timeout: Duration,
}

impl SpoolOptions {
    /// The usual bounds: 2 GiB, chunks of 1,600 events, 4 MiB (four are under way at once) or 50 ms.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> SpoolOptions {
        SpoolOptions {
            directory: directory.into(),
            segment_bytes: 64 << 20,
            segments_max: 32,
            record_bytes_max: 4 << 20,
            group_records_max: 4096,
            group_bytes_max: 8 << 20,
            chunk_records_max: 1600,
            chunk_bytes_max: 4 << 20,
            linger: Duration::from_millis(50),
            linger_step: Duration::from_millis(10),
            full_pause: Duration::from_secs(1),
            pressure: Pressure::new(),
            owner_timeout: Duration::from_secs(5),
        }
    }

    /// The same, with so many MiB of segments: a 32nd of that each, and from 8 to 64 MiB. Less than two segments count as two.
    #[must_use]
    pub fn bounded(self, mib: u64) -> SpoolOptions {
        let segment_mib = (mib / 32).clamp(8, 64);
        SpoolOptions {
            segment_bytes: segment_mib << 20,
            segments_max: usize::try_from(mib / segment_mib).map_or(usize::MAX, |max| max.max(2)),
            ..self
        }
    }
}

/// A record that was not appended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AppendError {
    /// The spool is at its bound, or the disk is full: nothing fits until something is released.
    Full,
    /// The record is larger than the limit, in bytes.
    TooLarge(usize),
    /// The spool did not answer: the record may or may not be durable.
    Call(CallError),
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AppendError::Full => f.write_str("the spool is full"),
            AppendError::TooLarge(limit) => write!(f, "the record exceeds {limit} bytes"),
            AppendError::Call(error) => write!(f, "the spool did not answer: {error}"),
        }
    }
}

impl std::error::Error for AppendError {}

/// A run of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpoolChunk {
    /// Sequence of the first record asked for.
    pub from: u64,
    /// Sequence to read from next.
    pub next: u64,
    /// The records, in order, each with its sequence.
    pub records: Vec<(u64, Bytes)>,
    /// Sequences between `from` and `next` the disk no longer holds.
    pub lost: u64,
    /// The first bytes of those among the lost whose place can still be told, as the disk holds them now.
    pub remains: Vec<Bytes>,
}

/// How the spool is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolStatus {
    /// The spool's own name, under which the database keeps its position.
    pub spool_id: Uuid,
    /// Sequence after the last durable record.
    pub end: u64,
    /// Sequence below which everything is done; `None` until the database has told this life of the spool.
    pub released: Option<u64>,
    /// Bytes in segments that hold something not yet released.
    pub used_bytes: u64,
    /// Bytes all segments may take.
    pub bytes_max: u64,
}

impl SpoolStatus {
    /// How many records are not done yet; `None` while nobody can tell.
    #[must_use]
    pub fn waiting(&self) -> Option<u64> {
        Some(self.end.saturating_sub(self.released?))
    }
}

/// What the spool is told.
#[derive(Debug)]
pub struct SpoolMessage(Request);

#[derive(Debug)]
enum Request {
    Append(Bytes, ReplyTo<Result<u64, AppendError>>),
    AppendAll(Vec<Bytes>, ReplyTo<Vec<Result<u64, AppendError>>>),
    Read(u64, ReplyTo<SpoolChunk>),
    Released(u64, ReplyTo<()>),
    Status(ReplyTo<SpoolStatus>),
    ReadDue,
    WasRead(Option<Cursor>),
    /// Look the next segment over for damage.
    Examine,
    FullDue,
}

/// The client's side of the spool; finds the living process anew for each call.
#[derive(Clone, Debug)]
pub struct SpoolHandle {
    system: System,
}

impl SpoolHandle {
    /// The spool of a system.
    #[must_use]
    pub fn new(system: &System) -> SpoolHandle {
        SpoolHandle {
            system: system.clone(),
        }
    }

    fn address(&self) -> Result<Address<SpoolMessage>, CallError> {
        self.system
            .whereis(SPOOL)
            .map_err(|_: NameError| CallError::NoProcess)
    }

    async fn call<T: Send + 'static>(
        &self,
        deadline: Duration,
        make: impl FnOnce(ReplyTo<T>) -> Request,
    ) -> Result<T, CallError> {
        self.address()?
            .call_timeout(deadline, |reply| SpoolMessage(make(reply)))
            .await
    }

    /// Appends a record; returns its sequence once it is durable.
    ///
    /// # Errors
    /// [`AppendError::Call`] leaves open whether the record is durable.
    pub async fn append(&self, record: Bytes, deadline: Duration) -> Result<u64, AppendError> {
        self.call(deadline, |reply| Request::Append(record, reply))
            .await
            .unwrap_or_else(|error| Err(AppendError::Call(error)))
    }

    /// Appends records; returns each one's sequence once it is durable. They are handed over together, and one of them is not kept for
    /// another.
    ///
    /// # Errors
    /// As of [`SpoolHandle::append`], for each by itself.
    pub async fn append_all(
        &self,
        records: Vec<Bytes>,
        deadline: Duration,
    ) -> Vec<Result<u64, AppendError>> {
        let mut results = Vec::with_capacity(records.len());
        let parts = parts(records);
        let calls = parts.into_iter().map(async |part| {
            let len = part.len();
            self.call(deadline, |reply| Request::AppendAll(part, reply))
                .await
                .unwrap_or_else(|error| vec![Err(AppendError::Call(error)); len])
        });
        for part in join_all(calls).await {
            results.extend(part);
        }
        results
    }

    /// Waits for records from sequence `from` on and returns a chunk of them. A second reader
    /// takes the place of a first that still waits.
    ///
    /// # Errors
    /// [`CallError::Timeout`] when none came within `deadline`: ask again.
    pub async fn read(&self, from: u64, deadline: Duration) -> Result<SpoolChunk, CallError> {
        self.call(deadline, |reply| Request::Read(from, reply))
            .await
    }

    /// Tells that everything below `released` is done; returns once it is taken note of.
    ///
    /// # Errors
    /// If the spool does not answer; then its next life must be told.
    pub async fn released(&self, released: u64) -> Result<(), CallError> {
        self.call(Duration::from_secs(30), |reply| {
            Request::Released(released, reply)
        })
        .await
    }

    /// How the spool is doing, and its name.
    ///
    /// # Errors
    /// If the spool does not answer.
    pub async fn status(&self) -> Result<SpoolStatus, CallError> {
        self.call(Duration::from_secs(5), Request::Status).await
    }
}

/// The most records that are handed over together.
const PART_RECORDS_MAX: usize = 256;

/// The most bytes that are handed over together, unless a single record has more.
const PART_BYTES_MAX: usize = 1 << 20;

/// Records in parts that the spool takes whole.
fn parts(records: Vec<Bytes>) -> Vec<Vec<Bytes>> {
    let mut parts: Vec<Vec<Bytes>> = Vec::new();
    let mut bytes = 0;
    for record in records {
        let fits = bytes + record.len() <= PART_BYTES_MAX;
        match parts.last_mut() {
            Some(part) if fits && part.len() < PART_RECORDS_MAX => {
                bytes += record.len();
                part.push(record);
            }
            _ => {
                bytes = record.len();
                parts.push(vec![record]);
            }
        }
    }
    parts
}

/// What a life of the spool starts from.
#[derive(Clone, Debug)]
pub(crate) struct SpoolArgs {
    options: SpoolOptions,
    directory: DirectoryChoice,
}

#[derive(Clone, Debug)]
enum DirectoryChoice {
    Disk,
    #[cfg(test)]
    Given(Arc<dyn SpoolDirectory>),
}

/// The spool as a child of a supervisor.
#[must_use]
pub fn child(options: SpoolOptions) -> ChildSpec {
    ChildSpec::worker::<Spool>(
        SPOOL,
        SpoolArgs {
            options,
            directory: DirectoryChoice::Disk,
        },
    )
}
