//! The dictionaries that payloads were packed with: kept as long as any event can name one.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tokio_postgres::{Client, Error, GenericClient, Row};
use uuid::Uuid;

use super::{partitions, transaction};
use crate::domain::ProjectId;
use crate::domain::payload::{self, Dictionary, DictionaryId, PayloadError};

pub(crate) const STATEMENTS: &[&str] = &[IS_KEPT, ADD, FIND, NEWEST, NEWEST_OF, PRUNE];

/// Whether a dictionary is there, as long-lived as it should be, and undamaged.
const IS_KEPT: &str = "SELECT FROM payload_dictionaries WHERE project_id = $1 AND id = $2 AND made_at >= $3 \
     AND substr(sha256(content), 1, 16) = uuid_send(id)";
/// Made again, it lives from then on, and a damaged content is mended.
const ADD: &str = "INSERT INTO payload_dictionaries (project_id, id, made_at, content) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (project_id, id) DO UPDATE SET made_at = greatest(payload_dictionaries.made_at, excluded.made_at), content = excluded.content";
const FIND: &str = "SELECT content FROM payload_dictionaries WHERE project_id = $1 AND id = $2";
const NEWEST: &str = "SELECT d.project_id, d.id, d.made_at, d.content FROM (SELECT DISTINCT ON (project_id) project_id, id, made_at, content \
     FROM payload_dictionaries WHERE made_at > $1 ORDER BY project_id, made_at DESC) d ORDER BY d.made_at DESC LIMIT $2";
const NEWEST_OF: &str = "SELECT project_id, id, made_at, content FROM payload_dictionaries WHERE project_id = $1 AND made_at > $2 \
     ORDER BY made_at DESC LIMIT 1";
/// `$1` is the midnight that today began with, `$2` the hours that a row is kept beyond its project's events.
const PRUNE: &str = "DELETE FROM payload_dictionaries d USING projects p WHERE p.id = d.project_id \
     AND d.made_at < $1::timestamptz - (p.retention_days * 24 + $2) * interval '1 hour'";

/// A committed transaction is on the disk, whatever the server's default: an event that names the dictionary may be acknowledged right after,
/// and lies then in a spool that PostgreSQL's own loss of memory does not reach.
const DURABLE: &str = "SET LOCAL synchronous_commit = on";

/// How long a row stays beyond the last event that may name it: days are dropped whole.
const SLACK: SignedDuration = SignedDuration::from_hours(24);

/// Makes a dictionary durable, unless it is already; only then may it pack an event.
///
/// # Errors
///
/// What the database says; that there is no such project is SQLSTATE 23503.
pub async fn add(
    client: &mut Client,
    project: ProjectId,
    dictionary: &Dictionary,
) -> Result<(), Error> {
    let (project, id) = (project.into_uuid(), dictionary.id().into_uuid());
    let kept = client
        .query_opt(IS_KEPT, &[&project, &id, &dictionary.made_at()])
        .await?;
    if kept.is_some() {
        return Ok(());
    }
    let transaction = transaction::begin(client).await?;
    transaction.batch_execute(DURABLE).await?;
    transaction
        .execute(
            ADD,
            &[
                &project,
                &id,
                &dictionary.made_at(),
                &&dictionary.content()[..],
            ],
        )
        .await?;
    transaction.commit().await
}

/// The content of a dictionary.
///
/// # Errors
///
/// What the database says.
pub async fn find(
    client: &impl GenericClient,
    project: ProjectId,
    id: DictionaryId,
) -> Result<Option<Vec<u8>>, Error> {
    let row = client
        .query_opt(FIND, &[&project.into_uuid(), &id.into_uuid()])
        .await?;
    Ok(row.map(|row| row.get(0)))
}

/// The newest dictionary of each project made after a time, the newest of all first, at most so many.
///
/// # Errors
///
/// What the database says.
pub async fn newest(
    client: &impl GenericClient,
    after: Timestamp,
    limit: u16,
) -> Result<Vec<(ProjectId, Dictionary)>, Error> {
    let rows = client.query(NEWEST, &[&after, &i64::from(limit)]).await?;
    Ok(rows.iter().filter_map(undamaged).collect())
}

/// A row's dictionary. One with another content than its id says would pack events under an id that no row has.
fn undamaged(row: &Row) -> Option<(ProjectId, Dictionary)> {
    let project = ProjectId::from_uuid(row.get(0));
    let dictionary = Dictionary::new(row.get::<_, Vec<u8>>(3), row.get(2));
    let id: Uuid = row.get(1);
    if dictionary.id().into_uuid() != id {
        tracing::warn!(project.id = %project, dictionary.id = %id.simple(), "a payload dictionary is damaged and not used");
        return None;
    }
    Some((project, dictionary))
}

/// The newest dictionary of a project, if it was made after a time.
///
/// # Errors
///
/// What the database says.
pub async fn newest_of(
    client: &impl GenericClient,
    project: ProjectId,
    after: Timestamp,
) -> Result<Option<Dictionary>, Error> {
    let row = client
        .query_opt(NEWEST_OF, &[&project.into_uuid(), &after])
        .await?;
    let found = row.as_ref().and_then(undamaged);
    Ok(found.map(|(_, dictionary)| dictionary))
}

/// The JSON of a stored payload, with its dictionary if it names one.
///
/// # Errors
///
/// What the database says; inside, what is wrong with the payload.
pub async fn unpack(
    client: &impl GenericClient,
    project: ProjectId,
    payload: &[u8],
) -> Result<Result<Vec<u8>, PayloadError>, Error> {
    let content = match payload::dictionary_of(payload) {
        Some(id) => find(client, project, id).await?,
        None => None,
    };
    Ok(payload::unpack(payload, content.as_deref()))
}

/// A payload that needs no dictionary: for what is kept longer than events are. One that cannot be read stays as it is.
///
/// # Errors
///
/// What the database says.
pub(crate) async fn freed(
    client: &impl GenericClient,
    project: ProjectId,
    payload: &[u8],
) -> Result<Vec<u8>, Error> {
    if payload::dictionary_of(payload).is_some()
        && let Ok(json) = unpack(client, project, payload).await?
    {
        let mut packed = Vec::new();
        if payload::pack(&json, None, &mut packed).is_ok() {
            return Ok(packed);
        }
    }
    Ok(payload.to_vec())
}

/// Deletes the dictionaries that no event names any more; returns how many. Events must have been dropped up to `now` before.
///
/// # Errors
///
/// What the database says.
pub async fn prune(client: &impl GenericClient, now: Timestamp) -> Result<u64, Error> {
    let Some(today) = midnight(partitions::day(now)) else {
        return Ok(0);
    };
    let beyond = i32::try_from((Dictionary::LIFE + SLACK).as_hours()).expect("a few days");
    client.execute(PRUNE, &[&today, &beyond]).await
}

fn midnight(day: Date) -> Option<Timestamp> {
    let zoned = day.to_zoned(TimeZone::UTC).ok()?;
    Some(zoned.timestamp())
}
