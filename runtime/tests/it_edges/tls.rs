//! TLS at the HTTP edge, and to PostgreSQL.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::Request;
use hyper::body::Body;
use hyper::client::conn::http2 as client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_runtime::http::{Options, Tls, TlsError};
use mesh_runtime::postgres::{self, Pool, PoolError};
use mesh_runtime::ws::{self, Close, Connection, Frame, Next, Socket};
use mesh_runtime::{Job, Strategy, Supervisor, System};
use tokio_postgres::config::SslMode;
use tokio_websockets::{ClientBuilder, Message};
use warp::{Filter, Rejection, Reply};

use crate::support::certificate::{Certificate, NAME};
use crate::support::database::Database;
use crate::support::raw::Raw;
use crate::support::site::{PATIENCE, eventually, site};

fn hello() -> impl Filter<Extract = (impl Reply,), Error = Rejection> + Clone {
    warp::path!("hello" / String).map(|name| format!("hello, {name}"))
}

fn secured(certificate: &Certificate) -> Options {
    let tls = Tls::from_pem_files(certificate.chain(), certificate.key()).unwrap();
    Options {
        tls: Some(tls),
        ..Options::default()
    }
}

#[tokio::test]
async fn https_speaks_what_the_client_prefers() {
    let certificate = Certificate::new();
    let site = site(hello(), secured(&certificate)).await;

    let stream = certificate.connect(site.address, &["http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut raw = Raw::over(stream);
    for name in ["one", "two"] {
        assert_eq!(
            raw.get(&format!("/hello/{name}")).await.body,
            format!("hello, {name}")
        );
    }

    let stream = certificate.connect(site.address, &["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut requests, connection) = client::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    let _connection = Job::spawn(&site.system, connection);
    let request = Request::get(format!("https://{NAME}/hello/two"))
        .body(String::new())
        .unwrap();
    let mut answer = requests.send_request(request).await.unwrap();
    let frame = poll_fn(|cx| Pin::new(answer.body_mut()).poll_frame(cx)).await;
    assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), "hello, two");
}

#[tokio::test]
async fn what_is_no_handshake_is_closed_and_disturbs_nobody() {
    let certificate = Certificate::new();
    let options = Options {
        header_timeout: Duration::from_millis(100),
        ..secured(&certificate)
    };
    let site = site(hello(), options).await;
    let mut silent = Raw::connect(site.address).await;
    let mut plain = Raw::connect(site.address).await;
    plain.send("GET /hello/x HTTP/1.1\r\nhost: x\r\n\r\n").await;
    plain.closed().await;
    silent.closed().await;
    let stream = certificate.connect(site.address, &[]).await;
    assert_eq!(Raw::over(stream).get("/hello/y").await.status, 200);
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_handshake() {
    let certificate = Certificate::new();
    let options = Options {
        header_timeout: Duration::from_secs(3_600),
        drain_timeout: Duration::from_secs(3_600),
        ..secured(&certificate)
    };
    let site = site(hello(), options).await;
    let mut silent = Raw::connect(site.address).await;
    let connections = site.system.supervisor("web.connections").unwrap();
    eventually(&site.system, "the connection begins", async || {
        connections.count_children().await.unwrap().active == 1
    })
    .await;
    let stopped = site.tree.terminate_child("web");
    site.system
        .timeout(PATIENCE, stopped)
        .await
        .unwrap()
        .unwrap();
    silent.closed().await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_closed_through_tls_too() {
    let certificate = Certificate::new();
    let asked = Arc::new(AtomicBool::new(false));
    let told = asked.clone();
    let large = warp::path!("large").map(move || {
        told.store(true, Ordering::Relaxed);
        "x".repeat(64 * 1024 * 1024)
    });
    let options = Options {
        write_timeout: Duration::from_millis(20),
        ..secured(&certificate)
    };
    let site = site(large, options).await;
    let mut raw = Raw::over(certificate.connect(site.address, &[]).await);
    raw.send("GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let connections = site.system.supervisor("web.connections").unwrap();
    eventually(&site.system, "the connection is given up", async || {
        asked.load(Ordering::Relaxed) && connections.count_children().await.unwrap().active == 0
    })
    .await;
}

#[tokio::test]
async fn a_renewed_certificate_is_served_and_a_broken_one_is_not() {
    let mut certificate = Certificate::new();
    let tls = Tls::from_pem_files(certificate.chain(), certificate.key())
        .unwrap()
        .check_every(Duration::from_millis(1));
    let options = Options {
        tls: Some(tls.clone()),
        ..Options::default()
    };
    let site = site(hello(), options).await;
    let mut before = Raw::over(certificate.connect(site.address, &[]).await);

    let renewed = certificate.renew();
    eventually(&site.system, "the new one is served", async || {
        let stream = certificate.connect(site.address, &[]).await;
        stream.get_ref().1.peer_certificates().unwrap() == [renewed.clone()]
    })
    .await;
    assert_eq!(
        before.get("/hello/x").await.status,
        200,
        "what is open lives on"
    );

    std::fs::write(certificate.chain(), "no PEM at all").unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::Pem { .. })));
    let stream = certificate.connect(site.address, &[]).await;
    assert_eq!(stream.get_ref().1.peer_certificates().unwrap(), [renewed]);
}

#[test]
fn what_is_wrong_with_a_certificate_is_said() {
    let (certificate, other) = (Certificate::new(), Certificate::new());
    let chain = certificate.chain();
    let missing = chain.with_file_name("missing.pem");
    let error = Tls::from_pem_files(&missing, certificate.key()).unwrap_err();
    assert!(
        matches!(&error, TlsError::Read { path, .. } if *path == missing),
        "{error}"
    );
    let error = Tls::from_pem_files(certificate.key(), certificate.key()).unwrap_err();
    assert!(
        error.to_string().contains("no certificate in it"),
        "{error}"
    );
    let error = Tls::from_pem_files(&chain, &chain).unwrap_err();
    assert!(
        error.to_string().contains("no private key in it"),
        "{error}"
    );
    let error = Tls::from_pem_files(&chain, other.key()).unwrap_err();
    assert!(matches!(error, TlsError::Rejected(_)), "{error}");
    let unchanged = Tls::from_pem_files(&chain, certificate.key()).unwrap();
    assert!(!unchanged.reload().unwrap());
    assert!(!format!("{unchanged:?}").contains("PRIVATE"));
}

/// Echoes; is in the lobby.
struct Echo;

impl Socket for Echo {
    type Args = ();
    type Message = ();

    async fn on_connect((): (), cx: &mut Connection<()>) -> Result<Self, Close> {
        cx.join("lobby").unwrap();
        Ok(Echo)
    }

    async fn on_message(&mut self, frame: Frame, cx: &mut Connection<()>) -> Next {
        if let Frame::Text(text) = frame {
            cx.send_text(text);
        }
        Next::Continue
    }
}

#[tokio::test]
async fn a_web_socket_goes_through_tls() {
    let certificate = Certificate::new();
    let filter = ws::upgrade()
        .map(|upgrade: ws::Upgrade| upgrade.accept::<Echo>((), ws::Options::default()));
    let site = site(filter, secured(&certificate)).await;
    let stream = certificate.connect(site.address, &["http/1.1"]).await;
    let uri = format!("wss://{NAME}/").parse().unwrap();
    let (mut socket, _) = ClientBuilder::from_uri(uri)
        .connect_on(stream)
        .await
        .unwrap();
    // The larger goes past the library's queue, or comes in fragments.
    for len in [100_000, 6 << 20, 1] {
        let text = "x".repeat(len);
        socket.send(Message::text(text.clone())).await.unwrap();
        let echoed = socket.next().await.unwrap().unwrap();
        assert!(echoed.as_text() == Some(&*text), "{len} bytes came back");
    }
    let text = "y".repeat(6 << 20);
    site.system.rooms().broadcast("lobby", text.clone().into());
    let heard = socket.next().await.unwrap().unwrap();
    assert!(heard.as_text() == Some(&*text), "the room's frame came");
}

/// What the lobby hears in this round; no two are alike.
fn round(number: usize) -> String {
    let line = format!("round {number}, and so on; ");
    line.repeat(512 * 1024 / line.len() + number)
}

#[tokio::test]
async fn room_frames_come_whole_through_tls_to_a_slow_reader_or_are_told() {
    const WHILE_READING: usize = 20;
    let certificate = Certificate::new();
    let filter = ws::upgrade().map(|upgrade: ws::Upgrade| {
        let options = ws::Options {
            queue_max: 4,
            ping_interval: Duration::from_secs(3_600),
            ..ws::Options::default()
        };
        upgrade.accept::<Echo>((), options)
    });
    let site = site(filter, secured(&certificate)).await;
    let stream = certificate.connect(site.address, &["http/1.1"]).await;
    let uri = format!("wss://{NAME}/").parse().unwrap();
    let (mut slow, _) = ClientBuilder::from_uri(uri)
        .connect_on(stream)
        .await
        .unwrap();
    slow.send(Message::text("in?")).await.unwrap();
    assert_eq!(slow.next().await.unwrap().unwrap().as_text(), Some("in?"));

    let mut said = 0;
    let mut broadcast = || {
        said += 1;
        let report = site
            .system
            .rooms()
            .broadcast("lobby", round(said - 1).into());
        assert_eq!(report.delivered, 1);
        (said, report.lagging == 1)
    };
    // Until the socket takes no more, and the queue neither.
    let mut lagging = 0;
    eventually(&site.system, "it lags", async || {
        lagging += usize::from(broadcast().1);
        lagging == 8
    })
    .await;
    let (mut at, mut missed, mut turn, mut last) = (0, 0, 0, 0);
    while turn < WHILE_READING || at < last {
        if turn < WHILE_READING {
            last = broadcast().0;
        }
        turn += 1;
        let message = tokio::time::timeout(PATIENCE, slow.next()).await;
        let message = message.expect("in time").unwrap().unwrap();
        let text = message.as_text().unwrap();
        let count = text.strip_prefix("{\"missed\":");
        match count.and_then(|rest| rest.strip_suffix('}')) {
            Some(count) => {
                let count: usize = count.parse().unwrap();
                (at, missed) = (at + count, missed + count);
            }
            None => {
                assert!(text == round(at), "not round {at}: {}", &text[..30]);
                at += 1;
            }
        }
    }
    assert_eq!(at, last);
    assert!(missed > 0, "{at} came");
    slow.send(Message::text("awake?")).await.unwrap();
    let answer = slow.next().await.unwrap().unwrap();
    assert_eq!(answer.as_text(), Some("awake?"), "nothing comes twice");
}

async fn secure_pool(database: &Database, tls: postgres::Tls, mode: SslMode) -> (System, Pool) {
    let system = System::new();
    let mut config = database.secure_config();
    config.ssl_mode(mode);
    let options = postgres::Options {
        tls: Some(tls),
        checkout_timeout: PATIENCE,
        ..postgres::Options::default()
    };
    system
        .supervise(
            Supervisor::new(Strategy::OneForOne).child(postgres::pool("database", config, options)),
        )
        .await
        .unwrap();
    let pool = Pool::named(&system, "database");
    (system, pool)
}

const ENCRYPTED: &str = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

#[tokio::test]
async fn the_database_is_reached_through_tls() {
    let certificate = Certificate::new();
    let database = Database::secured(&certificate);
    for (mode, encrypted) in [
        (SslMode::Require, true),
        (SslMode::Prefer, true),
        (SslMode::Disable, false),
    ] {
        let trust = postgres::Tls::authority(certificate.chain()).unwrap();
        let (_system, pool) = secure_pool(&database, trust, mode).await;
        let client = pool.get().await.unwrap();
        let row = client.query_one(ENCRYPTED, &[]).await.unwrap();
        assert_eq!(row.get::<_, bool>(0), encrypted, "{mode:?}");
    }
}

#[tokio::test]
async fn one_connection_goes_through_tls_too() {
    let certificate = Certificate::new();
    let database = Database::secured(&certificate);
    let mut config = database.secure_config();
    config.ssl_mode(SslMode::Require);
    let options = postgres::Options {
        tls: Some(postgres::Tls::authority(certificate.chain()).unwrap()),
        connect_timeout: PATIENCE,
        ..postgres::Options::default()
    };
    let system = System::new();
    let (client, driver) = postgres::connect(&system, &config, &options).await.unwrap();
    let _driver = Job::spawn(&system, driver);
    assert!(
        client
            .query_one(ENCRYPTED, &[])
            .await
            .unwrap()
            .get::<_, bool>(0)
    );
    let without = postgres::Options {
        tls: None,
        ..options
    };
    assert!(matches!(
        postgres::connect(&system, &config, &without).await,
        Err(PoolError::Database(_))
    ));
}

#[tokio::test]
async fn a_database_nobody_vouches_for_is_refused() {
    let (certificate, stranger) = (Certificate::new(), Certificate::new());
    let database = Database::secured(&certificate);
    let trust = postgres::Tls::authority(stranger.chain()).unwrap();
    let (_system, pool) = secure_pool(&database, trust, SslMode::Require).await;
    let pool = pool.with_checkout_timeout(Duration::from_millis(200));
    let error = pool.get().await.unwrap_err();
    assert!(
        matches!(&error, PoolError::Unavailable(text) if text.contains("certificate")),
        "{error}"
    );
    assert!(postgres::Tls::authority(certificate.key()).is_err());
}

#[tokio::test]
async fn a_cancelled_statement_stops_through_tls_too() {
    let certificate = Certificate::new();
    let database = Database::secured(&certificate);
    let trust = postgres::Tls::authority(certificate.chain()).unwrap();
    let (system, pool) = secure_pool(&database, trust, SslMode::Require).await;
    let sleeping = pool.transaction(|tx| {
        Box::pin(async move {
            tx.batch_execute("SELECT pg_sleep(3600)").await?;
            Ok::<_, PoolError>(())
        })
    });
    let running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(3600)%' AND state = 'active' AND pid <> pg_backend_pid()";
    let count = async || {
        pool.get()
            .await
            .unwrap()
            .query_one(running, &[])
            .await
            .unwrap()
            .get::<_, i64>(0)
    };
    tokio::select! {
        outcome = sleeping => panic!("it does not end by itself: {outcome:?}"),
        () = eventually(&system, "the statement runs", async || count().await == 1) => {}
    }
    eventually(&system, "the statement stops", async || count().await == 0).await;
}
