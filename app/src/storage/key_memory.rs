//! The keys as a server knew them last, in a small file of the data directory: with it the door opens before the database answers.
//!
//! The file holds no key, only the SHA-256 of each, which tells whether a key that is presented is one of them. It names the database
//! it was read from, so that the settings of another one never open the door to this one's projects, and the program that wrote it:
//! another one accepts nothing before its migration is known to work, for what it accepts the one before might not read. It ends with a checksum; whatever
//! is not whole counts as no memory at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio_postgres::Config;

use super::migrate;
use crate::domain::event::RAW_EVENT_VERSION;
use crate::domain::{ProjectId, ProjectNumber, PublicKey};

/// The name of the file; its form is part of the name.
const FILE: &str = "known-keys.1";

/// The largest file that is written or read, in bytes: some 80,000 keys. An installation has hundreds.
const BYTES_MAX: u64 = 16 << 20;

/// What a key is remembered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of a key. A plain hash will do: a key is 128 bits of chance, nothing to guess.
    #[must_use]
    pub fn of(key: &PublicKey) -> KeyDigest {
        KeyDigest(Sha256::digest(key.as_bytes()).into())
    }
}

impl Serialize for KeyDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for KeyDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digest = bytes(&text).ok_or_else(|| serde::de::Error::custom("not a digest"))?;
        Ok(KeyDigest(digest))
    }
}

/// An active key, and what it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedKey {
    /// Which key.
    pub key: KeyDigest,
    /// The project it may send to.
    pub project_id: ProjectId,
    /// The number of that project.
    pub number: ProjectNumber,
    /// Events a second it may send; 0 is no limit, `None` the server's default.
    pub rate_limit: Option<u32>,
    /// Events a second that all keys of the project may send together; 0 and `None` are no limit.
    pub project_rate_limit: Option<u32>,
    /// Of a million events of the project, how many are kept.
    pub kept_per_million: u32,
}

/// What the file says.
#[derive(Debug, Serialize, Deserialize)]
struct Memory {
    /// Which database the keys are of.
    database: String,
    /// What wrote it, as far as others could not go on with what it does.
    program: String,
    keys: Vec<RememberedKey>,
}

/// The file of one data directory and one database. Everything it does blocks.
#[derive(Clone, Debug)]
pub struct KeyMemory {
    path: PathBuf,
    database: String,
    program: String,
}

impl KeyMemory {
    /// The memory of the server of `database_url`, or of the private cluster of `data_dir`. Touches nothing.
    #[must_use]
    pub fn new(data_dir: &Path, database_url: Option<&str>) -> KeyMemory {
        KeyMemory {
            path: data_dir.join(FILE),
            database: database_url.map_or("private".to_owned(), place),
            program: format!("{}, records of form {RAW_EVENT_VERSION}", migrate::newest()),
        }
    }

    /// The keys as they were remembered last; none if nothing is, or only of another database or by another program.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is not whole.
    pub fn recall(&self) -> io::Result<Vec<RememberedKey>> {
        let mut text = String::new();
        match File::open(&self.path) {
            Ok(file) => file.take(BYTES_MAX).read_to_string(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the file is not whole");
        let (memory, sum) = text.trim_end().split_once('\n').ok_or_else(damaged)?;
        if sum != digest(memory) {
            return Err(damaged());
        }
        let memory: Memory = serde_json::from_str(memory)?;
        if memory.database != self.database || memory.program != self.program {
            return Ok(Vec::new());
        }
        Ok(memory.keys)
    }

    /// Remembers these keys and no others; they are durable on return. More of them than the file may hold are not remembered, and then
    /// none is.
    ///
    /// # Errors
    ///
    /// When the file cannot be written. What was remembered before is forgotten then, if it can be.
    pub fn remember(&self, keys: Vec<RememberedKey>) -> io::Result<()> {
        let memory = Memory {
            database: self.database.clone(),
            program: self.program.clone(),
            keys,
        };
        let memory = serde_json::to_string(&memory)?;
        let text = format!("{memory}\n{}\n", digest(&memory));
        if fs::read_to_string(&self.path).is_ok_and(|before| before == text) {
            return Ok(());
        }
        let written = if text.len() as u64 <= BYTES_MAX {
            self.replace(&text)
        } else {
            Err(io::Error::other("there are too many keys"))
        };
        if written.is_err() {
            // Rather no memory than one that lets in a key revoked since.
            fs::remove_file(&self.path).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })?;
        }
        written
    }

