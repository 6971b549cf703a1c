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
        let root = choose_root(
            &data_dir.join("postgres"),
            &Path::new(SHARED_STATE).join(&key),
            account,
        )?;
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

/// `own`, if the server's user reaches it, else `shared`; but never away from a cluster that exists.
fn choose_root(own: &Path, shared: &Path, account: &Account) -> Result<PathBuf, EmbeddedError> {
    let holds_cluster = |root: &Path| root.join("data/PG_VERSION").exists();
    let reaches = account.reaches(&own.join("data"));
    if holds_cluster(own) {
        return if reaches {
            Ok(own.to_owned())
        } else {
            Err(EmbeddedError::Unreachable {
                data: own.to_owned(),
                user: account.server.clone(),
            })
        };
    }
    Ok(if reaches && !holds_cluster(shared) {
        own.to_owned()
    } else {
        shared.to_owned()
    })
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::{Layout, SOCKET_DIR_BYTES_MAX, choose_root};
    use crate::storage::embedded::EmbeddedError;
    use crate::storage::embedded::account::Account;

    fn make_cluster(root: &Path) {
        fs::create_dir_all(root.join("data")).unwrap();
        fs::write(root.join("data/PG_VERSION"), "15\n").unwrap();
    }

    #[test]
    fn the_cluster_moves_where_the_servers_user_reaches_it_but_never_away_from_itself() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        let (own, shared) = (home.join("postgres"), dir.path().join("shared"));
        fs::create_dir(&home).unwrap();
        // Nobody reaches a directory that is closed to others, except its owner.
        let stranger = Account::for_testing(Some((4_000_001, 4_000_001)));
        let ourselves = Account::for_testing(None);
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(choose_root(&own, &shared, &ourselves).unwrap(), own);
        assert_eq!(choose_root(&own, &shared, &stranger).unwrap(), shared);
        make_cluster(&shared);
        assert_eq!(choose_root(&own, &shared, &ourselves).unwrap(), shared);
        make_cluster(&own);
        assert_eq!(choose_root(&own, &shared, &ourselves).unwrap(), own);
        let refused = choose_root(&own, &shared, &stranger);
        assert!(matches!(refused, Err(EmbeddedError::Unreachable { .. })));
    }

    #[test]
    fn sockets_always_fit_and_a_directory_has_one_name() {
        let account = Account::for_testing(None);
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(200));
        for data_dir in [dir.path(), &deep] {
            let layout = Layout::resolve(data_dir, &account).unwrap();
            assert!(layout.socket.as_os_str().len() <= SOCKET_DIR_BYTES_MAX);
        }
        let roundabout = dir.path().join(".");
        let (one, two) = (
            Layout::resolve(dir.path(), &account).unwrap(),
            Layout::resolve(&roundabout, &account).unwrap(),
        );
        assert_eq!(one.root, two.root);
    }
}
