//! People and their memberships, and the hashing of their passwords.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use serde::Serialize;
use subtle::ConstantTimeEq;
use tokio_postgres::{Error, GenericClient, Row};

use crate::domain::{OrganizationId, UserId};

pub(crate) const STATEMENTS: &[&str] = &[COUNT, BY_EMAIL, BY_ID, CREATE, JOIN];

const COUNT: &str = "SELECT count(*) FROM users";
const BY_EMAIL: &str = "SELECT u.id, u.email, u.name, m.role, m.organization_id, u.password_hash FROM users u \
     JOIN memberships m ON m.user_id = u.id WHERE lower(u.email) = lower($1) ORDER BY m.created_at LIMIT 1";
const BY_ID: &str = "SELECT u.id, u.email, u.name, m.role, m.organization_id, u.password_hash FROM users u \
     JOIN memberships m ON m.user_id = u.id WHERE u.id = $1 ORDER BY m.created_at LIMIT 1";
const CREATE: &str = "INSERT INTO users (id, email, name, password_hash) VALUES ($1, $2, $3, $4)";
const JOIN: &str = "INSERT INTO memberships (organization_id, user_id, role) VALUES ($1, $2, $3)";

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look and work on issues.
    Member,
    /// Change projects and members, too.
    Admin,
    /// Everything.
    Owner,
}

impl Role {
    /// The word the database and the API use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Member => "member",
            Role::Admin => "admin",
            Role::Owner => "owner",
        }
    }

    fn from_word(word: &str) -> Role {
        match word {
            "owner" => Role::Owner,
            "admin" => Role::Admin,
            _ => Role::Member,
        }
    }
}

/// A person, as the API shows one.
#[derive(Clone, PartialEq, Serialize)]
pub struct UserRow {
    /// Its identity.
    pub id: UserId,
    /// By which the person logs in.
    pub email: String,
    /// What the person is called.
    pub name: String,
    /// What the person may do in the organisation.
    pub role: Role,
    /// The organisation.
    #[serde(skip)]
    pub organization_id: OrganizationId,
    #[serde(skip)]
    password: PasswordHash,
}

impl fmt::Debug for UserRow {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("UserRow")
            .field("id", &self.id)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// A person to be added.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Its identity, random.
    pub id: UserId,
    /// By which the person logs in; unique in any case.
    pub email: String,
    /// What the person is called.
    pub name: String,
    /// Made by [`PasswordHash::of`].
    pub password: PasswordHash,
}

impl UserRow {
    /// The hash to verify a password against; take it to the runtime's blocking door.
    #[must_use]
    pub fn password(&self) -> PasswordHash {
        self.password.clone()
    }

    pub(crate) fn from_row(row: &Row) -> UserRow {
        UserRow {
            id: UserId::from_uuid(row.get(0)),
            email: row.get(1),
            name: row.get(2),
            role: Role::from_word(row.get(3)),
            organization_id: OrganizationId::from_uuid(row.get(4)),
            password: PasswordHash(row.get(5)),
        }
    }
}

/// How many people there are; none means that the set-up is still to be done.
///
/// # Errors
///
/// What the database says.
pub async fn count(client: &impl GenericClient) -> Result<i64, Error> {
    Ok(client.query_one(COUNT, &[]).await?.get(0))
}

/// The person with this email address, in any case.
///
/// # Errors
///
/// What the database says.
pub async fn by_email(client: &impl GenericClient, email: &str) -> Result<Option<UserRow>, Error> {
    if email.contains('\0') {
        return Ok(None);
    }
    let row = client.query_opt(BY_EMAIL, &[&email]).await?;
    Ok(row.as_ref().map(UserRow::from_row))
}

/// The person with this id.
///
/// # Errors
///
/// What the database says.
pub async fn by_id(client: &impl GenericClient, id: UserId) -> Result<Option<UserRow>, Error> {
    let row = client.query_opt(BY_ID, &[&id.into_uuid()]).await?;
    Ok(row.as_ref().map(UserRow::from_row))
}

