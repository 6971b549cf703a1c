//! A PostgreSQL server of one run. It ends with the run, however that ends.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio_postgres::{Config, NoTls};

/// Where the distributions keep the server's programs; the newest counts.
const PROGRAM_FOLDERS: &str = "/usr/lib/postgresql";

/// Makes a cluster and serves it on a socket in the folder, until its input is closed: by us, or by our end.
const KEEPER: &str = r#"
    PATH="$1:$PATH"
    initdb -D data -U postgres -A trust --no-sync >initdb.log 2>&1 || { cat initdb.log; exit 1; }
    postgres -D data -c listen_addresses= -c unix_socket_directories="$PWD" -c fsync=off >server.log 2>&1 </dev/null &
    echo serving
    cat >/dev/null
    kill -INT $!
    wait
    rm -rf data
"#;

/// A server that listens on a socket in its own folder.
pub(crate) struct Database {
    keeper: Child,
    folder: TempDir,
}

impl Database {
    /// Makes one and waits until it answers.
    pub(crate) async fn start() -> Database {
        let folder = TempDir::new().expect("a temporary folder");
        let anybody = fs::Permissions::from_mode(0o777);
        fs::set_permissions(folder.path(), anybody).expect("the folder is ours");
        let mut keeper = keeper()
            .args(["sh", "-c", KEEPER, "keeper"])
            .arg(programs())
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("there is a shell");
        let output = keeper.stdout.take().expect("it was piped");
        let mut said = String::new();
        BufReader::new(output)
            .read_line(&mut said)
            .expect("it says something");
        assert_eq!(said.trim(), "serving", "PostgreSQL cannot be started");
        let database = Database { keeper, folder };
        while database.config().connect(NoTls).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        database
    }

    /// How to reach it.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::new();
        config
            .host_path(self.folder.path())
            .user("postgres")
            .dbname("postgres");
        config
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        drop(self.keeper.wait());
    }
}

/// The server refuses to run as root, so root becomes `postgres` first.
fn keeper() -> Command {
    if rustix::process::getuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
        return command;
    }
    Command::new("env")
}

/// Empty when the search path must do.
fn programs() -> PathBuf {
    let versions = fs::read_dir(Path::new(PROGRAM_FOLDERS));
    let folders = versions.into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = folders
        .map(|version| version.path().join("bin"))
        .filter(|folder| folder.join("initdb").exists())
        .collect();
    folders.sort();
    folders.pop().unwrap_or_default()
}
