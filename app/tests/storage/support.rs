//! Events, chunks and counts for the tests of storage.

use bytes::Bytes;
use jiff::Timestamp;
use mesher::domain::{
    EventId, Fingerprint, GroupedEvent, Grouping, ProjectId, PublicKey, Severity,
};
use mesher::storage::projects::{self, ProjectRow};
use mesher::storage::spools;
use mesher::storage::writer::Chunk;
use tokio_postgres::Client;
use uuid::Uuid;

/// A random id.
pub(crate) fn id() -> Uuid {
    Uuid::new_v4()
}

/// The time now, by the database's clock.
pub(crate) async fn now(client: &Client) -> Timestamp {
    client.query_one("SELECT now()", &[]).await.unwrap().get(0)
}

/// The default project, made if need be.
pub(crate) async fn project(client: &mut Client) -> ProjectRow {
    let key = PublicKey::from_bytes(*id().as_bytes());
    projects::ensure_first(client, id().into(), id().into(), key)
        .await
        .unwrap();
    projects::find(client, "default").await.unwrap().unwrap()
}

/// An event that is grouped by its title.
pub(crate) fn event(project: ProjectId, title: &str, at: Timestamp) -> GroupedEvent {
    let at = Timestamp::from_microsecond(at.as_microsecond()).unwrap();
    let fingerprint = Fingerprint {
        version: 1,
        hash: Uuid::new_v5(&Uuid::nil(), title.as_bytes())
            .simple()
            .to_string(),
    };
    GroupedEvent {
        event_id: EventId::from_uuid(id()),
        project_id: project,
        received_at: at,
        occurred_at: at,
        level: Severity::Error,
        platform: "python".into(),
        title: title.into(),
        culprit: "app.views".into(),
        message: format!("{title} happened"),
        environment: "production".into(),
        release: Some("1.0".into()),
        dist: None,
        logger: None,
        transaction: Some("/checkout".into()),
        server_name: None,
        user: Some("id:7".into()),
        tags: vec![
            ("browser".into(), "Chrome 120".into()),
            ("q".into(), "a=b".into()),
        ],
        exception_type: Some("ValueError".into()),
        exception_value: Some(title.into()),
        sdk_name: Some("sentry.python".into()),
        sdk_version: Some("2.0".into()),
        candidates: vec![fingerprint.issue_id(project)],
        fingerprint,
        grouping: Grouping::default(),
        payload: Bytes::from(
            zstd::encode_all(format!(r#"{{"title":{title:?}}}"#).as_bytes(), 1).unwrap(),
        ),
    }
}

/// A spool as the router sees it.
pub(crate) struct Spool {
    id: Uuid,
    epoch: i64,
    released: u64,
}

impl Spool {
    /// Opens a new one.
    pub(crate) async fn open(client: &Client) -> Spool {
        let id = id();
        let position = spools::open(client, id).await.unwrap();
        Spool {
            id,
            epoch: position.epoch,
            released: position.released,
        }
    }

    /// Its id in the database.
    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    /// The next records; the spool moves on only when told so.
    pub(crate) fn chunk(&self, events: Vec<GroupedEvent>) -> Chunk {
        Chunk {
            spool_id: self.id,
            epoch: self.epoch,
            released: self.released,
            next: self.released + events.len().max(1) as u64,
            events,
            quarantined: vec![],
            outcomes: vec![],
        }
    }

    /// After a chunk was stored.
    pub(crate) fn advance(&mut self, chunk: &Chunk) {
        self.released = chunk.next;
    }
}

/// A single number.
pub(crate) async fn count(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// What must hold whatever happened: counters equal rows, and each accepted event has one outcome.
pub(crate) async fn check_equality(client: &Client) {
    let wrong = count(
        client,
        "SELECT count(*) FROM issues i WHERE event_count <> (SELECT count(*) FROM events e WHERE e.issue_id = i.id)",
    )
    .await;
    assert_eq!(wrong, 0, "issues whose counters differ from their rows");
    let orphans = count(
        client,
        "SELECT count(*) FROM events e WHERE NOT EXISTS (SELECT FROM issues i WHERE i.id = e.issue_id)",
    )
    .await;
    assert_eq!(orphans, 0, "events without an issue");
    let rows = count(client, "SELECT count(*) FROM events").await;
    let counted = count(
        client,
        "SELECT coalesce(sum(quantity), 0)::int8 FROM outcomes WHERE outcome = 'stored'",
    )
    .await;
    assert_eq!(rows, counted, "outcomes stored differ from rows");
    let projects = count(
        client,
        "SELECT coalesce(sum(event_count), 0)::int8 FROM project_counters",
    )
    .await;
    assert_eq!(rows, projects, "the projects' counters differ from rows");
    let changes = count(
        client,
        "SELECT coalesce(sum(quantity), 0)::int8 FROM outbox",
    )
    .await;
    assert_eq!(rows, changes, "the outbox differs from rows");
}
