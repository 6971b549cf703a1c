//! `GET /api/v1/ingest`: a WebSocket that takes one native event a frame and acknowledges each, in order, once it is durable.

use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;
use mesh_runtime::ws::{self, Close, Connection, Frame, Next, Socket};
use serde_json::json;
use warp::filters::BoxedFilter;
use warp::http::HeaderMap;
use warp::{Filter as _, Reply as _};

use super::admission::{Admission, Dialect, Origin};
use super::http::{self, Answer};
use super::refusal::{Refusal, Refused};
use crate::domain::{EventId, PublicKey};
use crate::protocol::auth_header;

/// What a connection works with.
#[derive(Clone, Debug)]
struct SocketArgs {
    admission: Admission,
    key: PublicKey,
    remote: Option<IpAddr>,
}

/// One client's connection.
struct IngestSocket {
    args: SocketArgs,
    /// How many frames came; each answer names the frame it is for, counted from 0.
    frames: u64,
}

impl fmt::Debug for IngestSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IngestSocket")
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}

impl Socket for IngestSocket {
    type Args = SocketArgs;
    type Message = ();

    async fn on_connect(args: SocketArgs, _cx: &mut Connection<()>) -> Result<Self, Close> {
        Ok(IngestSocket { args, frames: 0 })
    }

    async fn on_message(&mut self, frame: Frame, cx: &mut Connection<()>) -> Next {
        let json: Bytes = match frame {
            Frame::Text(text) => text.into(),
            Frame::Binary(bytes) => bytes,
            // The runtime has only these two kinds today.
            _ => Bytes::new(),
        };
        let number = self.frames;
        self.frames += 1;
        let answer = match self.take(&json).await {
            Ok(id) => json!({ "frame": number, "id": id }),
            Err(refusal) => json!({
                "frame": number,
                "error": {
                    "code": refusal.code(),
                    "message": refusal.to_string(),
                    "retry_after_ms": refusal.retry_after().map(|wait| wait.as_millis()),
                },
            }),
        };
        cx.send_text(Bytes::from(answer.to_string()));
        Next::Continue
    }
}

impl IngestSocket {
    /// Judges and stores one event; a refusal is counted. The key is asked for anew: it may have been revoked since the last frame.
    async fn take(&self, json: &[u8]) -> Result<EventId, Refusal> {
        let SocketArgs {
            admission,
            key,
            remote,
        } = &self.args;
        let taken = match admission.authenticate(*key, None) {
            Ok(grant) => {
                let origin = Origin {
                    dialect: Dialect::Native,
                    event_id: None,
                    sent_at: None,
                    remote_address: *remote,
                };
                match admission.admit(&grant, &origin, json) {
                    Ok(admitted) => admission.store(admitted).await,
                    Err(refusal) => Err(Refused::of(grant.project_id, refusal)),
                }
            }
            Err(refusal) => Err(Refused::unknown(refusal)),
        };
        taken.map_err(|refused| {
            if let Some(outcome) = refused.refusal.outcome() {
                admission.counts().add(refused.project_id, outcome, 1);
            }
            refused.refusal
        })
    }
}

/// The route; the key comes as to every other endpoint, or, since browsers set no headers here, as `?sentry_key=`.
#[must_use]
pub fn routes(admission: Admission) -> BoxedFilter<(warp::reply::Response,)> {
    warp::path!("api" / "v1" / "ingest")
        .and(ws::upgrade())
        .and(warp::header::headers_cloned())
        .and(http::query())
        .and(http::remote_address())
        .map(
            move |upgrade: ws::Upgrade, headers: HeaderMap, query: Option<String>, remote| {
                let header = |name: &str| headers.get(name)?.to_str().ok();
                let found = auth_header::find(header, query.as_deref(), None);
                let allowed = found.map_err(Refused::unknown).and_then(|auth| {
                    let grant = admission.authenticate(auth.key, None);
                    grant.map(|_| auth.key).map_err(Refused::unknown)
                });
                let key = match allowed {
                    Ok(key) => key,
                    Err(refused) => {
                        if let Some(outcome) = refused.refusal.outcome() {
                            admission.counts().add(None, outcome, 1);
                        }
                        return Answer::refused(&refused.refusal).into_response();
                    }
                };
                let options = ws::Options {
                    message_bytes_max: admission.limits().native_bytes_max,
                    // The key is public, and the pages that report are not ours.
                    origins: ws::Origins::Any,
                    ..ws::Options::default()
                };
                let args = SocketArgs {
                    admission: admission.clone(),
                    key,
                    remote,
                };
                upgrade
                    .accept::<IngestSocket>(args, options)
                    .into_response()
            },
        )
        .boxed()
}
