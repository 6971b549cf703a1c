//! Who asks: first set-up, log-in, log-out, and the identity behind a token or a session cookie.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use warp::http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::session::{Credential, SESSION_SECONDS, clear_cookie, credential, set_cookie};
use super::{Api, ApiError, Request, json};
use crate::config::entropy::random_uuid;
use crate::domain::{OrganizationId, UserId};
use crate::storage::secret::Secret;
use crate::storage::sessions;
use crate::storage::setup::{self, SetupError};
use crate::storage::tokens::{self, TokenRow};
use crate::storage::users::{self, NewUser, PasswordHash, UserRow};

/// How many wrong passwords one address of e-mail gets in [`ATTEMPTS_WINDOW`].
const ATTEMPTS_MAX: u32 = 10;

/// How long wrong passwords are remembered.
const ATTEMPTS_WINDOW: Duration = Duration::from_secs(60);

/// How many addresses of e-mail are remembered at once; when full, the oldest make room.
const ATTEMPTS_ADDRESSES_MAX: usize = 1_024;

/// The shortest password; length is what resists guessing (NIST SP 800-63B).
const PASSWORD_CHARACTERS_MIN: usize = 8;

/// The longest password, so that hashing it stays cheap to refuse.
const PASSWORD_BYTES_MAX: usize = 1_024;

/// The longest address of e-mail (RFC 5321, as erratum 1690 corrects it).
const EMAIL_BYTES_MAX: usize = 254;

/// How many passwords are hashed at once. Each takes 19 MiB and a whole core, and anybody may ask for one: without a bound,
/// a flood of log-ins takes the memory, the cores, and the threads on which the spool syncs.
const HASHES_MAX: usize = 2;

/// How long a log-in waits for its turn, in looks and the pause between two.
const TURN_LOOKS: u32 = 30;
const TURN_PAUSE: Duration = Duration::from_millis(100);

/// Who a request is from.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Identity {
    /// A person with a session.
    User(UserRow),
    /// A program with a token.
    Token(TokenRow),
}

impl Identity {
    /// The organisation whose data it may see.
    pub(super) fn organization(&self) -> OrganizationId {
        match self {
            Identity::User(user) => user.organization_id,
            Identity::Token(token) => token.organization_id,
        }
    }
}

/// Wrong passwords of late, by address of e-mail.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    wrong: Mutex<HashMap<String, (Duration, u32)>>,
}

impl Attempts {
    /// Counts one attempt at `now`; `Err` gives the seconds to wait.
    fn enter(&self, email: &str, now: Duration) -> Result<(), u64> {
        let mut wrong = self.wrong.lock();
        wrong.retain(|_, (since, _)| now.saturating_sub(*since) < ATTEMPTS_WINDOW);
        if wrong.len() >= ATTEMPTS_ADDRESSES_MAX && !wrong.contains_key(email) {
            let oldest = wrong
                .iter()
                .min_by_key(|(_, (since, _))| *since)
                .map(|(email, _)| email.clone());
            if let Some(oldest) = oldest {
                wrong.remove(&oldest);
            }
        }
        let (since, count) = wrong.entry(email.to_owned()).or_insert((now, 0));
        if *count >= ATTEMPTS_MAX {
            let left = ATTEMPTS_WINDOW.saturating_sub(now.saturating_sub(*since));
            return Err(left.as_secs() + 1);
        }
        *count += 1;
        Ok(())
    }

    fn forget(&self, email: &str) {
        self.wrong.lock().remove(email);
    }
}

/// The turns of those whose password is hashed.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns {
    taken: Arc<AtomicUsize>,
}

/// One turn, given back when dropped.
#[derive(Debug)]
struct Turn(Turns);

impl Turns {
    fn take(&self) -> Option<Turn> {
        self.taken
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < HASHES_MAX).then_some(taken + 1)
            })
            .is_ok()
            .then(|| Turn(self.clone()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Deserialize)]
struct Setup {
    token: String,
    email: String,
    name: String,
    password: String,
}

#[derive(Deserialize)]
struct Login {
    email: String,
    password: String,
}

#[derive(Serialize)]
struct SessionAnswer {
    setup_required: bool,
    user: Option<UserRow>,
}

#[derive(Serialize)]
struct UserAnswer {
    user: UserRow,
}

