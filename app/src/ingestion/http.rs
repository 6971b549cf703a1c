//! The endpoints that take events: our own and Sentry's.
//!
//! A request's work stays on the process of its connection. Every answer, refusals too, carries
//! the CORS headers: a browser shows a script nothing else.

mod answer;
mod body;
mod bulk;
mod items;
mod target;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use bytes::{Buf, Bytes};
use futures_util::Stream;
use futures_util::future::{join, join_all};
use warp::http::{HeaderMap, Method, header};
use warp::path::FullPath;
use warp::{Filter, Rejection, Reply};

pub(super) use self::answer::Answer;
use self::body::{Body, Budget};
use self::items::OtherItems;
use self::target::Target;
use super::admission::{Admission, Admitted, Dialect, Origin};
use super::keys::Grant;
use super::refusal::{Refusal, Refused};
use crate::domain::{EventId, ProjectId};
use crate::protocol::auth_header::{self, AuthError};
use crate::protocol::compression;
use crate::protocol::envelope::Envelope;
use crate::protocol::event_item::{self, ItemKind};
use crate::protocol::security_report;

/// The routes of ingestion: `POST /api/v1/events`, `POST /api/v1/events/bulk`, `POST /api/{project}/envelope[/]`,
/// `POST /api/{project}/store[/]`, `POST /api/{project}/security[/]` (and `csp-report`), and `OPTIONS` on each. Other
/// paths are rejected as not found.
#[must_use]
pub fn routes(
    admission: Admission,
) -> impl Filter<Extract = (impl Reply,), Error = Rejection> + Clone {
    let door = Door {
        budget: Budget::new(admission.limits().bodies_bytes_max),
        admission,
    };
    warp::path::full()
        .and_then(|path: FullPath| async move {
            Target::parse(path.as_str()).ok_or_else(warp::reject::not_found)
        })
        .and(warp::method())
        .and(warp::header::headers_cloned())
        .and(query())
        .and(remote_address())
        .and(warp::body::stream())
        .then(move |target, method, headers, query, remote, stream| {
            let request = Request {
                target,
                headers,
                query,
                remote,
            };
            let door = door.clone();
            async move { door.answer(method, request, stream).await }
        })
}

/// The raw query, if there is one.
pub(super) fn query() -> impl Filter<Extract = (Option<String>,), Error = Infallible> + Clone {
    warp::query::raw()
        .map(Some)
        .or(warp::any().map(|| None))
        .unify()
}

/// Where the connection comes from; unknown in a test without one.
pub(super) fn remote_address()
-> impl Filter<Extract = (Option<IpAddr>,), Error = Infallible> + Clone {
    mesh_runtime::http::peer_address()
        .map(|peer: SocketAddr| Some(peer.ip()))
        .or(warp::any().map(|| None))
        .unify()
}

/// Everything of a request but its body and method.
struct Request {
    target: Target,
    headers: HeaderMap,
    query: Option<String>,
    remote: Option<IpAddr>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn auth(&self, envelope_dsn: Option<&str>) -> Result<auth_header::Auth, AuthError> {
        auth_header::find(
            |name| self.header(name),
            self.query.as_deref(),
            envelope_dsn,
        )
    }
}

/// A request that is good so far, its bytes let go.
enum Judged {
    /// An event for our own endpoint.
    Native(Admitted),
    /// Events for our own endpoint, each judged by itself, in their order.
    Bulk(Vec<Result<Admitted, Refused>>),
    /// What a browser reported.
    Reports(Vec<Admitted>),
    /// What a Sentry endpoint was sent.
    Sentry {
        /// The event, if there is one and it is let in.
        event: Result<Option<Admitted>, Refused>,
        /// The id to answer without one.
        id: Option<EventId>,
        /// Whose it is.
        project_id: ProjectId,
        /// What came with it, and is kept and counted whatever becomes of it.
        others: OtherItems,
    },
}

#[derive(Clone)]
struct Door {
    admission: Admission,
    budget: Budget,
}

impl Door {
    async fn answer<B: Buf>(
        &self,
        method: Method,
        request: Request,
        stream: impl Stream<Item = Result<B, warp::Error>> + Send,
    ) -> Answer {
        match method {
            Method::OPTIONS => return Answer::preflight(),
            Method::POST => {}
            _ => return Answer::refused(&Refusal::WrongMethod),
        }
        match self.take(&request, stream).await {
            Ok(answer) => answer,
            Err(refused) => {
                if let Some(outcome) = refused.refusal.outcome() {
                    self.admission.counts().add(refused.project_id, outcome, 1);
                }
                Answer::refused(&refused.refusal)
            }
        }
    }

