//! A pool of PostgreSQL connections of each library, all of the same size before the same server.

use bb8_postgres::PostgresConnectionManager;
use mesh_runtime::postgres::{self, Options, Pool};
use mesh_runtime::{Strategy, Supervisor, System};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use super::webs::library;
use crate::contender::Library;

/// Connections of each pool.
pub(crate) const CONNECTIONS: usize = 4;

/// A pool in its engine.
pub(crate) trait Pools: Library {
    type Pool: Clone + Send + Sync + 'static;
    fn open(&self, config: Config) -> impl Future<Output = Self::Pool> + Send;
    /// Takes a connection, asks on it if wanted, and gives it back.
    fn use_one(pool: &Self::Pool, ask: bool) -> impl Future<Output = ()> + Send;
}

/// The same for all: one message there, one back, nothing prepared.
async fn ask_for_one(client: &Client) {
    let answer = client.simple_query("SELECT 1").await.expect("it answers");
    let right = answer
        .iter()
        .any(|message| matches!(message, SimpleQueryMessage::Row(row) if row.get(0) == Some("1")));
    assert!(right, "one is one");
}

/// Ours.
#[derive(Clone)]
pub(crate) struct Mesh(System);

impl Library for Mesh {
    fn new() -> Mesh {
        Mesh(System::new())
    }
}

const LENDS: &str = "the pool lends a connection";

impl Pools for Mesh {
    type Pool = Pool;

    async fn open(&self, config: Config) -> Pool {
        let options = Options {
            size_max: CONNECTIONS as u32,
            size_min: CONNECTIONS as u32,
            ..Options::default()
        };
        let pool = postgres::pool("database", config, options);
        let tree = Supervisor::new(Strategy::OneForOne).child(pool);
        self.0.supervise(tree).await.expect("it starts");
        Pool::named(&self.0, "database")
    }

    async fn use_one(pool: &Pool, ask: bool) {
        let client = pool.get().await.expect(LENDS);
        if ask {
            ask_for_one(&client).await;
        }
    }
}

library!(
    /// `bb8` as it comes: it asks each connection whether it lives before it lends it.
    Bb8,
    /// `bb8` that does not ask, as ours does not ask a connection that was just used.
    Bb8Untested,
    /// `deadpool-postgres` as it comes: it does not ask either.
    Deadpool
);

type Bare = bb8::Pool<PostgresConnectionManager<NoTls>>;

async fn bare(config: Config, test: bool) -> Bare {
    bb8::Pool::builder()
        .max_size(CONNECTIONS as u32)
        .min_idle(CONNECTIONS as u32)
        .test_on_check_out(test)
        .build(PostgresConnectionManager::new(config, NoTls))
        .await
        .expect("the server answers")
}

async fn use_bare(pool: &Bare, ask: bool) {
    let client = pool.get().await.expect(LENDS);
    if ask {
        ask_for_one(&client).await;
    }
}

impl Pools for Bb8 {
    type Pool = Bare;

    async fn open(&self, config: Config) -> Bare {
        bare(config, true).await
    }

    async fn use_one(pool: &Bare, ask: bool) {
        use_bare(pool, ask).await;
    }
}

impl Pools for Bb8Untested {
    type Pool = Bare;

    async fn open(&self, config: Config) -> Bare {
        bare(config, false).await
    }

    async fn use_one(pool: &Bare, ask: bool) {
        use_bare(pool, ask).await;
    }
}

impl Pools for Deadpool {
    type Pool = deadpool_postgres::Pool;

    async fn open(&self, config: Config) -> deadpool_postgres::Pool {
        let manager = deadpool_postgres::Manager::new(config, NoTls);
        deadpool_postgres::Pool::builder(manager)
            .max_size(CONNECTIONS)
            .build()
            .expect("it needs no engine for what it is not asked")
    }

    async fn use_one(pool: &deadpool_postgres::Pool, ask: bool) {
        let client = pool.get().await.expect(LENDS);
        if ask {
            ask_for_one(&client).await;
        }
    }
}
