//! An event on its way: `RawEvent` → `NormalEvent` → `GroupedEvent`. The type changes as it moves.

use std::fmt;

use bytes::{Buf as _, BufMut, Bytes, BytesMut};
use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use super::fingerprint::Fingerprint;
use super::grouping::Grouping;
use super::ids::{EventId, IssueId, ProjectId};
use super::severity::Severity;
use super::stacktrace::{Exception, Frame, Stacktrace};

/// The version of [`RawEvent::to_bytes`].
pub(crate) const RAW_EVENT_VERSION: u8 = 2;

/// The version before, which carried no facts; it stays readable.
const RAW_EVENT_VERSION_WITHOUT_FACTS: u8 = 1;

/// Version (1), event id (16), project id (16), received at (8).
const RAW_EVENT_HEADER_BYTES: usize = 1 + 16 + 16 + 8;

/// An accepted event as the spool holds it: normalised and scrubbed, not yet understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEvent {
    /// Who it is: the SDK's own id.
    pub event_id: EventId,
    /// Where it belongs.
    pub project_id: ProjectId,
    /// When the door took it, by our clock; whole microseconds.
    pub received_at: Timestamp,
    /// The part of the payload that a [`NormalEvent`] is read from, as JSON; empty if only the payload tells, as where they were too many.
    pub facts: Bytes,
    /// The normalised event as JSON in Sentry's shape, compressed with zstd.
    pub payload: Bytes,
}

/// Bytes that are not a [`RawEvent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RawEventError {
    /// There are fewer bytes than a header has.
    Truncated,
    /// They were written by a version we do not know.
    UnknownVersion(u8),
    /// The time is none.
    InvalidTime,
}

impl fmt::Display for RawEventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("raw event is truncated"),
            Self::UnknownVersion(version) => write!(f, "raw event has unknown version {version}"),
            Self::InvalidTime => f.write_str("raw event has an impossible time"),
        }
    }
}

impl std::error::Error for RawEventError {}

impl RawEvent {
    /// Whose the event is of which these are the first bytes, as far as they tell; nothing vouches for them.
    #[must_use]
    pub fn project_of(bytes: &[u8]) -> Option<ProjectId> {
        let header = bytes.get(..RAW_EVENT_HEADER_BYTES)?;
        let is_known = matches!(
            header[0],
            RAW_EVENT_VERSION | RAW_EVENT_VERSION_WITHOUT_FACTS
        );
        let id = Uuid::from_slice(&header[17..33]).ok()?;
        is_known.then(|| id.into())
    }

    /// The bytes the spool stores: version (1 byte), event id (16), project id (16), received at in microseconds since 1970 (8, little
    /// endian), length of the facts in bytes (4, little endian), facts, payload (the rest).
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let len = RAW_EVENT_HEADER_BYTES + 4 + self.facts.len() + self.payload.len();
        let mut bytes = BytesMut::with_capacity(len);
        bytes.put_u8(RAW_EVENT_VERSION);
        bytes.put_slice(self.event_id.as_uuid().as_bytes());
        bytes.put_slice(self.project_id.as_uuid().as_bytes());
        bytes.put_i64_le(self.received_at.as_microsecond());
        bytes.put_u32_le(
            u32::try_from(self.facts.len()).expect("an event is bounded to a few megabytes"),
        );
        bytes.put_slice(&self.facts);
        bytes.put_slice(&self.payload);
        bytes.freeze()
    }

    /// Reads what [`RawEvent::to_bytes`] wrote, in this version or an older one; facts and payload share the given buffer.
    ///
    /// # Errors
    /// If the bytes are too few or of a version this program does not know.
    pub fn from_bytes(bytes: &Bytes) -> Result<Self, RawEventError> {
        let version = *bytes.first().ok_or(RawEventError::Truncated)?;
        if !matches!(version, RAW_EVENT_VERSION | RAW_EVENT_VERSION_WITHOUT_FACTS) {
            return Err(RawEventError::UnknownVersion(version));
        }
        let (header, mut rest) = bytes
            .split_at_checked(RAW_EVENT_HEADER_BYTES)
            .ok_or(RawEventError::Truncated)?;
        let facts_len = if version == RAW_EVENT_VERSION {
            rest.try_get_u32_le()
                .map_err(|_| RawEventError::Truncated)?
                .try_into()
                .map_err(|_| RawEventError::Truncated)?
        } else {
            0
        };
        let (facts, payload) = rest
            .split_at_checked(facts_len)
            .ok_or(RawEventError::Truncated)?;
        let uuid_at = |start: usize| {
            Uuid::from_slice(&header[start..start + 16]).map_err(|_| RawEventError::Truncated)
        };
        let micros: [u8; 8] = header[33..]
            .try_into()
            .map_err(|_| RawEventError::Truncated)?;
        Ok(Self {
            event_id: uuid_at(1)?.into(),
            project_id: uuid_at(17)?.into(),
            received_at: Timestamp::from_microsecond(i64::from_le_bytes(micros))
                .map_err(|_| RawEventError::InvalidTime)?,
            facts: bytes.slice_ref(facts),
            payload: bytes.slice_ref(payload),
        })
    }
}