    /// Judges the key as early as it can be known, reads the body, hands it to its endpoint.
    async fn take<B: Buf>(
        &self,
        request: &Request,
        stream: impl Stream<Item = Result<B, warp::Error>> + Send,
    ) -> Result<Answer, Refused> {
        let limits = *self.admission.limits();
        let bytes_max = match request.target {
            Target::Native | Target::Security(_) => limits.native_bytes_max,
            Target::Bulk => limits.bulk_bytes_max,
            Target::Envelope(_) | Target::Store(_) => limits.compressed_bytes_max,
        };
        let early = match self.early_grant(request) {
            Ok(early) => early,
            Err(refused) => {
                body::discard(stream, limits.compressed_bytes_max).await;
                return Err(refused);
            }
        };
        let project_id = early.map(|grant| grant.project_id);
        let refuse = |refusal| Refused {
            refusal,
            project_id,
        };
        let mut stream = std::pin::pin!(stream);
        let announced = request
            .header("content-length")
            .and_then(|len| len.parse().ok());
        let read = body::read(stream.as_mut(), announced, bytes_max, &self.budget);
        let body = match read.await {
            Ok(body) => body,
            Err(refusal) => {
                body::discard(stream, limits.compressed_bytes_max).await;
                return Err(refuse(refusal));
            }
        };
        let inflated_bytes_max = match request.target {
            Target::Native | Target::Security(_) => limits.native_bytes_max,
            Target::Bulk => limits.bulk_bytes_max,
            Target::Envelope(_) | Target::Store(_) => limits.inflated_bytes_max,
        };
        let Body { bytes, share } = body;
        let encoding = encodings(&request.headers);
        let bytes = compression::decode(encoding.as_deref(), bytes, inflated_bytes_max)
            .map_err(|error| refuse(Refusal::of_decoding(error, inflated_bytes_max)))?;
        // What was inflated is let go before the wait for the disk: the budget counts bodies as they come.
        let answer = match self.judge(request, early, bytes)? {
            Judged::Native(event) => Answer::accepted(self.admission.store(event).await?),
            Judged::Bulk(events) => Answer::bulk(&self.store_all(events).await),
            Judged::Reports(events) => {
                let stored = join_all(events.into_iter().map(|event| self.admission.store(event)));
                let ids = stored.await.into_iter().collect::<Result<Vec<_>, _>>()?;
                Answer::stored(ids.first().copied(), false)
            }
            Judged::Sentry {
                event,
                id,
                project_id,
                others,
            } => {
                let is_limited = others.is_limited;
                let stored = async move {
                    let stored = match event? {
                        Some(event) => Some(self.admission.store(event).await?),
                        None => id,
                    };
                    // The database, which users' words wait for, may be away: no other body waits with them.
                    drop(share);
                    Ok::<_, Refused>(stored)
                };
                let kept = others.keep(&self.admission, project_id);
                let (id, kept) = join(stored, kept).await;
                let id = id?;
                return Ok(match kept {
                    Ok(()) => Answer::stored(id, is_limited),
                    // The event is kept; its sender hears of the rest, by its category.
                    Err(refusal) => Answer::refused_as(&refusal, items::FEEDBACK),
                });
            }
        };
        drop(share);
        Ok(answer)
    }

    /// The grant of the key in the headers or the query; `None` where only the envelope can tell.
    fn early_grant(&self, request: &Request) -> Result<Option<Grant>, Refused> {
        match request.auth(None) {
            Ok(auth) => self
                .admission
                .authenticate(auth.key, request.target.project())
                .map(Some)
                .map_err(Refused::unknown),
            Err(error) if !request.target.takes_envelopes() => Err(Refused::unknown(error)),
            Err(_) => Ok(None),
        }
    }

    /// Everything about a body that needs its bytes.
    fn judge(
        &self,
        request: &Request,
        early: Option<Grant>,
        bytes: Bytes,
    ) -> Result<Judged, Refused> {
        match request.target {
            Target::Native => {
                let grant = early.ok_or_else(|| Refused::unknown(AuthError::Missing))?;
                self.admit(&grant, request, Dialect::Native, &bytes, None)
                    .map(Judged::Native)
            }
            Target::Bulk => {
                let grant = early.ok_or_else(|| Refused::unknown(AuthError::Missing))?;
                let items = bulk::split(&bytes)
                    .map_err(|refusal| Refused::of(grant.project_id, refusal))?;
                let judge = |json| self.admit(&grant, request, Dialect::Native, json, None);
                Ok(Judged::Bulk(items.into_iter().map(judge).collect()))
            }
            Target::Security(_) => {
                let grant = early.ok_or_else(|| Refused::unknown(AuthError::Missing))?;
                self.judge_reports(&grant, request, &bytes)
            }
            Target::Store(_) if !is_envelope(&request.headers) => {
                let grant = early.ok_or_else(|| self.no_key(request, None))?;
                let ceiling = self.admission.limits().inflated_bytes_max;
                let json = event_item::store_body(bytes, ceiling).map_err(|error| {
                    Refused::of(grant.project_id, Refusal::of_decoding(error, ceiling))
                })?;
                let event = self.admit(&grant, request, Dialect::Sentry, &json, None);
                Ok(Judged::Sentry {
                    event: event.map(Some),
                    id: None,
                    project_id: grant.project_id,
                    others: OtherItems::default(),
                })
            }
            Target::Store(_) | Target::Envelope(_) => self.judge_envelope(request, early, &bytes),
        }
    }

