//! Reads `postmaster.pid`: is there a server, is it ours, is it ready.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::EmbeddedError;

/// The lock file as it stands at one moment. Two of them are equal only when nobody wrote in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    text: String,
    /// A server that comes up within a second of the last one, with the same number, may write the same.
    modified: Option<SystemTime>,
}

impl Written {
    /// Reads the file of the data directory `data`; `None` when there is none.
    pub(super) fn read(data: &Path) -> Result<Option<Written>, EmbeddedError> {
        let path = data.join("postmaster.pid");
        // Text and time are of one file, though a new server puts another in its place.
        let read = || {
            let mut file = std::fs::File::open(&path)?;
            let modified = file.metadata()?.modified().ok();
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok::<_, std::io::Error>(Written { text, modified })
        };
        match read() {
            Ok(written) => Ok(Some(written)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(EmbeddedError::io("read", &path)(error)),
        }
    }

    /// What it says; `None` when it is not written yet.
    pub(super) fn parse(&self) -> Option<PidFile> {
        PidFile::parse(&self.text)
    }
}

/// What PostgreSQL wrote into its lock file.
///
/// Source: `src/include/utils/pidfile.h` of PostgreSQL: one value a line, in this order: process id, data directory, start
/// time, port, socket directory, listen address, shared memory key, status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PidFile {
    pub(super) pid: i32,
    data: PathBuf,
    status: String,
}

impl PidFile {
    /// Reads the file of the data directory `data`; `None` when there is none, or it is not written yet.
    pub(super) fn read(data: &Path) -> Result<Option<PidFile>, EmbeddedError> {
        Ok(Written::read(data)?.and_then(|written| written.parse()))
    }

    pub(super) fn parse(text: &str) -> Option<PidFile> {
        let mut lines = text.lines();
        // A single-user server writes its id negated.
        let pid: i32 = lines.next()?.trim().parse::<i32>().ok()?.checked_abs()?;
        let data = PathBuf::from(lines.next().unwrap_or_default());
        let status = lines.nth(5).unwrap_or_default().trim().to_owned();
        Some(PidFile { pid, data, status })
    }

    /// Whether the server accepts connections.
    pub(super) fn is_ready(&self) -> bool {
        self.status == "ready"
    }

    /// Whether the server is on its way down.
    pub(super) fn is_stopping(&self) -> bool {
        self.status == "stopping"
    }

    /// Whether the process lives and is a PostgreSQL on `data`, not a stranger that got the number later.
    pub(super) fn is_alive_and_ours(&self, data: &Path) -> bool {
        self.data == data && is_alive(self.pid) && is_postgres(self.pid, data)
    }

    /// Whether any process has this number.
    pub(super) fn is_alive(&self) -> bool {
        is_alive(self.pid)
    }
}

/// The process id in a lock file of PostgreSQL (first line), if it says one.
pub(super) fn lock_file_pid(path: &Path) -> Option<i32> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines()
        .next()?
        .trim()
        .parse::<i32>()
        .ok()?
        .checked_abs()
}

fn is_alive(pid: i32) -> bool {
    let Some(pid) = rustix::process::Pid::from_raw(pid) else {
        return false;
    };
    match rustix::process::test_kill_process(pid) {
        Ok(()) => true,
        Err(error) => error == rustix::io::Errno::PERM,
    }
}

/// Whether a process is over, though perhaps nobody has collected it.
pub(super) fn has_ended(pid: i32) -> bool {
    // The state comes after the name, which stands in brackets and may hold anything.
    let is_zombie = || {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = text.rsplit_once(") ").map(|(_, rest)| rest.as_bytes());
        matches!(state, Some([b'Z' | b'X', ..]))
    };
    !is_alive(pid) || is_zombie()
}

/// Whether the process's command line names a PostgreSQL server on `data`.
fn is_postgres(pid: i32, data: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else {
        // Without /proc the number must do; PostgreSQL's own lock then guards the directory.
        return !Path::new("/proc/self/cmdline").exists();
    };
    let mut words = line.split(|byte| *byte == 0);
    let is_server = words.next().is_some_and(|program| {
        let name = program
            .rsplit(|byte| *byte == b'/')
            .next()
            .unwrap_or(program);
        name == b"postgres" || name == b"postmaster"
    });
    is_server && words.any(|word| word == data.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::PidFile;
    #[cfg(target_os = "linux")]
    use super::has_ended;

    /// Elsewhere there is no `/proc` to tell.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_that_nobody_has_collected_has_ended() {
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", "read line"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(!has_ended(pid));
        drop(child.stdin.take());
        while !has_ended(pid) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(has_ended(pid));
    }

    #[test]
    fn files_are_read_line_by_line() {
        let text = "77\n/data\n1700000000\n5432\n/run\n\n  5432001  4\nready   \n";
        let server = PidFile::parse(text).unwrap();
        assert_eq!(server.pid, 77);
        assert!(server.is_ready() && !server.is_stopping());
        // Written in pieces: at first there is no status.
        let young = PidFile::parse("77\n/data\n").unwrap();
        assert!(!young.is_ready() && !young.is_stopping());
        assert_eq!(PidFile::parse(""), None);
        assert_eq!(PidFile::parse("x\n"), None);
        // This test is alive, but no PostgreSQL.
        let me = PidFile::parse(&format!("{}\n/data\n", std::process::id())).unwrap();
        assert!(me.is_alive() && !me.is_alive_and_ours(Path::new("/data")));
    }
}