impl Api {
    /// Who the request's credential belongs to.
    pub(super) async fn identity(&self, headers: &HeaderMap) -> Result<Identity, ApiError> {
        let credential = credential(headers).ok_or(ApiError::Unauthorized)?;
        let client = self.state().pool.get().await?;
        let found = match credential {
            Credential::Token(token) => tokens::find(&*client, &Secret::presented(&token))
                .await?
                .map(Identity::Token),
            Credential::Session(secret) => {
                sessions::find(&*client, &Secret::presented(&secret), self.now())
                    .await?
                    .map(Identity::User)
            }
        };
        found.ok_or(ApiError::Unauthorized)
    }

    pub(super) async fn session(&self, request: &Request) -> Result<Response<Bytes>, ApiError> {
        let user = match self.identity(&request.headers).await {
            Ok(Identity::User(user)) => Some(user),
            Ok(Identity::Token(_)) | Err(ApiError::Unauthorized) => None,
            Err(error) => return Err(error),
        };
        let setup_required = match user {
            Some(_) => false,
            None => setup::is_required(&*self.state().pool.get().await?).await?,
        };
        json(
            StatusCode::OK,
            &SessionAnswer {
                setup_required,
                user,
            },
        )
    }

    pub(super) async fn setup(&self, request: &Request) -> Result<Response<Bytes>, ApiError> {
        let Setup {
            token,
            email,
            name,
            password,
        } = request.json()?;
        let email = checked_email(&email)?;
        check_password(&password)?;
        // Asked before the password is hashed, which is dear: nobody may keep the server busy with it once set-up is done.
        if !setup::is_required(&*self.state().pool.get().await?).await? {
            return Err(already_done());
        }
        let name = if name.trim().is_empty() {
            email.clone()
        } else {
            name.trim().replace('\0', "")
        };
        let mut salt = [0; 16];
        self.state().system.entropy().fill(&mut salt);
        let hash = self
            .hashing(move || PasswordHash::of(&password, salt))
            .await?;
        let user = NewUser {
            id: UserId::from_uuid(random_uuid(self.state().system.entropy())),
            email,
            name,
            password: hash,
        };
        let mut client = self.state().pool.get().await?;
        let user = setup::complete(&mut client, &Secret::presented(&token), &user, self.now())
            .await
            .map_err(|error| match error {
                SetupError::InvalidToken => ApiError::BadRequest(
                    "this set-up link is not valid any more; restart mesher, which prints a new one".to_owned(),
                ),
                SetupError::AlreadyDone => already_done(),
                SetupError::Database(error) => error.into(),
            })?;
        tracing::info!("first set-up done");
        self.begin_session(StatusCode::CREATED, user).await
    }

    pub(super) async fn login(&self, request: &Request) -> Result<Response<Bytes>, ApiError> {
        let Login { email, password } = request.json()?;
        // Neither can be anybody's, and both would be kept or hashed.
        if password.len() > PASSWORD_BYTES_MAX || email.len() > EMAIL_BYTES_MAX {
            return Err(ApiError::WrongCredentials);
        }
        let email = email.trim().to_lowercase();
        let state = self.state();
        self.shared
            .attempts
            .enter(&email, state.system.clock().now())
            .map_err(ApiError::TooMany)?;
        let user = users::by_email(&*state.pool.get().await?, &email).await?;
        // Without such a user the same work is done, so that the time taken does not tell who exists.
        let hash = user.as_ref().map(UserRow::password);
        let matches = self
            .hashing(move || match hash {
                Some(hash) => hash.verify(&password),
                None => {
                    let _ = PasswordHash::of(&password, [0; 16]);
                    false
                }
            })
            .await?;
        match user.filter(|_| matches) {
            Some(user) => {
                self.shared.attempts.forget(&email);
                self.begin_session(StatusCode::OK, user).await
            }
            None => Err(ApiError::WrongCredentials),
        }
    }

    /// Does the work of a password's hash on a thread of its own, a few at once; who waits too long is told to come back.
    async fn hashing<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, ApiError> {
        let system = &self.state().system;
        for _ in 0..TURN_LOOKS {
            let Some(turn) = self.shared.turns.take() else {
                system.sleep(TURN_PAUSE).await;
                continue;
            };
            let work = move || {
                // Held by the work itself: it goes on when the client who asked has left.
                let _turn = turn;
                work()
            };
            return system
                .blocking(work)
                .await
                .map_err(|error| ApiError::Internal(error.to_string()));
        }
        Err(ApiError::TooMany(1))
    }

