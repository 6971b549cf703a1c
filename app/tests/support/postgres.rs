//! A throw-away database for one test, on a private server that all tests of this build share.
//!
//! Use it by `#[path = "../support/postgres.rs"] mod postgres;` in a test binary. The server is Mesher's own embedded one:
//! it stops when the last test process has ended, whatever way it ended.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use mesh_runtime::System;
use mesher::storage::embedded::{Cluster, Options};
use mesher::storage::migrate;
use tokio::sync::OnceCell;
use tokio_postgres::{Client, Config, NoTls};

static SERVER: OnceCell<Cluster> = OnceCell::const_new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// One database, migrated.
#[derive(Clone, Debug)]
pub(crate) struct TestDatabase {
    config: Config,
}

impl TestDatabase {
    /// Creates a database with all tables.
    pub(crate) async fn create() -> TestDatabase {
        let database = TestDatabase::empty().await;
        migrate::run(&mut database.client().await).await.unwrap();
        database
    }

    /// Creates a database without tables.
    pub(crate) async fn empty() -> TestDatabase {
        let server = server().await.config();
        let name = format!(
            "test_{}_{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let client = connect(&server).await;
        client
            .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            .await
            .unwrap();
        client
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .unwrap();
        let mut config = server;
        config.dbname(&name);
        TestDatabase { config }
    }

    /// How to connect to it.
    #[allow(dead_code, reason = "not every test binary builds a pool of its own")]
    pub(crate) fn config(&self) -> Config {
        self.config.clone()
    }

    /// A new connection.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.config).await
    }
}

async fn server() -> &'static Cluster {
    SERVER
        .get_or_init(|| async {
            let data_dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("server");
            let cluster = Cluster::start(&System::new(), Options::new(data_dir))
                .await
                .unwrap();
            forget_the_dead(&cluster).await;
            cluster
        })
        .await
}

/// Drops the databases of test processes that have ended.
async fn forget_the_dead(cluster: &Cluster) {
    let client = connect(&cluster.config()).await;
    let names = client
        .query(
            "SELECT datname::text FROM pg_database WHERE datname LIKE 'test\\_%'",
            &[],
        )
        .await
        .unwrap();
    for name in names.iter().map(|row| row.get::<_, String>(0)) {
        let process = name.split('_').nth(1).unwrap_or_default();
        if !PathBuf::from(format!("/proc/{process}")).exists() {
            // Another test process may be dropping it, too.
            let _ = client
                .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
                .await;
        }
    }
}

/// Connects; the connection's task ends with the client.
pub(crate) async fn connect(config: &Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.unwrap();
    #[allow(
        clippy::disallowed_methods,
        reason = "a test's connection belongs to the test's tokio runtime"
    )]
    tokio::spawn(connection);
    client
}
