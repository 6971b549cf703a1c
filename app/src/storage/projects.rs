//! Organisations, projects and their keys.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, Error, GenericClient, Row};
use uuid::Uuid;

use super::transaction;
use crate::domain::{OrganizationId, Project, ProjectId, ProjectKey, ProjectNumber, PublicKey};

pub(crate) const STATEMENTS: &[&str] = &[
    LIST,
    FIND,
    CREATE_ORGANIZATION,
    CREATE,
    CREATE_COUNTERS,
    ADD_KEY,
    KEYS,
    FIND_KEY,
    FIRST_LOCK,
    FIRST_PROJECT,
    LIMITS,
    SET_KEY_LIMITS,
    SET_PROJECT_LIMITS,
];

/// The lock under which the first project is made once, whoever starts first.
const FIRST: i64 = 0x6d65_7368_6572_0003;

const LIST: &str = "SELECT p.id, p.number, p.organization_id, p.slug, p.name, p.platform, p.created_at, \
     coalesce(c.event_count, 0), (SELECT k.public_key FROM project_keys k WHERE k.project_id = p.id AND k.active \
     ORDER BY k.created_at, k.public_key LIMIT 1) \
     FROM projects p LEFT JOIN project_counters c ON c.project_id = p.id \
     WHERE ($1::uuid IS NULL OR p.organization_id = $1) ORDER BY p.number";
const FIND: &str = "SELECT p.id, p.number, p.organization_id, p.slug, p.name, p.platform, p.created_at, \
     coalesce(c.event_count, 0), (SELECT k.public_key FROM project_keys k WHERE k.project_id = p.id AND k.active \
     ORDER BY k.created_at, k.public_key LIMIT 1) \
     FROM projects p LEFT JOIN project_counters c ON c.project_id = p.id \
     WHERE p.id = $1 OR ($1::uuid IS NULL AND p.slug = $2)";
const CREATE_ORGANIZATION: &str = "INSERT INTO organizations (id, slug, name) VALUES ($1, $2, $3)";
const CREATE: &str =
    "INSERT INTO projects (id, organization_id, slug, name, platform) VALUES ($1, $2, $3, $4, $5)";
const CREATE_COUNTERS: &str = "INSERT INTO project_counters (project_id) VALUES ($1)";
const ADD_KEY: &str =
    "INSERT INTO project_keys (public_key, project_id, label) VALUES ($1, $2, $3)";
const KEYS: &str = "SELECT k.public_key, k.project_id, k.label, k.active, p.number, k.rate_limit, p.sample_rate, p.rate_limit FROM project_keys k \
     JOIN projects p ON p.id = k.project_id ORDER BY k.created_at, k.public_key";
const FIND_KEY: &str = "SELECT k.public_key, k.project_id, k.label, k.active, p.number, k.rate_limit, p.sample_rate, p.rate_limit FROM project_keys k \
     JOIN projects p ON p.id = k.project_id WHERE k.public_key = $1";
const FIRST_LOCK: &str = "SELECT pg_advisory_xact_lock($1)";
const FIRST_PROJECT: &str = "SELECT id FROM projects ORDER BY number LIMIT 1";

const LIMITS: &str = "SELECT p.rate_limit, (SELECT min(k.rate_limit) FROM project_keys k WHERE k.project_id = p.id AND k.active), \
     p.sample_rate FROM projects p WHERE p.id = $1";
const SET_KEY_LIMITS: &str = "UPDATE project_keys SET rate_limit = $2 WHERE project_id = $1";
const SET_PROJECT_LIMITS: &str =
    "UPDATE projects SET rate_limit = $2, sample_rate = $3 WHERE id = $1";

/// A project as lists show it. The API makes the DSN of number and key; the key itself is not part of the answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProjectRow {
    /// Its identity.
    pub id: ProjectId,
    /// The number DSNs carry.
    pub number: ProjectNumber,
    /// Who owns it.
    #[serde(skip)]
    pub organization_id: OrganizationId,
    /// Its name in paths.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// The platform chosen at its creation.
    pub platform: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// How many events were ever stored.
    pub event_count: i64,
    /// Its oldest active key.
    #[serde(skip)]
    pub public_key: Option<PublicKey>,
}

