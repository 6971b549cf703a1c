//! A bad network between a pool and its database: it cuts, falls silent, and swallows newcomers when told to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What becomes of the bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// They go through.
    Fair,
    /// They go through late.
    Slow,
    /// They stay where they are; the connection stays open. Half-open, as after a pulled cable.
    Silent,
    /// The connection is closed.
    Cut,
}

/// How late what goes through [`Weather::Slow`] is.
const DELAY: Duration = Duration::from_millis(20);

/// Stands between a pool and a database's socket.
pub(crate) struct Proxy {
    address: SocketAddr,
    /// What new connections get; those that are open keep theirs.
    newcomers: Arc<watch::Sender<Weather>>,
    open: Arc<parking_lot::Mutex<Vec<watch::Sender<Weather>>>>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn before(socket: PathBuf) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let newcomers = Arc::new(watch::Sender::new(Weather::Fair));
        let open = Arc::<parking_lot::Mutex<Vec<watch::Sender<Weather>>>>::default();
        let mut tasks = JoinSet::new();
        let (now, known) = (newcomers.clone(), open.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (weather, seen) = watch::channel(*now.borrow());
                known.lock().push(weather);
                let socket = socket.clone();
                connections.spawn(async move {
                    if *seen.borrow() == Weather::Cut {
                        return;
                    }
                    let Ok(server) = UnixStream::connect(socket).await else {
                        return;
                    };
                    let (client_reads, client_writes) = client.into_split();
                    let (server_reads, server_writes) = server.into_split();
                    tokio::select! {
                        () = carry(client_reads, server_writes, seen.clone()) => {}
                        () = carry(server_reads, client_writes, seen.clone()) => {}
                        () = becomes(seen, Weather::Cut) => {}
                    }
                });
            }
        });
        Proxy {
            address,
            newcomers,
            open,
            _tasks: tasks,
        }
    }

    /// How to reach the database through it.
    pub(crate) fn config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host(self.address.ip().to_string())
            .port(self.address.port())
            .user("postgres")
            .dbname("postgres");
        config
    }

    /// For the connections to come.
    pub(crate) fn newcomers(&self, weather: Weather) {
        self.newcomers.send_replace(weather);
    }

    /// For the connections that are open now.
    pub(crate) fn open(&self, weather: Weather) {
        for connection in self.open.lock().iter() {
            connection.send_replace(weather);
        }
    }

    /// For one of them; whether there was one.
    pub(crate) fn cut_one(&self, number: usize) -> bool {
        let mut open = self.open.lock();
        open.retain(|connection| !connection.is_closed());
        if open.is_empty() {
            return false;
        }
        let number = number % open.len();
        open.swap_remove(number).send_replace(Weather::Cut);
        true
    }
}

async fn becomes(mut seen: watch::Receiver<Weather>, weather: Weather) {
    if seen.wait_for(|now| *now == weather).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the network is no part of the system whose wheel it would be"
)]
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    seen: watch::Receiver<Weather>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(len @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        let mut seen = seen.clone();
        let carried = |now: &Weather| matches!(now, Weather::Fair | Weather::Slow);
        let Ok(now) = seen.wait_for(carried).await.map(|now| *now) else {
            return std::future::pending().await;
        };
        if now == Weather::Slow {
            tokio::time::sleep(DELAY).await;
        }
        if to.write_all(&buffer[..len]).await.is_err() {
            return;
        }
    }
}