/// An event understood: what grouping, titles and search need of the normalised JSON, typed. `S` is how its stacks are held: read, or as
/// the JSON they are.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(bound(deserialize = "S: Deserialize<'de>"))]
pub struct NormalEvent<S = Stacktrace> {
    /// Who it is.
    pub event_id: EventId,
    /// When it happened, by the client's clock (bounded by ours).
    #[serde(rename = "timestamp")]
    pub occurred_at: Timestamp,
    /// When the door took it.
    #[serde(rename = "received")]
    pub received_at: Timestamp,
    /// How bad it is.
    pub level: Severity,
    /// The platform, `other` if unknown.
    pub platform: String,
    /// The name of the logger.
    #[serde(default)]
    pub logger: Option<String>,
    /// The log message, if there is one.
    #[serde(default)]
    pub logentry: Option<LogEntry>,
    /// The exceptions; the last is the one that was shown.
    #[serde(default, rename = "exception")]
    pub exceptions: Values<Exception<S>>,
    /// The stack of a message, or of the crashed thread, if no exception has one.
    #[serde(default)]
    pub stacktrace: Option<S>,
    /// The route or task during which it happened.
    #[serde(default)]
    pub transaction: Option<String>,
    /// The culprit, if the SDK names one.
    #[serde(default)]
    pub culprit: Option<String>,
    /// `production`, `staging` …
    pub environment: String,
    /// The version of the program.
    #[serde(default)]
    pub release: Option<String>,
    /// The build of the release.
    #[serde(default)]
    pub dist: Option<String>,
    /// The machine it happened on.
    #[serde(default)]
    pub server_name: Option<String>,
    /// Who was using the program.
    #[serde(default)]
    pub user: Option<User>,
    /// Tags in the order given, keys unique.
    #[serde(default)]
    pub tags: Vec<(String, String)>,
    /// The fingerprint the client asks for; empty means none.
    #[serde(default)]
    pub fingerprint: Vec<String>,
    /// The SDK.
    #[serde(default)]
    pub sdk: Sdk,
}

