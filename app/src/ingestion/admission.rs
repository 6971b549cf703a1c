//! Admission: who may send, how fast, how much; and the way of one accepted event to the disk.

mod buckets;

use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use foldhash::fast::FixedState;
use jiff::Timestamp;
use mesh_runtime::{CallError, System};
use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

use self::buckets::Buckets;
use super::dictionaries::Dictionaries;
use super::door_counts::DoorCounts;
use super::keys::{Grant, KeyCache};
use super::rate_limit::Rate;
use super::refusal::{Refusal, Refused};
use super::spool::{AppendError, SpoolHandle, SpoolStatus};
use super::user_reports::UserReports;
use crate::domain::user_report::UserReport;
use crate::domain::{EventId, Outcome, ProjectId, ProjectNumber, PublicKey, RawEvent};
use crate::pressure::Pressure;
use crate::processing::normalize::{self, EventContext, InvalidEvent};

/// Bounds of one request, in bytes, and of one key.
#[derive(Clone, Copy, Debug)]
pub struct DoorLimits {
    /// A native body; Sentry's own bound for an event.
    pub native_bytes_max: usize,
    /// An envelope or store body as it comes over the wire; Sentry's documented bound.
    pub compressed_bytes_max: usize,
    /// An envelope or store body after decoding: what one request may take of the memory.
    pub inflated_bytes_max: usize,
    /// The event inside; Sentry's documented bound.
    pub event_bytes_max: usize,
    /// Bodies of all requests together while they are read.
    pub bodies_bytes_max: usize,
    /// A bulk of native bodies.
    pub bulk_bytes_max: usize,
    /// How fast a key may send that has no limit of its own; `None` is no limit.
    pub rate: Option<Rate>,
    /// How long a request waits for its event to be durable before it is refused.
    pub durable_timeout: Duration,
    /// How long all that users wrote in one request may wait for the database, and the request's event with it.
    pub user_reports_timeout: Duration,
}

/// How many millionths a whole is.
const MILLION: u32 = 1_000_000;

impl Default for DoorLimits {
    fn default() -> DoorLimits {
        DoorLimits {
            native_bytes_max: 1 << 20,
            compressed_bytes_max: 20_000_000,
            inflated_bytes_max: 32 << 20,
            event_bytes_max: 1 << 20,
            bodies_bytes_max: 256 << 20,
            bulk_bytes_max: 5 << 20,
            rate: None,
            durable_timeout: Duration::from_secs(10),
            user_reports_timeout: Duration::from_secs(3),
        }
    }
}

/// How an event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Our own body.
    Native,
    /// An SDK's.
    Sentry,
}

/// What a request says of its event besides the bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) dialect: Dialect,
    pub(crate) event_id: Option<EventId>,
    pub(crate) sent_at: Option<Timestamp>,
    pub(crate) remote_address: Option<IpAddr>,
}

/// An event that is admitted and not yet durable.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    project_id: ProjectId,
    event_id: EventId,
    /// `None` for one that the project's sampling leaves out.
    record: Option<Bytes>,
}

/// The door's judgement; clones share everything.
#[derive(Clone, Debug)]
pub struct Admission {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    system: System,
    spool: SpoolHandle,
    keys: KeyCache,
    pressure: Pressure,
    counts: DoorCounts,
    limits: DoorLimits,
    buckets: Mutex<Buckets>,
    user_reports: RwLock<Option<UserReports>>,
    dictionaries: OnceLock<Dictionaries>,
}

impl Admission {
    /// Puts the judgement together from what it asks.
    #[must_use]
    pub fn new(
        system: System,
        spool: SpoolHandle,
        keys: KeyCache,
        pressure: Pressure,
        counts: DoorCounts,
        limits: DoorLimits,
    ) -> Admission {
        Admission {
            shared: Arc::new(Shared {
                system,
                spool,
                keys,
                pressure,
                counts,
                limits,
                buckets: Mutex::default(),
                user_reports: RwLock::default(),
                dictionaries: OnceLock::new(),
            }),
        }
    }

    /// Says where users' words are kept; without it none are.
    #[must_use]
    pub fn keeping(self, user_reports: UserReports) -> Admission {
        *self.shared.user_reports.write() = Some(user_reports);
        self
    }

    /// Says where the dictionaries are that payloads are packed with, once; without it, payloads are packed alone.
    #[must_use]
    pub fn packing(self, dictionaries: Dictionaries) -> Admission {
        // The first ones stay; nobody says it twice.
        let _ = self.shared.dictionaries.set(dictionaries);
        self
    }

    /// How many payload dictionaries are in memory.
    #[must_use]
    pub fn payload_dictionaries(&self) -> usize {
        let dictionaries = self.shared.dictionaries.get();
        dictionaries.map_or(0, Dictionaries::len)
    }

