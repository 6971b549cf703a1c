//! What the edges tell the recorder of the `metrics` crate.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mesh_runtime::http::{self, Options};
use mesh_runtime::postgres::{self, Pool};
use mesh_runtime::{Strategy, Supervisor, System};
use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use parking_lot::Mutex;
use warp::{Filter, Reply};

use crate::support::database::Database;
use crate::support::raw::Raw;
use crate::support::site::site;

/// Counts what it is told, by name and labels.
#[derive(Clone, Debug, Default)]
struct Board(Arc<Mutex<BTreeMap<String, u64>>>);

struct Cell(Board, String);

impl CounterFn for Cell {
    fn increment(&self, value: u64) {
        *self.0.0.lock().entry(self.1.clone()).or_default() += value;
    }

    fn absolute(&self, _value: u64) {
        panic!("what happens is counted");
    }
}

impl HistogramFn for Cell {
    fn record(&self, value: f64) {
        assert!(value >= 0.0);
        *self.0.0.lock().entry(self.1.clone()).or_default() += 1;
    }
}

fn name_of(key: &Key) -> String {
    let labels: Vec<_> = key
        .labels()
        .map(|label| format!("{}={}", label.key(), label.value()))
        .collect();
    format!("{}{{{}}}", key.name(), labels.join(","))
}

impl Recorder for Board {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(Cell(self.clone(), name_of(key))))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(Cell(self.clone(), name_of(key))))
    }
}

impl Board {
    fn lines(&self) -> Vec<String> {
        let lines = self.0.lock();
        lines
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect()
    }
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status() {
    let board = Board::default();
    let _here = metrics::set_default_local_recorder(&board);
    let hello = warp::path!("hello" / String)
        .map(|name| format!("hello, {name}"))
        .map(|answer| http::named("hello", answer));
    let crash = warp::path!("crash")
        .map(|| -> String { panic!("on purpose") })
        .map(Reply::into_response);
    let site = site(hello.or(crash), Options::default()).await;
    let mut raw = Raw::connect(site.address).await;
    for path in ["/hello/a", "/hello/b", "/crash", "/nowhere"] {
        raw.get(path).await;
    }
    raw.send("BREW /hello/c HTTP/1.1\r\nhost: x\r\n\r\n").await;
    raw.answer().await.unwrap();
    assert_eq!(
        board.lines(),
        [
            "mesh_runtime_http_request_seconds{server=web,route=hello} 3",
            "mesh_runtime_http_request_seconds{server=web,route=unnamed} 2",
            "mesh_runtime_http_requests_total{server=web,route=hello,method=GET,status=200} 2",
            "mesh_runtime_http_requests_total{server=web,route=hello,method=other,status=200} 1",
            "mesh_runtime_http_requests_total{server=web,route=unnamed,method=GET,status=404} 1",
            "mesh_runtime_http_requests_total{server=web,route=unnamed,method=GET,status=500} 1",
        ]
    );
}

#[tokio::test]
async fn checkouts_are_counted_by_how_they_ended() {
    let database = Database::started();
    let board = Board::default();
    let _here = metrics::set_default_local_recorder(&board);
    let system = System::new();
    let options = postgres::Options {
        size_max: 1,
        ..postgres::Options::default()
    };
    let child = postgres::pool("database", database.config(), options);
    system
        .supervise(Supervisor::new(Strategy::OneForOne).child(child))
        .await
        .unwrap();
    let pool = Pool::named(&system, "database");
    let lent = pool.get().await.unwrap();
    let hasty = pool.with_checkout_timeout(Duration::from_millis(1));
    assert!(hasty.get().await.is_err());
    drop(lent);
    assert!(Pool::named(&system, "nobody").get().await.is_err());
    assert_eq!(
        board.lines(),
        [
            "mesh_runtime_postgres_checkouts_total{pool=database,outcome=lent} 1",
            "mesh_runtime_postgres_checkouts_total{pool=database,outcome=timeout} 1",
            "mesh_runtime_postgres_checkouts_total{pool=nobody,outcome=closed} 1",
            "mesh_runtime_postgres_wait_seconds{pool=database} 2",
            "mesh_runtime_postgres_wait_seconds{pool=nobody} 1",
        ]
    );
}