impl<S> NormalEvent<S> {
    /// The message as shown: formatted, or else its template.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        let entry = self.logentry.as_ref()?;
        entry.formatted.as_deref().or(entry.message.as_deref())
    }

    /// The template of the message, where the client sent it apart from the formatted text.
    #[must_use]
    pub fn message_template(&self) -> Option<&str> {
        self.logentry.as_ref()?.message.as_deref()
    }

    /// The same event with its stacks held otherwise.
    ///
    /// # Errors
    /// The first that `read` gives.
    pub fn try_map<T, E>(
        self,
        mut read: impl FnMut(S) -> Result<T, E>,
    ) -> Result<NormalEvent<T>, E> {
        let stacktrace = self.stacktrace.map(&mut read).transpose()?;
        let mut values = Vec::with_capacity(self.exceptions.values.len());
        for exception in self.exceptions.values {
            values.push(Exception {
                kind: exception.kind,
                value: exception.value,
                module: exception.module,
                mechanism: exception.mechanism,
                stacktrace: exception.stacktrace.map(&mut read).transpose()?,
            });
        }
        Ok(NormalEvent {
            event_id: self.event_id,
            occurred_at: self.occurred_at,
            received_at: self.received_at,
            level: self.level,
            platform: self.platform,
            logger: self.logger,
            logentry: self.logentry,
            exceptions: Values { values },
            stacktrace,
            transaction: self.transaction,
            culprit: self.culprit,
            environment: self.environment,
            release: self.release,
            dist: self.dist,
            server_name: self.server_name,
            user: self.user,
            tags: self.tags,
            fingerprint: self.fingerprint,
            sdk: self.sdk,
        })
    }
}

impl NormalEvent {
    /// The frame where it happened: the innermost of the program's own code, or else the innermost; of the exception that was shown.
    #[must_use]
    pub fn crash_frame(&self) -> Option<&Frame> {
        let shown = self
            .exceptions
            .values
            .iter()
            .rev()
            .find_map(|exception| exception.stacktrace.as_ref());
        let frames = &shown.or(self.stacktrace.as_ref())?.frames;
        frames
            .iter()
            .rev()
            .find(|frame| frame.is_in_app())
            .or(frames.last())
    }
}

/// Sentry's wrapping of a list.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Values<T> {
    /// The list.
    #[serde(default = "Vec::new")]
    pub values: Vec<T>,
}

impl<T> Default for Values<T> {
    fn default() -> Self {
        Self { values: Vec::new() }
    }
}

/// A log message.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct LogEntry {
    /// The template, before its parameters were put in.
    pub message: Option<String>,
    /// The text with the parameters.
    pub formatted: Option<String>,
}

/// Who was using the program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct User {
    /// The program's own id of the person.
    pub id: Option<String>,
    /// An email address.
    pub email: Option<String>,
    /// A login name.
    pub username: Option<String>,
    /// The address the person came from.
    pub ip_address: Option<String>,
}

impl User {
    /// The most telling property as `id:…`, `username:…`, `email:…` or `ip:…`: what users affected are counted by.
    #[must_use]
    pub fn key(&self) -> Option<String> {
        [
            ("id", &self.id),
            ("username", &self.username),
            ("email", &self.email),
            ("ip", &self.ip_address),
        ]
        .into_iter()
        .find_map(|(name, value)| value.as_ref().map(|value| format!("{name}:{value}")))
    }
}

/// The SDK that sent an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Sdk {
    /// `sentry.python.flask` …
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
}

/// An event that knows its issue: what the writer stores and the dashboard shows.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupedEvent {
    /// Who it is.
    pub event_id: EventId,
    /// Where it belongs.
    pub project_id: ProjectId,
    /// When the door took it.
    pub received_at: Timestamp,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// How bad it is.
    pub level: Severity,
    /// The platform, `other` if unknown.
    pub platform: String,
    /// One line that names the problem, at most 200 characters.
    pub title: String,
    /// Where it happened, at most 200 characters; may be empty.
    pub culprit: String,
    /// The message as shown; for an exception its value; may be empty.
    pub message: String,
    /// `production`, `staging` …
    pub environment: String,
    /// The version of the program.
    pub release: Option<String>,
    /// The build of the release.
    pub dist: Option<String>,
    /// The name of the logger.
    pub logger: Option<String>,
    /// The route or task during which it happened.
    pub transaction: Option<String>,
    /// The machine it happened on.
    pub server_name: Option<String>,
    /// A stable key of the person affected, see [`User::key`].
    pub user: Option<String>,
    /// Tags, keys unique.
    pub tags: Vec<(String, String)>,
    /// The class of the exception shown.
    pub exception_type: Option<String>,
    /// The text of the exception shown.
    pub exception_value: Option<String>,
    /// The SDK's name.
    pub sdk_name: Option<String>,
    /// The SDK's version.
    pub sdk_version: Option<String>,
    /// What groups it.
    pub fingerprint: Fingerprint,
    /// The issues it may belong to, best first; the first is of the current algorithm, and where none exists yet, it is the one to make.
    pub candidates: Vec<IssueId>,
    /// What contributed to the grouping, what did not, and why: what the issue page explains.
    pub grouping: Grouping,
    /// The normalised event as JSON, compressed with zstd.
    pub payload: Bytes,
}

