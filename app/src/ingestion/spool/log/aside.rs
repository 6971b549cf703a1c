//! Copies of damaged files, for who wants to look what can be saved by hand.

use std::io;

use super::Log;
use crate::ingestion::spool::file::SpoolFile;

/// Copies that are kept at most, so that a disk that goes bad does not fill up with them.
const KEPT_MAX: usize = 8;

/// How much is copied at once.
const STEP_BYTES: usize = 1 << 20;

const PREFIX: &str = "damaged-";

impl Log {
    /// Keeps a copy of the first `until` bytes of a file before anything is written over them; says in words where, for the log.
    pub(super) fn keep_aside(
        &self,
        file: &dyn SpoolFile,
        generation: u64,
        missing_from: u64,
        until: u64,
    ) -> String {
        let name = format!("{PREFIX}{generation:06}-{missing_from}.log");
        match self.copy(file, &name, until) {
            Ok(true) => format!("a copy is kept as {name}"),
            Ok(false) => format!("{KEPT_MAX} copies are kept already, and no other is made"),
            Err(error) => format!("no copy could be made: {error}"),
        }
    }

    fn copy(&self, file: &dyn SpoolFile, name: &str, until: u64) -> io::Result<bool> {
        let names = self.directory.names()?;
        if names.iter().any(|kept| kept == name) {
            return Ok(true);
        }
        if names.iter().filter(|kept| kept.starts_with(PREFIX)).count() >= KEPT_MAX {
            return Ok(false);
        }
        let copied = self.directory.create(name, until).and_then(|copy| {
            let mut offset = 0;
            let mut bytes = vec![0; STEP_BYTES];
            while offset < until {
                let len =
                    usize::try_from(until - offset).map_or(STEP_BYTES, |left| left.min(STEP_BYTES));
                file.read_at(offset, &mut bytes[..len])?;
                copy.write_at(offset, &bytes[..len])?;
                offset += len as u64;
            }
            copy.sync()
        });
        if copied.is_err() {
            // A half copy says less than none; an error here would hide the first one.
            let _ = self.directory.remove(name);
        }
        copied.map(|()| true)
    }
}
