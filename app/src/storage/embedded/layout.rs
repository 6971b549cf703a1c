//! Where the cluster's files are, and how to connect to it.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::EmbeddedError;
use super::account::Account;

/// The database's name.
pub(super) const DATABASE: &str = "mesher";
/// The database user.
pub(super) const USER: &str = "mesher";
/// The port, which only names the socket's file.
pub(super) const PORT: u16 = 5432;

/// The longest directory whose socket still fits into a socket address (104 bytes on the smallest system).
const SOCKET_DIR_BYTES_MAX: usize = 103 - "/.s.PGSQL.5432".len();

/// Where a root process keeps the cluster when the server's user cannot reach the data directory.
const SHARED_STATE: &str = "/var/lib/mesher";

/// Where sockets go when the data directory's path is too long.
const SHORT_SOCKETS: &str = "/tmp";

/// The files of one cluster.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) account: Account,
    /// The folder of everything below.
    pub(super) root: PathBuf,
    /// PostgreSQL's data directory.
    pub(super) data: PathBuf,
    /// The socket's directory.
    pub(super) socket: PathBuf,
    /// The server's log files.
    pub(super) log: PathBuf,
    pub(super) start_lock: PathBuf,
    pub(super) users_lock: PathBuf,
}

impl Layout {
    /// Computes the paths; creates nothing.
    pub(super) fn resolve(data_dir: &Path, account: &Account) -> Result<Layout, EmbeddedError> {
        let data_dir = std::path::absolute(data_dir)
            .map_err(EmbeddedError::io("resolve the path", data_dir))?;
        // One directory must have one name, or two instances would meet in different sockets.
        let data_dir = std::fs::canonicalize(&data_dir).unwrap_or(data_dir);
        let key = key(&data_dir);
        let root = data_dir.join("postgres");
        let root = if account.reaches(&root.join("data")) {
            root
        } else {
            Path::new(SHARED_STATE).join(&key)
        };
        let socket = root.join("socket");
        let socket = if socket.as_os_str().len() <= SOCKET_DIR_BYTES_MAX {
            socket
        } else {
            Path::new(SHORT_SOCKETS).join(format!("mesher-{key}"))
        };
        Ok(Layout {
            account: account.clone(),
            data: root.join("data"),
            log: root.join("log"),
            start_lock: root.join("start.lock"),
            users_lock: root.join("users.lock"),
            socket,
            root,
        })
    }

    /// Creates the directories, for the server's user alone.
    pub(super) fn create(&self) -> Result<(), EmbeddedError> {
        if let Some(above) = self.root.parent() {
            // Searchable by the server's user, whatever the umask says, when it is we who make it.
            if !above.exists() {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o755)
                    .create(above)
                    .map_err(EmbeddedError::io("create the directory", above))?;
            }
        }
        for dir in [&self.root, &self.log, &self.socket] {
            match DirBuilder::new().mode(0o700).create(dir) {
                Ok(()) => self.account.own(dir, 0o700)?,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(EmbeddedError::io("create the directory", dir)(error));
                }
            }
        }
        self.check_socket_dir()
    }

    /// Refuses a socket directory that somebody else made, or could write to: it might hold their server.
    fn check_socket_dir(&self) -> Result<(), EmbeddedError> {
        let meta = std::fs::symlink_metadata(&self.socket)
            .map_err(EmbeddedError::io("look at", &self.socket))?;
        // Between `mkdir` and `chown` of a racing root instance it still belongs to root.
        let ours = self.account.is_server(meta.uid()) || meta.uid() == 0;
        if meta.is_dir() && ours && meta.mode() & 0o077 == 0 {
            Ok(())
        } else {
            Err(EmbeddedError::SocketDirectory(self.socket.clone()))
        }
    }

    /// How to connect to the server.
    pub(super) fn connection(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host_path(&self.socket)
            .port(PORT)
            .user(USER)
            .dbname(DATABASE)
            .application_name("mesher");
        config
    }

    /// The lock file that PostgreSQL keeps beside its socket.
    pub(super) fn socket_lock(&self) -> PathBuf {
        self.socket.join(format!(".s.PGSQL.{PORT}.lock"))
    }
}

/// A short name for a data directory, the same in every instance.
fn key(data_dir: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    Sha256::digest(data_dir.as_os_str().as_bytes())
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
