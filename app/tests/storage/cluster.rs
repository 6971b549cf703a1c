//! The private cluster: start, adopt, race, recover, refuse.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_runtime::{Clock, System, SystemClock};
use mesher::storage::embedded::{Attempt, Cluster, EmbeddedError, Options, Stopped};

use crate::postgres::connect;

/// A data directory that the server's user can reach, whoever runs the tests.
pub(crate) fn data_dir() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::Builder::new()
        .prefix("mesher-cluster-")
        .tempdir_in("/tmp")
        .unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

async fn start(dir: &Path) -> Cluster {
    Cluster::start(&System::new(), Options::new(dir))
        .await
        .unwrap()
}

/// The server's process id, from its own lock file, if there is one.
pub(crate) fn server_pid(dir: &Path) -> Option<i32> {
    let text = std::fs::read_to_string(dir.join("postgres/data/postmaster.pid")).ok()?;
    text.lines().next()?.parse().ok()
}

pub(crate) fn is_running(dir: &Path) -> bool {
    dir.join("postgres/data/postmaster.pid").exists()
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let system = System::new();
    for _ in 0..600 {
        if condition() {
            return;
        }
        system.sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_share_one_server_and_the_last_one_stops_it() {
    let dir = data_dir();
    let system = System::new();
    // Five race on an empty directory: one makes the cluster, the others adopt its server.
    let mut clusters = futures_util::future::join_all((0..5).map(|_| start(dir.path()))).await;
    assert_eq!(
        clusters
            .iter()
            .filter(|cluster| !cluster.was_adopted())
            .count(),
        1
    );
    for cluster in &clusters {
        let client = connect(&cluster.config()).await;
        let row = client.query_one("SELECT current_database()::text, current_setting('fsync'), current_setting('listen_addresses')", &[]);
        let row = row.await.unwrap();
        assert_eq!((row.get(0), row.get(1), row.get(2)), ("mesher", "on", ""));
    }
    let existing = Cluster::connect_existing(dir.path()).unwrap();
    connect(&existing.unwrap()).await;
    let last = clusters.pop().unwrap();
    for cluster in clusters {
        assert_eq!(cluster.stop(&system).await.unwrap(), Stopped::LeftToOthers);
        assert!(is_running(dir.path()));
    }
    assert_eq!(last.stop(&system).await.unwrap(), Stopped::Down);
    assert!(!is_running(dir.path()));
    assert!(Cluster::connect_existing(dir.path()).unwrap().is_none());
    // What was written is still there.
    let again = start(dir.path()).await;
    assert!(!again.was_adopted());
    again.stop(&system).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_instance_leaves_no_server_behind() {
    let dir = data_dir();
    // What the kernel does at `kill -9`: the locks go, nothing else happens.
    drop(start(dir.path()).await);
    eventually("the watcher stops the server", || !is_running(dir.path())).await;
}

/// What the test below runs in a process of its own: use the cluster of the current directory for ever.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by an_instance_that_is_killed_takes_nobody_with_it, in a process of its own"]
async fn instance_to_be_killed() {
    let cluster = start(&std::env::current_dir().unwrap()).await;
    let client = connect(&cluster.config()).await;
    client
        .batch_execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
        .await
        .unwrap();
    std::future::pending::<()>().await;
}

/// Runs [`instance_to_be_killed`] until it has written its row.
async fn spawn_instance(dir: &Path) -> std::process::Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "cluster::instance_to_be_killed"])
        .current_dir(dir)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let system = System::new();
    for _ in 0..600 {
        if let Some(config) = Cluster::connect_existing(dir).unwrap()
            && let Ok((client, connection)) = config.connect(tokio_postgres::NoTls).await
        {
            let kept = async {
                let rows = client.query("SELECT n FROM kept", &[]).await;
                rows.is_ok_and(|rows| rows.len() == 1)
            };
            tokio::select! {
                _ = connection => {}
                kept = kept => if kept { return child },
            }
        }
        system.sleep(Duration::from_millis(50)).await;
    }
    child.kill().unwrap();
    panic!("the instance never came up: {}", child.wait().unwrap());
}