    /// Whole or not at all, whatever is cut.
    fn replace(&self, text: &str) -> io::Result<()> {
        let aside = self.path.with_extension("new");
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&aside, &self.path)?;
        match self.path.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }
}

/// A digest of where a URL leads, and as whom: without the password, which nobody may try to guess by it.
fn place(url: &str) -> String {
    let Ok(config) = url.parse::<Config>() else {
        // Nothing is remembered of one that leads nowhere.
        return "nowhere".to_owned();
    };
    digest(&format!(
        "{:?} {:?} {:?} {:?} {:?} {:?}",
        config.get_hosts(),
        config.get_hostaddrs(),
        config.get_ports(),
        config.get_user(),
        config.get_dbname(),
        config.get_options(),
    ))
}

fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&hex[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use uuid::Uuid;

    use super::{FILE, KeyDigest, KeyMemory, RememberedKey};
    use crate::domain::{ProjectNumber, PublicKey};

    const KEY: &str = "a94ae32be2584e0bbd7a4cbb95971fee";

    fn remembered(key: &str, number: i32) -> RememberedKey {
        let key: PublicKey = key.parse().unwrap();
        RememberedKey {
            key: KeyDigest::of(&key),
            project_id: Uuid::from_u128(7).into(),
            number: ProjectNumber::new(number),
            rate_limit: Some(5),
            project_rate_limit: None,
            kept_per_million: 250_000,
        }
    }

    #[test]
    fn what_is_remembered_is_recalled_and_no_key_is_in_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let memory = KeyMemory::new(directory.path(), None);
        assert_eq!(memory.recall().unwrap(), [], "nothing was remembered yet");
        let keys = vec![remembered(KEY, 1), remembered(&KEY.replace('a', "b"), 2)];
        memory.remember(keys.clone()).unwrap();
        assert_eq!(memory.recall().unwrap(), keys);
        let text = fs::read_to_string(directory.path().join(FILE)).unwrap();
        assert!(!text.contains(KEY), "{text}");
        // A key that was revoked is gone from it.
        memory.remember(keys[1..].to_vec()).unwrap();
        assert_eq!(memory.recall().unwrap(), keys[1..]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn keys_of_another_database_are_not_recalled() {
        let directory = tempfile::tempdir().unwrap();
        let of = |url| KeyMemory::new(directory.path(), url);
        let url = Some("postgres://u:hunter2@host/d");
        of(url).remember(vec![remembered(KEY, 1)]).unwrap();
        assert_eq!(of(url).recall().unwrap().len(), 1);
        assert_eq!(of(None).recall().unwrap(), []);
        assert_eq!(of(Some("postgres://other/d")).recall().unwrap(), []);
        assert_eq!(
            of(Some("postgres://u:hunter2@host/e")).recall().unwrap(),
            []
        );
        let renewed = of(Some("postgres://u:another@host/d"));
        assert_eq!(renewed.recall().unwrap().len(), 1, "a password is no place");
        let text = fs::read_to_string(directory.path().join(FILE)).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn keys_that_another_program_noted_are_not_recalled() {
        let directory = tempfile::tempdir().unwrap();
        let memory = KeyMemory::new(directory.path(), None);
        let mut newer = memory.clone();
        newer.program.push('+');
        newer.remember(vec![remembered(KEY, 1)]).unwrap();
        assert_eq!(memory.recall().unwrap(), []);
        assert_eq!(newer.recall().unwrap().len(), 1);
    }

    #[test]
    fn a_file_that_was_cut_or_changed_is_no_memory() {
        let directory = tempfile::tempdir().unwrap();
        let memory = KeyMemory::new(directory.path(), None);
        memory.remember(vec![remembered(KEY, 1)]).unwrap();
        let path = directory.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        for len in 0..whole.len() - 1 {
            fs::write(&path, &whole[..len]).unwrap();
            assert!(memory.recall().is_err(), "cut at {len}");
        }
        for at in 0..whole.len() - 1 {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).unwrap();
            assert!(memory.recall().is_err(), "changed at {at}");
        }
    }

    #[test]
    fn what_cannot_be_written_down_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let memory = KeyMemory::new(directory.path(), None);
        memory.remember(vec![remembered(KEY, 1)]).unwrap();
        // A folder of the file's name that is written first: nothing can be written there, even by root.
        fs::create_dir(Path::new(directory.path()).join("known-keys.new")).unwrap();
        assert!(memory.remember(vec![remembered(KEY, 2)]).is_err());
        assert_eq!(memory.recall().unwrap(), []);
    }
}