    /// The bounds in force.
    #[must_use]
    pub fn limits(&self) -> &DoorLimits {
        &self.shared.limits
    }

    /// Counters of what was turned away.
    #[must_use]
    pub fn counts(&self) -> &DoorCounts {
        &self.shared.counts
    }

    /// Whether it knows the keys, so that it can let anybody in.
    #[must_use]
    pub fn knows_keys(&self) -> bool {
        self.shared.keys.is_filled()
    }

    /// Whether there was room for what came last.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.shared.pressure.is_refusing()
    }

    /// How full the way to the database is, in percent.
    #[must_use]
    pub fn pressure_percent(&self) -> u8 {
        self.shared.pressure.get()
    }

    /// How the spool is doing.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn spool_status(&self) -> Result<SpoolStatus, CallError> {
        self.shared.spool.status().await
    }

    /// Whose key it is. `project` is the number the path names, if it names one.
    ///
    /// # Errors
    /// If the key is unknown, revoked, or of another project.
    pub fn authenticate(
        &self,
        key: PublicKey,
        project: Option<ProjectNumber>,
    ) -> Result<Grant, Refusal> {
        let grant = self.shared.keys.find(&key)?;
        if project.is_some_and(|number| number != grant.number) {
            return Err(Refusal::ForeignKey);
        }
        Ok(grant)
    }

    /// Judges rate, pressure and size of one event and normalises it: all that needs the request's bytes, without waiting.
    pub(crate) fn admit(
        &self,
        grant: &Grant,
        origin: &Origin,
        json: &[u8],
    ) -> Result<Admitted, Refusal> {
        if json.len() > self.shared.limits.event_bytes_max {
            return Err(Refusal::TooLarge(self.shared.limits.event_bytes_max));
        }
        self.take_token(grant)?;
        if self.shared.pressure.is_full() {
            return Err(Refusal::Full);
        }
        let system = &self.shared.system;
        let received_at = received_at(system);
        let dictionaries = self.shared.dictionaries.get();
        let packing = dictionaries.and_then(|all| all.packing(grant.project_id));
        let dictionary = packing
            .as_ref()
            .and_then(|it| it.dictionary_at(received_at));
        // Where the header has an id, drawing another would ask the kernel for nothing.
        let fresh_event_id = origin
            .event_id
            .unwrap_or_else(|| random_uuid(system).into());
        let context = EventContext {
            project_id: grant.project_id,
            project_number: Some(grant.number),
            received_at,
            sent_at: origin.sent_at,
            event_id: origin.event_id,
            fresh_event_id,
            remote_address: origin.remote_address,
            dictionary,
        };
        let raw = normalise(origin.dialect, json, &context)?;
        let is_kept = is_kept(raw.event_id, grant.kept_per_million);
        if !is_kept {
            self.shared
                .counts
                .add(Some(raw.project_id), Outcome::Sampled, 1);
        } else if let Some(packing) = packing {
            packing.observe(system, raw.project_id, &raw.payload, context.dictionary);
        }
        Ok(Admitted {
            project_id: raw.project_id,
            event_id: raw.event_id,
            record: is_kept.then(|| raw.to_bytes()),
        })
    }

    /// Returns once an event is on disk.
    ///
    /// # Cancel safety
    /// If the future is dropped, the event may or may not be stored; a second attempt with the
    /// same id ends as a duplicate.
    pub(crate) async fn store(&self, admitted: Admitted) -> Result<EventId, Refused> {
        if let Some(record) = admitted.record {
            self.append(record)
                .await
                .map_err(|refusal| Refused::of(admitted.project_id, refusal))?;
        }
        Ok(admitted.event_id)
    }

    /// Returns once events are on disk that came together; each has its own result, in their order.
    ///
    /// # Cancel safety
    /// As of [`Admission::store`].
    pub(crate) async fn store_all(&self, admitted: Vec<Admitted>) -> Vec<Result<EventId, Refused>> {
        let records = admitted.iter().filter_map(|event| event.record.clone());
        let mut durable = self.append_all(records.collect()).await.into_iter();
        let result = |event: Admitted| {
            let appended = match event.record {
                Some(_) => durable.next().unwrap_or(Err(Refusal::NotDurable)),
                None => Ok(()),
            };
            appended
                .map(|()| event.event_id)
                .map_err(|refusal| Refused::of(event.project_id, refusal))
        };
        admitted.into_iter().map(result).collect()
    }

    /// Keeps what users wrote, one after the other up to the first that cannot be kept, and all within one bound of time. Returns how
    /// many are not known to be kept.
    pub(crate) async fn keep_reports(
        &self,
        project_id: ProjectId,
        reports: Vec<UserReport>,
    ) -> usize {
        let mut left = reports.len();
        let place = self.shared.user_reports.read().clone();
        let (Some(place), 1..) = (place, left) else {
            return left;
        };
        let at = received_at(&self.shared.system);
        let kept = async {
            for report in reports {
                place.keep(project_id, at, report).await?;
                left -= 1;
            }
            Ok::<(), String>(())
        };
        let limit = self.shared.limits.user_reports_timeout;
        let kept = self.shared.system.timeout(limit, Box::pin(kept)).await;
        let kept = kept.unwrap_or_else(|_| Err("the database did not answer in time".to_owned()));
        if let Err(error) = kept {
            tracing::debug!(storage.error = %error, "what users wrote cannot be kept just now");
        }
        left
    }

    /// Takes the token of one event, or of what a user wrote.
    pub(super) fn take_token(&self, grant: &Grant) -> Result<(), Refusal> {
        let rate = match grant.rate_limit {
            Some(own) => Rate::per_second(own),
            None => self.shared.limits.rate,
        };
        let of_project = grant.project_rate_limit.and_then(Rate::per_second);
        if rate.is_none() && of_project.is_none() {
            return Ok(());
        }
        let now = self.shared.system.clock().now();
        let mut buckets = self.shared.buckets.lock();
        buckets.forget_unknown(&self.shared.keys);
        buckets.take(grant, rate, of_project, now)
    }

    async fn append(&self, record: Bytes) -> Result<(), Refusal> {
        let mut appended = self.append_all(vec![record]).await;
        appended.pop().unwrap_or(Err(Refusal::NotDurable))
    }

    /// Appends, again and again while the spool is being restarted: SDKs discard an event on any
    /// refusal. The second try of one that was durable after all ends as a duplicate.
    async fn append_all(&self, records: Vec<Bytes>) -> Vec<Result<(), Refusal>> {
        const PAUSE: Duration = Duration::from_millis(50);
        let clock = self.shared.system.clock();
        let deadline = clock.now() + self.shared.limits.durable_timeout;
        let mut results = vec![Ok(()); records.len()];
        // Places in `results` of what has no answer yet.
        let mut open: Vec<usize> = (0..records.len()).collect();
        while !open.is_empty() {
            let left = deadline.saturating_sub(clock.now());
            let asked = open.iter().map(|at| records[*at].clone()).collect();
            let appended = self.shared.spool.append_all(asked, left).await;
            let mut trouble = None;
            let mut still_open = Vec::new();
            for (at, result) in open.into_iter().zip(appended) {
                match result {
                    Ok(_) => {}
                    Err(AppendError::Full) => results[at] = Err(Refusal::Full),
                    Err(AppendError::TooLarge(limit)) => {
                        results[at] = Err(Refusal::TooLarge(limit));
                    }
                    Err(AppendError::Call(error)) => {
                        still_open.push(at);
                        trouble = Some(error);
                    }
                }
            }
            open = still_open;
            let Some(error) = trouble else { break };
            if clock.now() + PAUSE >= deadline {
                tracing::warn!(spool.error = %error, events = open.len(), "events could not be made durable in time");
                for at in open {
                    results[at] = Err(Refusal::NotDurable);
                }
                break;
            }
            self.shared.system.sleep(PAUSE).await;
        }
        results
    }
}