async fn kept(cluster: &Cluster) -> i32 {
    let client = connect(&cluster.config()).await;
    client
        .query_one("SELECT n FROM kept", &[])
        .await
        .unwrap()
        .get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_killed_takes_nobody_with_it() {
    let dir = data_dir();
    let mut first = spawn_instance(dir.path()).await;
    let pid = server_pid(dir.path());
    let second = start(dir.path()).await;
    assert!(second.was_adopted());
    first.kill().unwrap();
    first.wait().unwrap();
    // The one who started it is dead; the server goes on for us.
    assert_eq!(kept(&second).await, 7);
    assert_eq!(server_pid(dir.path()), pid);
    second.stop(&System::new()).await.unwrap();
    assert!(!is_running(dir.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_right_after_a_kill_finds_everything() {
    let dir = data_dir();
    let mut first = spawn_instance(dir.path()).await;
    first.kill().unwrap();
    // The server lives, or is being stopped, or is gone: adopted, waited for, or started.
    let second = start(dir.path()).await;
    assert_eq!(kept(&second).await, 7);
    first.wait().unwrap();
    // What the first had just begun may hold its share a moment longer; then the watcher stops the server.
    second.stop(&System::new()).await.unwrap();
    eventually("the server is stopped", || !is_running(dir.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_is_started_again_by_the_instance_and_keeps_its_rows() {
    let dir = data_dir();
    let cluster = start(dir.path()).await;
    let client = connect(&cluster.config()).await;
    client
        .batch_execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)")
        .await
        .unwrap();
    let pid = server_pid(dir.path()).unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    eventually("the server is seen dead", || !cluster.is_ready()).await;
    eventually("the server is back", || cluster.revive().unwrap()).await;
    let client = connect(&cluster.config()).await;
    assert_eq!(
        client
            .query_one("SELECT n FROM kept", &[])
            .await
            .unwrap()
            .get::<_, i32>(0),
        1
    );
    assert_ne!(server_pid(dir.path()), Some(pid));
    cluster.stop(&System::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_lock_files_of_strangers_do_not_stop_a_start() {
    let dir = data_dir();
    start(dir.path()).await.stop(&System::new()).await.unwrap();
    let data = dir.path().join("postgres/data");
    // The number now belongs to somebody else: to this test.
    let stale = format!(
        "{}\n{}\n1\n5432\n\n\n\nready\n",
        std::process::id(),
        data.display()
    );
    std::fs::write(data.join("postmaster.pid"), &stale).unwrap();
    std::fs::write(
        dir.path().join("postgres/socket/.s.PGSQL.5432.lock"),
        &stale,
    )
    .unwrap();
    let cluster = start(dir.path()).await;
    assert!(!cluster.was_adopted());
    connect(&cluster.config()).await;
    cluster.stop(&System::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_path_gets_a_short_socket() {
    let dir = data_dir();
    let deep = dir.path().join("d".repeat(60)).join("e".repeat(60));
    let cluster = start(&deep).await;
    assert!(cluster.socket_dir().as_os_str().len() < 60);
    connect(&cluster.config()).await;
    let socket = cluster.socket_dir().to_owned();
    cluster.stop(&System::new()).await.unwrap();
    std::fs::remove_dir_all(socket).unwrap();
}

#[test]
fn a_cluster_of_another_version_names_both() {
    let dir = data_dir();
    let data = dir.path().join("postgres/data");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::create_dir_all(dir.path().join("postgres/log")).unwrap();
    std::fs::create_dir_all(dir.path().join("postgres/socket")).unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(
        dir.path().join("postgres/socket"),
        std::fs::Permissions::from_mode(0o700),
    )
    .unwrap();
    std::fs::write(data.join("PG_VERSION"), "9\n").unwrap();
    let error = Cluster::attempt(&Options::new(dir.path())).unwrap_err();
    assert!(
        matches!(&error, EmbeddedError::OtherVersion { cluster, .. } if cluster == "9"),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains("PostgreSQL 9") && text.contains("pg_upgrade"),
        "{text}"
    );
}

#[test]
fn no_binaries_says_how_to_install_them_and_what_else_to_do() {
    let dir = data_dir();
    let mut options = Options::new(dir.path());
    options.binary_dirs = Some(vec![PathBuf::from("/nowhere/bin")]);
    let error = Cluster::attempt(&options).unwrap_err().to_string();
    assert!(
        error.contains("/nowhere/bin") && error.contains("install"),
        "{error}"
    );
    assert!(
        error.contains("MESHER_DATABASE_URL") && !error.contains('\n'),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_the_middle_of_initdb_leaves_nothing_half_made() {
    let dir = data_dir();
    std::fs::create_dir_all(dir.path().join("postgres/data.new-1/base")).unwrap();
    std::fs::create_dir_all(dir.path().join("postgres/log")).unwrap();
    let owned = Command::new("chown")
        .args(["-R", "postgres"])
        .arg(dir.path().join("postgres"))
        .status();
    if rustix::process::geteuid().is_root() {
        assert!(owned.unwrap().success());
    }
    let cluster = start(dir.path()).await;
    assert!(!dir.path().join("postgres/data.new-1").exists());
    cluster.stop(&System::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_start_says_why() {
    let dir = data_dir();
    start(dir.path()).await.stop(&System::new()).await.unwrap();
    let own = dir.path().join("postgres/data/postgresql.local.conf");
    std::fs::write(&own, "no_such_setting = 1\n").unwrap();
    let options = Options::new(dir.path());
    let attempted = Cluster::attempt(&options).unwrap_err().to_string();
    let started = Cluster::start(&System::new(), options).await.unwrap_err();
    for error in [attempted, started.to_string()] {
        assert!(error.contains("no_such_setting"), "{error}");
    }
    std::fs::remove_file(&own).unwrap();
    start(dir.path()).await.stop(&System::new()).await.unwrap();
}

/// A clock of which ten thousand seconds pass in one, so that every turn of a wait takes far longer than the pause within it.
#[derive(Debug, Default)]
struct FastClock(SystemClock);

impl Clock for FastClock {
    fn now(&self) -> Duration {
        self.0.now() * 10_000
    }

    fn wall(&self) -> SystemTime {
        self.0.wall()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wait_for_a_server_that_never_comes_up_ends_by_the_clock() {
    use std::os::unix::fs::PermissionsExt;
    let dir = data_dir();
    let bin = dir.path().join("bin");
    let data = dir.path().join("postgres/data");
    for folder in [&bin, &data] {
        std::fs::create_dir_all(folder).unwrap();
    }
    std::fs::write(data.join("PG_VERSION"), "15\n").unwrap();
    // It ends when the directory is gone.
    let programs = [
        ("postgres", "while [ -e \"$2\" ]; do sleep 1; done"),
        ("pg_ctl", "echo 'pg_ctl (PostgreSQL) 15.1'"),
        ("initdb", "exit 1"),
    ];
    for (name, text) in programs {
        let path = bin.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    if rustix::process::geteuid().is_root() {
        let owned = Command::new("chown")
            .args(["-R", "postgres"])
            .arg(dir.path().join("postgres"))
            .status();
        assert!(owned.unwrap().success());
    }
    let mut options = Options::new(dir.path());
    options.binary_dirs = Some(vec![bin]);
    options.deadline = Duration::from_secs(3600);
    let system = System::builder()
        .clock(Arc::new(FastClock::default()))
        .build();
    let error = Cluster::start(&system, options).await.unwrap_err();
    let what = "the server is starting";
    assert!(
        matches!(&error, EmbeddedError::Timeout { what: told, .. } if *told == what),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_waits_for_another_that_is_at_work() {
    let dir = data_dir();
    let cluster = start(dir.path()).await;
    let start_lock = std::fs::File::open(dir.path().join("postgres/start.lock")).unwrap();
    start_lock.lock().unwrap();
    let attempt = Cluster::attempt(&Options::new(dir.path())).unwrap();
    assert!(matches!(attempt, Attempt::Busy(_)), "{attempt:?}");
    start_lock.unlock().unwrap();
    let attempt = Cluster::attempt(&Options::new(dir.path())).unwrap();
    let Attempt::Ready(second) = attempt else {
        panic!("{attempt:?}");
    };
    assert!(second.was_adopted());
    drop(second);
    cluster.stop(&System::new()).await.unwrap();
}