/// A key with what the door needs to know of its project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// The key.
    pub key: ProjectKey,
    /// The number of its project, which the path must name.
    pub number: ProjectNumber,
    /// Events a second it may send; 0 is no limit, `None` the server's default.
    pub rate_limit: Option<u32>,
    /// Events a second that all keys of its project may send together; 0 and `None` are no limit.
    pub project_rate_limit: Option<u32>,
    /// Of a million events of its project, how many are kept.
    pub kept_per_million: u32,
}

/// How much of a project's events is let in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectLimits {
    /// Events a second of all its keys together; 0 and `None` are no limit. In JSON `null`, but never left out.
    #[serde(deserialize_with = "Option::deserialize")]
    pub rate_limit: Option<u32>,
    /// Events a second for each of its keys; 0 is no limit, `None` the server's default. In JSON `null`, but never left out: whoever
    /// knows only the other one would take this one away.
    #[serde(deserialize_with = "Option::deserialize")]
    pub key_rate_limit: Option<u32>,
    /// The part of its events that is kept, from 0 to 1.
    pub sample_rate: f64,
}

/// What is needed to make a project.
#[derive(Clone, Debug)]
pub struct NewProject {
    /// Its identity, random.
    pub id: ProjectId,
    /// Its name in paths, unique.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// Its platform, if known.
    pub platform: Option<String>,
    /// Its first key, random.
    pub key: PublicKey,
}

impl ProjectRow {
    fn from_row(row: &Row) -> ProjectRow {
        ProjectRow {
            id: ProjectId::from_uuid(row.get(0)),
            number: ProjectNumber::new(row.get(1)),
            organization_id: OrganizationId::from_uuid(row.get(2)),
            slug: row.get(3),
            name: row.get(4),
            platform: row.get(5),
            created_at: row.get(6),
            event_count: row.get(7),
            public_key: row
                .get::<_, Option<&str>>(8)
                .and_then(|text| text.parse().ok()),
        }
    }

    /// The project without its numbers.
    #[must_use]
    pub fn project(&self) -> Project {
        Project {
            id: self.id,
            number: self.number,
            organization_id: self.organization_id,
            slug: self.slug.clone(),
            name: self.name.clone(),
            platform: self.platform.clone(),
        }
    }
}

impl KeyRow {
    fn from_row(row: &Row) -> Option<KeyRow> {
        Some(KeyRow {
            key: ProjectKey {
                // The table's check lets only keys in.
                public_key: row.get::<_, &str>(0).parse().ok()?,
                project_id: ProjectId::from_uuid(row.get(1)),
                label: row.get(2),
                active: row.get(3),
            },
            number: ProjectNumber::new(row.get(4)),
            rate_limit: rate(row, 5),
            project_rate_limit: rate(row, 7),
            kept_per_million: per_million(row.get(6)),
        })
    }
}

/// A limit of rate, which the table's check keeps from being negative.
fn rate(row: &Row, column: usize) -> Option<u32> {
    row.get::<_, Option<i32>>(column)
        .and_then(|limit| u32::try_from(limit).ok())
}

/// A rate from 0 to 1 in millionths.
fn per_million(rate: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the value is clamped to what fits"
    )]
    let millionths = (rate.clamp(0.0, 1.0) * 1e6).round() as u32;
    millionths
}

/// How much of a project's events is let in; `None` if there is no such project.
///
/// # Errors
///
/// What the database says.
pub async fn limits(
    client: &impl GenericClient,
    project: ProjectId,
) -> Result<Option<ProjectLimits>, Error> {
    let row = client.query_opt(LIMITS, &[&project.into_uuid()]).await?;
    Ok(row.map(|row| ProjectLimits {
        rate_limit: rate(&row, 0),
        key_rate_limit: rate(&row, 1),
        sample_rate: row.get(2),
    }))
}

/// Sets how much of a project's events is let in; a rate beyond what the database's integers hold counts as the largest there is.
///
/// # Errors
///
/// What the database says; nothing is changed then.
pub async fn set_limits(
    client: &mut Client,
    project: ProjectId,
    limits: &ProjectLimits,
) -> Result<(), Error> {
    let stored = |limit: Option<u32>| limit.map(|limit| i32::try_from(limit).unwrap_or(i32::MAX));
    let (rate_limit, key_rate_limit) = (stored(limits.rate_limit), stored(limits.key_rate_limit));
    let transaction = transaction::begin(client).await?;
    transaction
        .execute(SET_KEY_LIMITS, &[&project.into_uuid(), &key_rate_limit])
        .await?;
    transaction
        .execute(
            SET_PROJECT_LIMITS,
            &[&project.into_uuid(), &rate_limit, &limits.sample_rate],
        )
        .await?;
    transaction.commit().await
}