/// Adds a person to an organisation. Call it in a transaction.
///
/// # Errors
///
/// What the database says; an email address that is taken is SQLSTATE 23505.
pub async fn create(
    client: &impl GenericClient,
    organization: OrganizationId,
    user: &NewUser,
    role: Role,
) -> Result<(), Error> {
    let id = user.id.into_uuid();
    client
        .execute(CREATE, &[&id, &user.email, &user.name, &user.password.0])
        .await?;
    client
        .execute(JOIN, &[&organization.into_uuid(), &id, &role.as_str()])
        .await?;
    Ok(())
}

/// A password's argon2id hash with its salt and parameters, as text. It is never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("PasswordHash(…)")
    }
}

/// Memory in KiB, passes, lanes: the second choice of RFC 9106's profile for servers, as OWASP has it.
const COST: (u32, u32, u32) = (19 * 1024, 2, 1);
/// Bytes of the hash.
const HASH_BYTES: usize = 32;

impl PasswordHash {
    /// Hashes a password with 16 random bytes of salt. Takes some 20 ms of one core: call it through the blocking door.
    #[must_use]
    pub fn of(password: &str, salt: [u8; 16]) -> PasswordHash {
        let (memory, passes, lanes) = COST;
        let hash = derive(password, &salt, memory, passes, lanes)
            .expect("the cost is a valid one of argon2");
        PasswordHash(format!(
            "$argon2id$v=19$m={memory},t={passes},p={lanes}${}${}",
            base64(&salt),
            base64(&hash)
        ))
    }

    /// Whether `password` is the one; as slow as [`PasswordHash::of`].
    #[must_use]
    pub fn verify(&self, password: &str) -> bool {
        self.compare(password).unwrap_or(false)
    }

    fn compare(&self, password: &str) -> Option<bool> {
        let mut parts = self.0.split('$');
        if (parts.next()?, parts.next()?, parts.next()?) != ("", "argon2id", "v=19") {
            return None;
        }
        let mut costs = parts.next()?.split(',');
        let mut cost =
            |name: &str| -> Option<u32> { costs.next()?.strip_prefix(name)?.parse().ok() };
        let (memory, passes, lanes) = (cost("m=")?, cost("t=")?, cost("p=")?);
        let salt = unbase64(parts.next()?)?;
        let hash = unbase64(parts.next()?)?;
        let derived = derive(password, &salt, memory, passes, lanes)?;
        Some(derived.ct_eq(&hash[..]).into())
    }
}

fn derive(
    password: &str,
    salt: &[u8],
    memory: u32,
    passes: u32,
    lanes: u32,
) -> Option<[u8; HASH_BYTES]> {
    let params = Params::new(memory, passes, lanes, Some(HASH_BYTES)).ok()?;
    let mut hash = [0; HASH_BYTES];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.as_bytes(), salt, &mut hash)
        .ok()?;
    Some(hash)
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes)
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD_NO_PAD
        .decode(text)
        .ok()
}

#[cfg(test)]
mod tests {
    use super::{PasswordHash, Role};

    #[test]
    fn the_right_password_verifies_and_others_do_not() {
        let hash = PasswordHash::of("correct horse", [3; 16]);
        assert!(hash.verify("correct horse"));
        assert!(!hash.verify("correct house"));
        assert!(!hash.verify(""));
        assert!(hash.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    }

    #[test]
    fn salts_differ_and_broken_hashes_refuse() {
        assert_ne!(
            PasswordHash::of("a", [1; 16]),
            PasswordHash::of("a", [2; 16])
        );
        for broken in [
            "",
            "$argon2id$v=19$m=1,t=1$$",
            "plain",
            "$argon2id$v=19$m=8,t=1,p=1$!$!",
        ] {
            assert!(!PasswordHash(broken.to_owned()).verify("a"));
        }
    }

    #[test]
    fn roles_are_ordered_and_named() {
        assert!(Role::Owner > Role::Admin && Role::Admin > Role::Member);
        for role in [Role::Owner, Role::Admin, Role::Member] {
            assert_eq!(Role::from_word(role.as_str()), role);
        }
    }
}