fn normalise(
    dialect: Dialect,
    json: &[u8],
    context: &EventContext,
) -> Result<RawEvent, InvalidEvent> {
    match dialect {
        Dialect::Native => normalize::native_event(json, context).map(|(_, raw)| raw),
        Dialect::Sentry => normalize::sentry_event(json, context),
    }
}

/// Whether sampling keeps an event: decided by its id, so that a retry meets the same fate.
fn is_kept(event_id: EventId, kept_per_million: u32) -> bool {
    kept_per_million >= MILLION
        || FixedState::default().hash_one(event_id.as_uuid().as_u128()) % u64::from(MILLION)
            < u64::from(kept_per_million)
}

/// The moment, by our clock, in whole microseconds as the database keeps it.
fn received_at(system: &System) -> Timestamp {
    let now = Timestamp::try_from(system.clock().wall()).unwrap_or(Timestamp::UNIX_EPOCH);
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A random id from the system's own source of chance.
pub(super) fn random_uuid(system: &System) -> Uuid {
    let mut chance = [0; 16];
    system.entropy().fill(&mut chance);
    uuid::Builder::from_random_bytes(chance).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::{MILLION, is_kept};
    use uuid::Uuid;

    #[test]
    fn sampling_keeps_its_part_and_judges_a_retry_alike() {
        let kept = |per_million| {
            let ids = (0..20_000).map(|n| Uuid::from_u128(n << 64 | 0x8000).into());
            ids.filter(|id| is_kept(*id, per_million)).count()
        };
        assert_eq!((kept(0), kept(MILLION)), (0, 20_000));
        assert!((4_500..5_500).contains(&kept(MILLION / 4)));
        assert_eq!(kept(MILLION / 2), kept(MILLION / 2));
    }
}
