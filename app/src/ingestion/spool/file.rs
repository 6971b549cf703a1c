//! The file door: all the spool asks of a disk, so that a test can put a disk that loses unsynced writes behind it.

use std::any::Any;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation};

/// One preallocated file of the spool.
pub(super) trait SpoolFile: Send + Sync + fmt::Debug {
    /// Length in bytes.
    fn len_bytes(&self) -> io::Result<u64>;
    /// Fills `into` from `offset`; an error when the file is shorter.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`. Not durable before [`SpoolFile::sync`].
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes every earlier write durable. After an error nothing is known about them, and the
    /// file must not be synced again in the hope that it was a passing trouble.
    fn sync(&self) -> io::Result<()>;
}

/// What keeps a directory ours; dropping it gives the directory up.
pub(super) type DirectoryLock = Box<dyn Any + Send + Sync>;

/// The spool's directory.
pub(super) trait SpoolDirectory: Send + Sync + fmt::Debug {
    /// Where it is, for messages.
    fn place(&self) -> String;
    /// Takes the directory for one owner; `Ok(None)` when another has it.
    fn lock(&self) -> io::Result<Option<DirectoryLock>>;
    /// Names of the files in it.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Opens a file that exists, however long it is. Needs no room on the disk.
    fn open(&self, name: &str) -> io::Result<Arc<dyn SpoolFile>>;
    /// Makes a file with `bytes` preallocated, or brings one to size that was left short by a crash
    /// or a full disk; file and directory entry are durable on return. Without room, nothing is
    /// taken.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn SpoolFile>>;
    /// Deletes a file; who has it open may read on. It may come back with a crash.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// The disk itself.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Opens `path`, creating it when missing. Its own entry in the parent is made durable.
    pub(super) fn open(path: &Path) -> io::Result<Disk> {
        fs::create_dir_all(path)?;
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        Ok(Disk {
            path: path.to_owned(),
        })
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl SpoolDirectory for Disk {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn lock(&self) -> io::Result<Option<DirectoryLock>> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.path.join("lock"))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn names(&self) -> io::Result<Vec<String>> {
        fs::read_dir(&self.path)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn SpoolFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path.join(name))?;
        Ok(Arc::new(DiskFile { file }))
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn SpoolFile>> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(self.path.join(name))?;
        let before = file.metadata()?.len();
        if before < bytes {
            if let Err(error) = preallocate(&file, bytes) {
                // What was reserved in part is given back: others on this disk need it more.
                file.set_len(before)?;
                return Err(error);
            }
            file.sync_all()?;
            self.sync_directory()?;
        }
        Ok(Arc::new(DiskFile { file }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }
}

/// Reserves the blocks, so that a full disk shows when a segment is made and not in the middle of
/// a group; filesystems that cannot reserve get zeroes written.
fn preallocate(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            const STEP_BYTES: usize = 1 << 20;
            let zeroes = vec![0; STEP_BYTES];
            let mut offset = file.metadata()?.len();
            while offset < bytes {
                let step = usize::try_from(bytes - offset)
                    .unwrap_or(STEP_BYTES)
                    .min(STEP_BYTES);
                file.write_all_at(&zeroes[..step], offset)?;
                offset += step as u64;
            }
            Ok(())
        }
        Err(errno) => Err(errno.into()),
    }
}

#[derive(Debug)]
struct DiskFile {
    file: File,
}

impl SpoolFile for DiskFile {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
