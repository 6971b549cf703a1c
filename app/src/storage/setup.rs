//! The first set-up: a one-time link makes the first person the owner.

use std::fmt;

use jiff::Timestamp;
use tokio_postgres::{Client, Error, GenericClient};

use super::secret::Secret;
use super::tokens;
use super::transaction;
use super::users::{self, NewUser, Role, UserRow};

pub(crate) const STATEMENTS: &[&str] = &[FORGET, OFFER, CLAIM];

const FORGET: &str = "DELETE FROM setup_tokens";
const OFFER: &str = "INSERT INTO setup_tokens (token_hash, expires_at) VALUES ($1, $2)";
const CLAIM: &str = "DELETE FROM setup_tokens WHERE token_hash = $1 RETURNING expires_at > $2";

/// Why a set-up was refused.
#[derive(Debug)]
#[non_exhaustive]
pub enum SetupError {
    /// The link is unknown, used or too old.
    InvalidToken,
    /// There is somebody already.
    AlreadyDone,
    /// The database did not answer.
    Database(Error),
}

impl fmt::Display for SetupError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetupError::InvalidToken => out.write_str("the set-up link is not valid any more"),
            SetupError::AlreadyDone => out.write_str("the set-up has been done"),
            SetupError::Database(error) => write!(out, "database: {error}"),
        }
    }
}

impl std::error::Error for SetupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SetupError::Database(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Error> for SetupError {
    fn from(error: Error) -> SetupError {
        SetupError::Database(error)
    }
}

/// Whether there is nobody yet.
///
/// # Errors
///
/// What the database says.
pub async fn is_required(client: &impl GenericClient) -> Result<bool, Error> {
    Ok(users::count(client).await? == 0)
}

/// Makes `token` the one link that works; earlier ones do not any more.
///
/// # Errors
///
/// What the database says.
pub async fn offer(
    client: &mut Client,
    token: &Secret,
    expires_at: Timestamp,
) -> Result<(), Error> {
    let transaction = transaction::begin(client).await?;
    transaction.execute(FORGET, &[]).await?;
    transaction
        .execute(OFFER, &[&token.digest(), &expires_at])
        .await?;
    transaction.commit().await
}

/// Uses the link: makes `user` the owner of the first organisation. Of two at once, one wins.
///
/// # Errors
///
/// [`SetupError`]; the link stays usable then.
pub async fn complete(
    client: &mut Client,
    token: &Secret,
    user: &NewUser,
    now: Timestamp,
) -> Result<UserRow, SetupError> {
    let transaction = transaction::begin(client).await?;
    let claimed = transaction
        .query_opt(CLAIM, &[&token.digest(), &now])
        .await?;
    if !is_required(&transaction).await? {
        return Err(SetupError::AlreadyDone);
    }
    if !claimed.is_some_and(|row| row.get(0)) {
        return Err(SetupError::InvalidToken);
    }
    let organization = tokens::first_organization(&transaction)
        .await?
        .ok_or(SetupError::InvalidToken)?;
    users::create(&transaction, organization, user, Role::Owner).await?;
    let row = users::by_id(&transaction, user.id)
        .await?
        .ok_or(SetupError::InvalidToken)?;
    transaction.commit().await?;
    Ok(row)
}