#[cfg(test)]
mod tests {
    use super::{RawEvent, RawEventError, User};
    use bytes::Bytes;
    use jiff::Timestamp;
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use uuid::Uuid;

    fn raw(id: u128, micros: i64, facts: Vec<u8>, payload: Vec<u8>) -> RawEvent {
        RawEvent {
            event_id: Uuid::from_u128(id).into(),
            project_id: Uuid::from_u128(!id).into(),
            received_at: Timestamp::from_microsecond(micros).unwrap(),
            facts: facts.into(),
            payload: payload.into(),
        }
    }

    fn header(version: u8) -> Vec<u8> {
        let mut bytes = vec![version];
        bytes.extend([0; 15]);
        bytes.push(1);
        bytes.extend([255; 15]);
        bytes.push(254);
        bytes.extend([2, 0, 0, 0, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn the_bytes_on_disk_never_change() {
        let bytes = raw(1, 2, vec![7, 8], vec![9]).to_bytes();
        let mut expected = header(2);
        expected.extend([2, 0, 0, 0, 7, 8, 9]);
        assert_eq!(bytes, expected);
        let whose = raw(1, 2, vec![], vec![]).project_id;
        assert_eq!(RawEvent::project_of(&bytes[..41]), Some(whose));
        assert_eq!(RawEvent::project_of(&bytes[..40]), None);
        assert_eq!(RawEvent::project_of(&[7; 80]), None);
    }

    /// What a Mesher before this one left in the spool is read on.
    #[test]
    fn records_without_facts_are_read() {
        let mut old = header(1);
        old.push(9);
        let event = RawEvent::from_bytes(&old.into());
        assert_eq!(event, Ok(raw(1, 2, vec![], vec![9])));
    }

    #[test]
    fn torn_and_foreign_bytes_are_errors() {
        let bytes = raw(1, 2, vec![7, 8], vec![]).to_bytes();
        for len in 0..bytes.len() {
            assert_eq!(
                RawEvent::from_bytes(&bytes.slice(..len)),
                Err(RawEventError::Truncated)
            );
        }
        let foreign = Bytes::from_static(&[7; 80]);
        assert_eq!(
            RawEvent::from_bytes(&foreign),
            Err(RawEventError::UnknownVersion(7))
        );
    }

    proptest! {
        #[test]
        fn raw_events_read_back(id in any::<u128>(), micros in 0..=253_402_207_200_000_000_i64, facts in any::<Vec<u8>>(), payload in any::<Vec<u8>>()) {
            let event = raw(id, micros, facts, payload);
            prop_assert_eq!(RawEvent::from_bytes(&event.to_bytes()), Ok(event));
        }

        #[test]
        fn any_bytes_are_read_without_panic(version in 0_u8..4, bytes in any::<Vec<u8>>()) {
            let bytes: Vec<u8> = std::iter::once(version).chain(bytes).collect();
            let _ = RawEvent::from_bytes(&bytes.into());
        }
    }

    #[test]
    fn users_are_keyed_by_the_most_telling_property() {
        let mut user = User {
            email: Some("a@b".into()),
            ip_address: Some("::1".into()),
            ..User::default()
        };
        assert_eq!(user.key().as_deref(), Some("email:a@b"));
        user.id = Some("7".into());
        assert_eq!(user.key().as_deref(), Some("id:7"));
        assert_eq!(User::default().key(), None);
    }
}
