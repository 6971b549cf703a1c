//! The `metrics` facade: what a recorder is told, by name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mesh_runtime::{Context, System};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString,
    Unit,
};
use parking_lot::Mutex;

use crate::support::{PATIENCE, soon, until};

/// Remembers the last value of each metric.
#[derive(Clone, Debug, Default)]
struct Board(Arc<Mutex<BTreeMap<String, u64>>>);

struct Cell(Board, String);

impl Cell {
    fn set(&self, value: u64) {
        self.0.0.lock().insert(self.1.clone(), value);
    }
}

impl CounterFn for Cell {
    fn increment(&self, _value: u64) {
        panic!("counters are told whole");
    }

    fn absolute(&self, value: u64) {
        self.set(value);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole numbers in floats"
)]
impl GaugeFn for Cell {
    fn increment(&self, _value: f64) {
        panic!("gauges are told whole");
    }

    fn decrement(&self, _value: f64) {
        panic!("gauges are told whole");
    }

    fn set(&self, value: f64) {
        Cell::set(self, value as u64);
    }
}

fn name_of(key: &Key) -> String {
    let labels: Vec<String> = key
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

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(Cell(self.clone(), name_of(key))))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

impl Board {
    fn get(&self, name: &str) -> Option<u64> {
        self.0.lock().get(name).copied()
    }
}

#[tokio::test]
async fn metrics_have_the_documented_names() {
    let system = System::builder().name("shop").build();
    let waiting = system.spawn(|cx: Context<u8>| async move { cx.sleep(PATIENCE).await });
    waiting.send(1).unwrap();
    waiting.send(2).unwrap();
    let panics = system.spawn(|_cx: Context<u8>| async move {
        assert!(std::hint::black_box(false), "on purpose");
    });
    soon(&system, system.wait_for_exit(panics.pid())).await;
    let board = Board::default();
    metrics::with_local_recorder(&board, || system.record_metrics());
    let told = board.0.lock().clone();
    for (name, value) in [
        ("mesh_runtime_processes{system=shop}", 1),
        ("mesh_runtime_mailbox_messages{system=shop}", 2),
        ("mesh_runtime_mailbox_messages_max{system=shop}", 2),
        ("mesh_runtime_processes_spawned_total{system=shop}", 2),
        ("mesh_runtime_processes_exited_total{system=shop}", 1),
        ("mesh_runtime_processes_panicked_total{system=shop}", 1),
        ("mesh_runtime_dead_letters_total{system=shop,why=unread}", 0),
    ] {
        assert_eq!(told.get(name), Some(&value), "{name} in {told:?}");
    }
    // The table in `telemetry` has each name, and no other; those of the edges are told as things happen, and tested there.
    let source = include_str!("../../src/telemetry.rs");
    let documented: Vec<&str> = source
        .split("//! | `mesh_runtime_")
        .skip(1)
        .map(|row| row.split('`').next().unwrap())
        .filter(|name| !name.starts_with("http_") && !name.starts_with("postgres_"))
        .collect();
    let mut names: Vec<&str> = told
        .keys()
        .map(|key| {
            key.trim_start_matches("mesh_runtime_")
                .split('{')
                .next()
                .unwrap()
        })
        .collect();
    names.dedup();
    assert_eq!(names.len(), documented.len());
    assert!(
        names.iter().all(|name| documented.contains(name)),
        "{names:?}"
    );
}

#[test]
fn metrics_are_recorded_every_so_often() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let board = Board::default();
    metrics::with_local_recorder(&board, || {
        runtime.block_on(async {
            let system = System::builder()
                .name("clockwork")
                .metrics_every(Duration::ZERO)
                .build();
            let spawned = "mesh_runtime_processes_spawned_total{system=clockwork}";
            until(&system, || board.get(spawned) == Some(0)).await;
            system.spawn(|_cx: Context<()>| async {});
            until(&system, || board.get(spawned) == Some(1)).await;
        });
    });
}
