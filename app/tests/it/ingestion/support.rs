//! A door over a real spool in a directory of its own, and what reads back what it accepted.

use std::io::Read as _;
use std::time::Duration;

use mesh_runtime::{Strategy, Supervisor, System};
use mesher::domain::{EventId, ProjectNumber, RawEvent};
use mesher::ingestion::{
    Admission, DoorCounts, DoorLimits, Grant, KeyCache, SpoolHandle, SpoolOptions, spool,
};
use mesher::pressure::Pressure;
use tempfile::TempDir;
use uuid::Uuid;

/// The key every test's project number 1 takes.
pub(crate) const KEY: &str = "a94ae32be2584e0bbd7a4cbb95971fee";
/// A key of project number 2.
pub(crate) const OTHER_KEY: &str = "b94ae32be2584e0bbd7a4cbb95971fee";

/// A door with everything behind it up to the spool.
pub(crate) struct Door {
    pub(crate) admission: Admission,
    pub(crate) spool: SpoolHandle,
    pub(crate) keys: KeyCache,
    pub(crate) pressure: Pressure,
    pub(crate) counts: DoorCounts,
    pub(crate) system: System,
    _directory: TempDir,
}

/// What a key opens.
pub(crate) fn grant(key: &str, number: i32) -> Grant {
    Grant {
        public_key: key.parse().unwrap(),
        project_id: Uuid::from_u128(u128::from(number.unsigned_abs())).into(),
        number: ProjectNumber::new(number),
        rate_limit: None,
        project_rate_limit: None,
        kept_per_million: 1_000_000,
    }
}

/// A door with these limits over a spool with these bounds.
pub(crate) async fn door_with(limits: DoorLimits, change: impl FnOnce(&mut SpoolOptions)) -> Door {
    let directory = tempfile::tempdir().unwrap();
    let mut options = SpoolOptions::new(directory.path().join("spool"));
    options.segment_bytes = 1 << 20;
    options.record_bytes_max = 512 << 10;
    change(&mut options);
    let system = System::new();
    let tree = Supervisor::new(Strategy::OneForOne).child(spool::child(options));
    system.supervise(tree).await.unwrap();
    let spool = SpoolHandle::new(&system);
    let keys = KeyCache::new();
    keys.replace([grant(KEY, 1), grant(OTHER_KEY, 2)]);
    let (pressure, counts) = (Pressure::new(), DoorCounts::new());
    let admission = Admission::new(
        system.clone(),
        spool.clone(),
        keys.clone(),
        pressure.clone(),
        counts.clone(),
        limits,
    );
    Door {
        admission,
        spool,
        keys,
        pressure,
        counts,
        system,
        _directory: directory,
    }
}

/// A door with the usual bounds.
pub(crate) async fn door() -> Door {
    door_with(DoorLimits::default(), |_| {}).await
}

impl Door {
    /// The events in the spool, in order.
    pub(crate) async fn spooled(&self) -> Vec<RawEvent> {
        let mut from = 0;
        let mut events = Vec::new();
        let end = self.spool.status().await.unwrap().end;
        while from < end {
            let chunk = self.spool.read(from, Duration::from_secs(5)).await.unwrap();
            from = chunk.next;
            events.extend(
                chunk
                    .records
                    .iter()
                    .map(|(_, bytes)| RawEvent::from_bytes(bytes).unwrap()),
            );
        }
        events
    }

    /// The ids of the events in the spool, in order.
    pub(crate) async fn spooled_ids(&self) -> Vec<EventId> {
        let events = self.spooled().await;
        events.iter().map(|event| event.event_id).collect()
    }
}

/// A raw event's JSON.
pub(crate) fn json_of(event: &RawEvent) -> serde_json::Value {
    let mut json = Vec::new();
    zstd::Decoder::new(&event.payload[..])
        .unwrap()
        .read_to_end(&mut json)
        .unwrap();
    serde_json::from_slice(&json).unwrap()
}