    fn judge_envelope(
        &self,
        request: &Request,
        early: Option<Grant>,
        bytes: &Bytes,
    ) -> Result<Judged, Refused> {
        let project_id = early.map(|grant| grant.project_id);
        let envelope = Envelope::parse(bytes).map_err(|error| Refused {
            refusal: error.into(),
            project_id,
        })?;
        let grant = match early {
            Some(grant) => grant,
            None => self.late_grant(request, &envelope)?,
        };
        let mut events = envelope
            .items
            .iter()
            .filter(|item| item.header.kind == ItemKind::Event);
        let event = match (events.next(), events.next()) {
            (None, _) => Ok(None),
            (Some(event), None) => {
                let json = &event.payload;
                self.admit(&grant, request, Dialect::Sentry, json, Some(&envelope))
                    .map(Some)
            }
            (Some(_), Some(_)) => {
                let refusal = Refusal::Invalid("an envelope holds at most one event".to_owned());
                Err(Refused::of(grant.project_id, refusal))
            }
        };
        Ok(Judged::Sentry {
            event,
            id: envelope.header.event_id,
            project_id: grant.project_id,
            others: OtherItems::judge(&self.admission, &grant, &envelope),
        })
    }

    /// Makes events of what a browser reported.
    fn judge_reports(
        &self,
        grant: &Grant,
        request: &Request,
        bytes: &Bytes,
    ) -> Result<Judged, Refused> {
        let of_query = |name| auth_header::query_value(request.query.as_deref()?, name);
        let (environment, release) = (of_query("sentry_environment"), of_query("sentry_release"));
        let events = security_report::events(bytes, environment.as_deref(), release.as_deref())
            .map_err(|error| Refused::of(grant.project_id, Refusal::Invalid(error.to_string())))?;
        let admit = |event: serde_json::Value| {
            let json = event.to_string();
            self.admit(grant, request, Dialect::Sentry, json.as_bytes(), None)
        };
        events
            .into_iter()
            .map(admit)
            .collect::<Result<_, _>>()
            .map(Judged::Reports)
    }

    /// Makes what was admitted durable, all at once; every refusal is counted.
    async fn store_all(
        &self,
        events: Vec<Result<Admitted, Refused>>,
    ) -> Vec<Result<EventId, Refusal>> {
        let mut good = Vec::with_capacity(events.len());
        let judged = events
            .into_iter()
            .map(|event| event.map(|event| good.push(event)));
        let judged: Vec<Result<(), Refused>> = judged.collect();
        let mut stored = self.admission.store_all(good).await.into_iter();
        let results = judged.into_iter().map(|judged| {
            judged.and_then(|()| {
                stored
                    .next()
                    .expect("every event that is stored has a result")
            })
        });
        let told = |refused: Refused| {
            if let Some(outcome) = refused.refusal.outcome() {
                self.admission.counts().add(refused.project_id, outcome, 1);
            }
            refused.refusal
        };
        results.map(|result| result.map_err(told)).collect()
    }

    fn late_grant(&self, request: &Request, envelope: &Envelope) -> Result<Grant, Refused> {
        let auth = request
            .auth(envelope.header.dsn.as_deref())
            .map_err(Refused::unknown)?;
        self.admission
            .authenticate(auth.key, request.target.project())
            .map_err(Refused::unknown)
    }

    /// Why a request that should have shown its key by now is refused.
    fn no_key(&self, request: &Request, envelope_dsn: Option<&str>) -> Refused {
        let error = request.auth(envelope_dsn).err();
        Refused::unknown(error.unwrap_or(AuthError::Missing))
    }

    fn admit(
        &self,
        grant: &Grant,
        request: &Request,
        dialect: Dialect,
        json: &[u8],
        envelope: Option<&Envelope>,
    ) -> Result<Admitted, Refused> {
        let origin = Origin {
            dialect,
            event_id: envelope.and_then(|envelope| envelope.header.event_id),
            sent_at: envelope.and_then(|envelope| envelope.header.sent_at),
            remote_address: request.remote,
        };
        self.admission
            .admit(grant, &origin, json)
            .map_err(|refusal| Refused::of(grant.project_id, refusal))
    }
}

/// All `Content-Encoding` headers as one list.
fn encodings(headers: &HeaderMap) -> Option<String> {
    let all: Vec<&str> = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .map(|value| value.to_str().unwrap_or("unreadable"))
        .collect();
    (!all.is_empty()).then(|| all.join(","))
}

/// Whether a body for the store endpoint is an envelope after all.
fn is_envelope(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/x-sentry-envelope"))
}
