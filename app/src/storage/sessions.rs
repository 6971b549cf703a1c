//! Sessions of the dashboard: a random token in a cookie, of which we keep the hash.

use jiff::Timestamp;
use tokio_postgres::{Error, GenericClient};

use super::secret::Secret;
use super::users::UserRow;
use crate::domain::UserId;

pub(crate) const STATEMENTS: &[&str] = &[CREATE, FIND, DELETE, EXPIRE];

const CREATE: &str = "INSERT INTO sessions (token_hash, user_id, expires_at) VALUES ($1, $2, $3)";
const FIND: &str = "SELECT u.id, u.email, u.name, m.role, m.organization_id, u.password_hash \
     FROM sessions s JOIN users u ON u.id = s.user_id JOIN memberships m ON m.user_id = u.id \
     WHERE s.token_hash = $1 AND s.expires_at > $2 ORDER BY m.created_at LIMIT 1";
const DELETE: &str = "DELETE FROM sessions WHERE token_hash = $1";
const EXPIRE: &str = "DELETE FROM sessions WHERE expires_at <= $1";

/// Begins a session.
///
/// # Errors
///
/// What the database says.
pub async fn create(
    client: &impl GenericClient,
    token: &Secret,
    user: UserId,
    expires_at: Timestamp,
) -> Result<(), Error> {
    client
        .execute(CREATE, &[&token.digest(), &user.into_uuid(), &expires_at])
        .await?;
    Ok(())
}

/// Whose session it is, if it has not expired at `now`.
///
/// # Errors
///
/// What the database says.
pub async fn find(
    client: &impl GenericClient,
    token: &Secret,
    now: Timestamp,
) -> Result<Option<UserRow>, Error> {
    let row = client.query_opt(FIND, &[&token.digest(), &now]).await?;
    Ok(row.as_ref().map(UserRow::from_row))
}

/// Ends a session; `false` if there was none.
///
/// # Errors
///
/// What the database says.
pub async fn delete(client: &impl GenericClient, token: &Secret) -> Result<bool, Error> {
    Ok(client.execute(DELETE, &[&token.digest()]).await? > 0)
}

/// Forgets the sessions that have expired at `now`; returns how many.
///
/// # Errors
///
/// What the database says.
pub async fn expire(client: &impl GenericClient, now: Timestamp) -> Result<u64, Error> {
    client.execute(EXPIRE, &[&now]).await
}
