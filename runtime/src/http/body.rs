//! Bodies that know about time: a request's must arrive, a response's tells when it is through.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use parking_lot::Mutex;

use super::activity::Activity;
use super::alarm::{Sleep, sleep};
use super::in_hand::InHand;
use super::limits::Options;

type BodyError = Box<dyn Error + Send + Sync>;

/// A request's body; reading it fails when it has not arrived whole within the body timeout, or is too large.
pub(super) struct RequestBody {
    inner: Incoming,
    bytes_left: u64,
    /// When all of it must be here; `None` for one that is empty.
    due: Option<Due>,
}

struct Due {
    at: Duration,
    activity: Arc<Activity>,
    // Made when the body first keeps its reader waiting. In a mutex only to be `Sync`, which warp asks for.
    timer: Mutex<Option<Sleep>>,
}

impl RequestBody {
    pub(super) fn new(inner: Incoming, activity: &Arc<Activity>, options: &Options) -> Self {
        let due = (!inner.is_end_stream()).then(|| {
            let now = activity.system().clock().now();
            let at = now.saturating_add(options.body_timeout);
            Due {
                at,
                activity: activity.clone(),
                timer: Mutex::new(None),
            }
        });
        Self {
            inner,
            bytes_left: options.body_bytes_max,
            due,
        }
    }
}

impl RequestBody {
    fn admit(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyError> {
        let len = frame.data_ref().map_or(0, |data| data.len() as u64);
        match self.bytes_left.checked_sub(len) {
            Some(left) => self.bytes_left = left,
            None => return Err(BodyError::from(BodyTooLarge)),
        }
        Ok(frame)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| this.admit(frame?)));
        }
        let Some(due) = &mut this.due else {
            return Poll::Pending;
        };
        let timer = due.timer.get_mut().get_or_insert_with(|| {
            let system = due.activity.system();
            sleep(system, due.at.saturating_sub(system.clock().now()))
        });
        timer
            .as_mut()
            .poll(cx)
            .map(|()| Some(Err(BodyError::from(BodyTimeout))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of a request did not arrive within the body timeout.
#[derive(Debug)]
struct BodyTimeout;

impl fmt::Display for BodyTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request body did not arrive in time")
    }
}

impl Error for BodyTimeout {}

/// The body of a request has more bytes than the limit.
#[derive(Debug)]
struct BodyTooLarge;

impl fmt::Display for BodyTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request body is too large")
    }
}

impl Error for BodyTooLarge {}

/// A response's body; the request counts as in hand until this is sent or dropped.
pub(super) struct ResponseBody<B> {
    inner: B,
    _in_hand: InHand,
}

impl<B> ResponseBody<B> {
    pub(super) fn new(inner: B, in_hand: InHand) -> Self {
        Self {
            inner,
            _in_hand: in_hand,
        }
    }
}

impl<B: Body + Unpin> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
