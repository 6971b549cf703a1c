//! API tokens: for programs, by `Authorization: Bearer`; shown once, kept as hashes.

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::{Error, GenericClient};
use uuid::Uuid;

use super::secret::Secret;
use crate::domain::{OrganizationId, UserId};

pub(crate) const STATEMENTS: &[&str] = &[CREATE, FIND, LIST, REVOKE, FIRST_ORGANIZATION];

/// What tokens begin with, so that they are recognised where they leak.
pub const PREFIX: &str = "msh_";

const CREATE: &str = "INSERT INTO api_tokens (id, organization_id, name, token_hash, created_by) \
     VALUES ($1, $2, $3, $4, $5)";
const FIND: &str = "SELECT id, organization_id, name, created_at FROM api_tokens \
     WHERE token_hash = $1 AND revoked_at IS NULL";
const LIST: &str = "SELECT id, organization_id, name, created_at FROM api_tokens \
     WHERE organization_id = $1 AND revoked_at IS NULL ORDER BY created_at, id";
const REVOKE: &str =
    "UPDATE api_tokens SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL";
const FIRST_ORGANIZATION: &str = "SELECT id FROM organizations ORDER BY created_at, id LIMIT 1";

/// A token that is in use.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TokenRow {
    /// Its identity; not the token.
    pub id: Uuid,
    /// Whose data it opens.
    #[serde(skip)]
    pub organization_id: OrganizationId,
    /// What people call it.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

impl TokenRow {
    fn from_row(row: &tokio_postgres::Row) -> TokenRow {
        TokenRow {
            id: row.get(0),
            organization_id: OrganizationId::from_uuid(row.get(1)),
            name: row.get(2),
            created_at: row.get(3),
        }
    }
}

/// Adds a token.
///
/// # Errors
///
/// What the database says.
pub async fn create(
    client: &impl GenericClient,
    id: Uuid,
    organization: OrganizationId,
    name: &str,
    token: &Secret,
    by: Option<UserId>,
) -> Result<(), Error> {
    let by = by.map(UserId::into_uuid);
    client
        .execute(
            CREATE,
            &[&id, &organization.into_uuid(), &name, &token.digest(), &by],
        )
        .await?;
    Ok(())
}

/// The token that somebody presents, unless it is unknown or revoked.
///
/// # Errors
///
/// What the database says.
pub async fn find(client: &impl GenericClient, token: &Secret) -> Result<Option<TokenRow>, Error> {
    let row = client.query_opt(FIND, &[&token.digest()]).await?;
    Ok(row.as_ref().map(TokenRow::from_row))
}

/// An organisation's tokens, oldest first.
///
/// # Errors
///
/// What the database says.
pub async fn list(
    client: &impl GenericClient,
    organization: OrganizationId,
) -> Result<Vec<TokenRow>, Error> {
    let rows = client.query(LIST, &[&organization.into_uuid()]).await?;
    Ok(rows.iter().map(TokenRow::from_row).collect())
}

/// Ends a token; `false` if there was none.
///
/// # Errors
///
/// What the database says.
pub async fn revoke(client: &impl GenericClient, id: Uuid) -> Result<bool, Error> {
    Ok(client.execute(REVOKE, &[&id]).await? > 0)
}

/// The organisation that the command line works for: the oldest.
///
/// # Errors
///
/// What the database says.
pub async fn first_organization(
    client: &impl GenericClient,
) -> Result<Option<OrganizationId>, Error> {
    let row = client.query_opt(FIRST_ORGANIZATION, &[]).await?;
    Ok(row.map(|row| OrganizationId::from_uuid(row.get(0))))
}
