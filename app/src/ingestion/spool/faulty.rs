//! A disk in memory that loses what was not synced, sector by sector, and fails when told.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::{Condvar, Mutex};

use super::file::{DirectoryLock, SpoolDirectory, SpoolFile};

const SECTOR_BYTES: usize = 64;

#[derive(Debug, Default)]
struct Content {
    /// What reads see: the page cache.
    cached: Vec<u8>,
    /// What survives a crash.
    durable: Vec<u8>,
    /// Sectors written since they were last durable.
    dirty: Vec<usize>,
}

/// What shall go wrong.
#[derive(Debug, Default)]
struct Plan {
    /// Operations (writes and syncs) until one fails; `None`: none does.
    fail_after: Option<u64>,
    operations: u64,
    seed: u64,
}

#[derive(Debug, Default)]
struct Shared {
    files: Mutex<BTreeMap<String, Arc<Mutex<Content>>>>,
    plan: Mutex<Plan>,
    is_locked: Arc<AtomicBool>,
    is_out_of_space: AtomicBool,
    reads: Reads,
}

/// Reads that are made to wait.
#[derive(Debug, Default)]
struct Reads {
    are_held: Mutex<bool>,
    go_on: Condvar,
    waiting: AtomicUsize,
    fail: AtomicBool,
}

/// The faulty disk; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(super) struct FaultyDisk {
    shared: Arc<Shared>,
}

impl FaultyDisk {
    pub(super) fn with_seed(seed: u64) -> FaultyDisk {
        let disk = FaultyDisk::default();
        disk.shared.plan.lock().seed = seed;
        disk
    }

    /// The `operations`-th write or sync from now fails, and takes a random half of what it was
    /// about with it.
    pub(super) fn fail_after(&self, operations: u64) {
        let mut plan = self.shared.plan.lock();
        plan.operations = 0;
        plan.fail_after = Some(operations);
    }

    /// No new file finds room.
    pub(super) fn fill_up(&self, is_full: bool) {
        self.shared
            .is_out_of_space
            .store(is_full, Ordering::Relaxed);
    }

    /// The power fails: of every unsynced sector either the old or the new content remains.
    pub(super) fn crash(&self) {
        let mut plan = self.shared.plan.lock();
        for content in self.shared.files.lock().values() {
            let mut content = content.lock();
            let dirty = std::mem::take(&mut content.dirty);
            for sector in dirty {
                if plan.toss() {
                    content.persist(sector);
                }
            }
            content.cached = content.durable.clone();
        }
    }

    /// Changes durable bytes behind the spool's back.
    pub(super) fn edit(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let files = self.shared.files.lock();
        let mut content = files[name].lock();
        let mut bytes = content.cached.clone();
        change(&mut bytes);
        content.cached.clone_from(&bytes);
        content.durable = bytes;
        content.dirty.clear();
    }

    /// No read ends from now on, or all that wait and those to come do.
    pub(super) fn hold_reads(&self, are_held: bool) {
        *self.shared.reads.are_held.lock() = are_held;
        self.shared.reads.go_on.notify_all();
    }

    /// How many reads wait.
    pub(super) fn reads_waiting(&self) -> usize {
        self.shared.reads.waiting.load(Ordering::Relaxed)
    }

    /// The next read fails.
    pub(super) fn fail_next_read(&self) {
        self.shared.reads.fail.store(true, Ordering::Relaxed);
    }

    fn begin_read(&self) -> io::Result<()> {
        let reads = &self.shared.reads;
        let mut are_held = reads.are_held.lock();
        if *are_held {
            reads.waiting.fetch_add(1, Ordering::Relaxed);
            reads.go_on.wait_while(&mut are_held, |are_held| *are_held);
            reads.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        match reads.fail.swap(false, Ordering::Relaxed) {
            true => Err(io::Error::other("the disk cannot be read")),
            false => Ok(()),
        }
    }

    /// Writes and syncs so far.
    pub(super) fn operations(&self) -> u64 {
        self.shared.plan.lock().operations
    }

    fn step(&self) -> io::Result<()> {
        let mut plan = self.shared.plan.lock();
        plan.operations += 1;
        if plan.fail_after == Some(plan.operations) {
            return Err(io::Error::other("the disk broke"));
        }
        Ok(())
    }
}

impl Plan {
    /// A coin (splitmix64).
    fn toss(&mut self) -> bool {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) & 1 == 1
    }
}

impl Content {
    fn persist(&mut self, sector: usize) {
        let start = sector * SECTOR_BYTES;
        let end = (start + SECTOR_BYTES).min(self.cached.len());
        let (cached, durable) = (&self.cached, &mut self.durable);
        durable[start..end].copy_from_slice(&cached[start..end]);
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    content: Arc<Mutex<Content>>,
}

impl SpoolFile for FaultyFile {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.content.lock().cached.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.disk.begin_read()?;
        let content = self.content.lock();
        let start = usize::try_from(offset).unwrap();
        let bytes = content
            .cached
            .get(start..start + into.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let failed = self.disk.step();
        let mut content = self.content.lock();
        let start = usize::try_from(offset).unwrap();
        let bytes = match failed {
            Ok(()) => bytes,
            Err(_) => &bytes[..bytes.len() / 2],
        };
        content.cached[start..start + bytes.len()].copy_from_slice(bytes);
        if !bytes.is_empty() {
            let sectors = start / SECTOR_BYTES..=(start + bytes.len() - 1) / SECTOR_BYTES;
            content.dirty.extend(sectors);
        }
        failed
    }

    /// A failed sync writes some sectors, forgets that the others are dirty, and lets reads go on
    /// seeing them: as Linux does.
    fn sync(&self) -> io::Result<()> {
        let failed = self.disk.step();
        let mut content = self.content.lock();
        let dirty = std::mem::take(&mut content.dirty);
        for sector in dirty {
            if failed.is_ok() || self.disk.shared.plan.lock().toss() {
                content.persist(sector);
            }
        }
        failed
    }
}

struct Unlock(Arc<AtomicBool>);

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl SpoolDirectory for FaultyDisk {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn lock(&self) -> io::Result<Option<DirectoryLock>> {
        let flag = &self.shared.is_locked;
        Ok((!flag.swap(true, Ordering::SeqCst))
            .then(|| Box::new(Unlock(flag.clone())) as DirectoryLock))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.shared.files.lock().keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn SpoolFile>> {
        let files = self.shared.files.lock();
        Ok(Arc::new(FaultyFile {
            disk: self.clone(),
            content: files.get(name).ok_or(io::ErrorKind::NotFound)?.clone(),
        }))
    }

    /// A full disk leaves an empty file behind, as a real one does.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn SpoolFile>> {
        let bytes = usize::try_from(bytes).unwrap();
        let mut files = self.shared.files.lock();
        let content = files.entry(name.to_owned()).or_default().clone();
        {
            let mut content = content.lock();
            if content.cached.len() < bytes {
                if self.shared.is_out_of_space.load(Ordering::Relaxed) {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                content.cached.resize(bytes, 0);
                content.durable.resize(bytes, 0);
            }
        }
        Ok(Arc::new(FaultyFile {
            disk: self.clone(),
            content,
        }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = self.shared.files.lock().remove(name);
        removed.map(drop).ok_or(io::ErrorKind::NotFound.into())
    }
}