    pub(super) async fn logout(&self, request: &Request) -> Result<Response<Bytes>, ApiError> {
        if let Some(Credential::Session(secret)) = credential(&request.headers) {
            let client = self.state().pool.get().await?;
            // Only a session that was one: else anybody could have every open page judged again.
            if sessions::delete(&*client, &Secret::presented(&secret)).await? {
                (self.state().session_ended)();
            }
        }
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
            .headers_mut()
            .insert(header::SET_COOKIE, cookie(&clear_cookie()));
        Ok(response)
    }

    async fn begin_session(
        &self,
        status: StatusCode,
        user: UserRow,
    ) -> Result<Response<Bytes>, ApiError> {
        let mut random = [0; 32];
        self.state().system.entropy().fill(&mut random);
        let secret = Secret::from_random("", random);
        let now = self.now();
        let expires_at: Timestamp = now + SignedDuration::from_secs(SESSION_SECONDS);
        let client = self.state().pool.get().await?;
        sessions::expire(&*client, now).await?;
        sessions::create(&*client, &secret, user.id, expires_at).await?;
        let mut response = json(status, &UserAnswer { user })?;
        let value = set_cookie(secret.reveal(), self.state().base_url.is_secure());
        response
            .headers_mut()
            .insert(header::SET_COOKIE, cookie(&value));
        Ok(response)
    }
}

fn already_done() -> ApiError {
    ApiError::Conflict("set-up has been done already; log in".to_owned())
}

fn cookie(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("cookies are made of URL-safe characters")
}

fn checked_email(text: &str) -> Result<String, ApiError> {
    let email = text.trim();
    let plausible = email.len() <= EMAIL_BYTES_MAX
        && !email.contains(char::is_whitespace)
        && !email.contains(char::is_control)
        && email.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !domain.contains('@')
        });
    if plausible {
        Ok(email.to_lowercase())
    } else {
        Err(ApiError::BadRequest(
            "that is not an e-mail address".to_owned(),
        ))
    }
}

fn check_password(password: &str) -> Result<(), ApiError> {
    if password.chars().count() < PASSWORD_CHARACTERS_MIN {
        return Err(ApiError::BadRequest(format!(
            "the password is too short: it needs {PASSWORD_CHARACTERS_MIN} characters"
        )));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(ApiError::BadRequest(format!(
            "the password is longer than {PASSWORD_BYTES_MAX} bytes"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessing_is_slowed_down_and_recovers() {
        let attempts = Attempts::default();
        for _ in 0..ATTEMPTS_MAX {
            attempts.enter("a@b", Duration::ZERO).unwrap();
        }
        assert_eq!(attempts.enter("a@b", Duration::from_secs(30)), Err(31));
        assert_eq!(attempts.enter("c@d", Duration::from_secs(30)), Ok(()));
        assert_eq!(attempts.enter("a@b", ATTEMPTS_WINDOW), Ok(()));
    }

    #[test]
    fn a_right_password_clears_the_count_and_memory_is_bounded() {
        let attempts = Attempts::default();
        for n in 0..ATTEMPTS_ADDRESSES_MAX * 2 {
            attempts
                .enter(&n.to_string(), Duration::from_millis(n as u64))
                .unwrap();
        }
        assert_eq!(attempts.wrong.lock().len(), ATTEMPTS_ADDRESSES_MAX);
        attempts.forget("2047");
        assert_eq!(attempts.wrong.lock().len(), ATTEMPTS_ADDRESSES_MAX - 1);
    }

    #[test]
    fn few_passwords_are_hashed_at_once() {
        let turns = Turns::default();
        let mut taken: Vec<Turn> = std::iter::from_fn(|| turns.take()).collect();
        assert_eq!(taken.len(), HASHES_MAX);
        taken.pop();
        assert!(turns.take().is_some(), "a turn comes back");
    }

    #[test]
    fn addresses_and_passwords_are_checked_before_anything_is_stored() {
        assert_eq!(checked_email(" A@b.example ").unwrap(), "a@b.example");
        for bad in ["", "a", "@b", "a@", "a@b@c", "a b@c", "a@b\0"] {
            assert!(checked_email(bad).is_err(), "{bad:?}");
        }
        assert!(check_password("1234567").is_err());
        assert!(check_password("12345678").is_ok());
        assert!(check_password(&"x".repeat(PASSWORD_BYTES_MAX + 1)).is_err());
    }
}