/// The projects of an organisation, or all, by number.
///
/// # Errors
///
/// What the database says.
pub async fn list(
    client: &impl GenericClient,
    organization: Option<OrganizationId>,
) -> Result<Vec<ProjectRow>, Error> {
    let organization = organization.map(OrganizationId::into_uuid);
    let rows = client.query(LIST, &[&organization]).await?;
    Ok(rows.iter().map(ProjectRow::from_row).collect())
}

/// The project that `name` means: its UUID or its slug.
///
/// # Errors
///
/// What the database says.
pub async fn find(client: &impl GenericClient, name: &str) -> Result<Option<ProjectRow>, Error> {
    if name.contains('\0') {
        return Ok(None);
    }
    let id = name.parse().ok().map(ProjectId::into_uuid);
    let row = client.query_opt(FIND, &[&id, &name]).await?;
    Ok(row.as_ref().map(ProjectRow::from_row))
}

/// As [`find`], but only what belongs to `organization`; whether it exists elsewhere is not told.
///
/// # Errors
///
/// What the database says.
pub async fn find_of(
    client: &impl GenericClient,
    organization: OrganizationId,
    name: &str,
) -> Result<Option<ProjectRow>, Error> {
    let found = find(client, name).await?;
    Ok(found.filter(|project| project.organization_id == organization))
}

/// Makes a project with one key.
///
/// # Errors
///
/// What the database says; a slug that is taken is SQLSTATE 23505.
pub async fn create(
    client: &mut Client,
    organization: OrganizationId,
    project: &NewProject,
) -> Result<(), Error> {
    let transaction = transaction::begin(client).await?;
    insert(&transaction, organization, project).await?;
    transaction.commit().await
}

async fn insert(
    client: &impl GenericClient,
    organization: OrganizationId,
    project: &NewProject,
) -> Result<(), Error> {
    let id = project.id.into_uuid();
    client
        .execute(
            CREATE,
            &[
                &id,
                &organization.into_uuid(),
                &project.slug,
                &project.name,
                &project.platform,
            ],
        )
        .await?;
    client.execute(CREATE_COUNTERS, &[&id]).await?;
    add_key(client, project.id, project.key, "Default").await
}

/// Adds a key to a project.
///
/// # Errors
///
/// What the database says.
pub async fn add_key(
    client: &impl GenericClient,
    project: ProjectId,
    key: PublicKey,
    label: &str,
) -> Result<(), Error> {
    client
        .execute(ADD_KEY, &[&key.to_string(), &project.into_uuid(), &label])
        .await?;
    Ok(())
}

/// Every key of every project, revoked ones included.
///
/// # Errors
///
/// What the database says.
pub async fn keys(client: &impl GenericClient) -> Result<Vec<KeyRow>, Error> {
    let rows = client.query(KEYS, &[]).await?;
    Ok(rows.iter().filter_map(KeyRow::from_row).collect())
}

/// One key.
///
/// # Errors
///
/// What the database says.
pub async fn find_key(
    client: &impl GenericClient,
    key: PublicKey,
) -> Result<Option<KeyRow>, Error> {
    let row = client.query_opt(FIND_KEY, &[&key.to_string()]).await?;
    Ok(row.as_ref().and_then(KeyRow::from_row))
}

/// Makes organisation and project `default` if there is no project at all; `true` if it did. Safe on any number of nodes.
///
/// # Errors
///
/// What the database says.
pub async fn ensure_first(
    client: &mut Client,
    organization: OrganizationId,
    project: ProjectId,
    key: PublicKey,
) -> Result<bool, Error> {
    let transaction = transaction::begin(client).await?;
    transaction.execute(FIRST_LOCK, &[&FIRST]).await?;
    let existing: Option<Uuid> = transaction
        .query_opt(FIRST_PROJECT, &[])
        .await?
        .map(|row| row.get(0));
    if existing.is_some() {
        return Ok(false);
    }
    transaction
        .execute(
            CREATE_ORGANIZATION,
            &[&organization.into_uuid(), &"default", &"Default"],
        )
        .await?;
    let first = NewProject {
        id: project,
        slug: "default".to_owned(),
        name: "Default".to_owned(),
        platform: None,
        key,
    };
    insert(&transaction, organization, &first).await?;
    transaction.commit().await?;
    Ok(true)
}
