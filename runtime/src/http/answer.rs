//! One request on its way to its answer; what panics inside is answered 500.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, StatusCode, Version};
use warp::reply::Response;

use super::body::{RequestBody, ResponseBody};
use super::connection::Line;
use super::in_hand::{InHand, in_the_name};
#[cfg(feature = "metrics")]
use super::route::Measured;
use crate::ExitReason;
use crate::process::current;
use crate::process::run::{admits_panic, attempt};

/// What a filter makes of a request.
pub(super) type Answering = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

/// A filter with its type taken away: the connection code is compiled once, not once a filter.
pub(super) type Handler = Arc<dyn Fn(Request<RequestBody>) -> Answering + Send + Sync>;

/// Answers one request. Written by hand: as an `async` block it would hold the request, and move it twice.
pub(super) struct Answer {
    // None only when it has been answered.
    in_hand: Option<InHand>,
    stage: Stage,
    #[cfg(feature = "metrics")]
    measured: Measured,
}

enum Stage {
    Running(Answering),
    Settled(Response),
    Over,
}

impl Answer {
    pub(super) fn new(request: Request<Incoming>, line: Arc<Line>) -> Self {
        let within = request.version() != Version::HTTP_2;
        #[cfg(feature = "metrics")]
        let measured = Measured::begin(request.method(), line.activity.system().clock().now());
        let mut in_hand = Some(InHand::new(line.clone(), within));
        let options = &line.server.options;
        let stage = if request.body().size_hint().lower() > options.body_bytes_max {
            Stage::Settled(bare(StatusCode::PAYLOAD_TOO_LARGE))
        } else {
            let request = request.map(|body| RequestBody::new(body, &line.activity, options));
            let begun = in_the_name(&mut in_hand, || attempt(|| (line.server.handler)(request)));
            begun.map_or_else(
                |reason| Stage::Settled(panicked(&line, &reason)),
                Stage::Running,
            )
        };
        Self {
            in_hand,
            stage,
            #[cfg(feature = "metrics")]
            measured,
        }
    }

    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Response> {
        let Stage::Running(answering) = &mut self.stage else {
            return match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Settled(response) => Poll::Ready(response),
                Stage::Running(_) | Stage::Over => {
                    unreachable!("a finished future is not polled again")
                }
            };
        };
        let polled = in_the_name(&mut self.in_hand, || {
            attempt(|| answering.as_mut().poll(cx))
        });
        let outcome = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Ok(response))) => Ok(response),
            Ok(Poll::Ready(Err(never))) => match never {},
            Err(reason) => Err(reason),
        };
        let over = std::mem::replace(&mut self.stage, Stage::Over);
        let dropped = attempt(|| drop(over));
        Poll::Ready(dropped.and(outcome).unwrap_or_else(|reason| {
            let line = self.in_hand.as_ref().map(InHand::line);
            let line = line.expect("it is not answered yet");
            panicked(line, &reason)
        }))
    }
}

/// Names the body of warp's responses.
pub(super) trait Carries {
    type Body;
}

impl<B> Carries for hyper::Response<B> {
    type Body = B;
}

/// What goes back to hyper.
type Answered = hyper::Response<ResponseBody<<Response as Carries>::Body>>;

impl Future for Answer {
    type Output = Result<Answered, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.poll_response(cx).map(|response| {
            let in_hand = this.in_hand.take().expect("it is not answered yet");
            #[cfg(feature = "metrics")]
            {
                let line = in_hand.line();
                let now = line.activity.system().clock().now();
                this.measured.end(&line.server.id, &response, now);
            }
            Ok(response.map(|body| ResponseBody::new(body, in_hand)))
        })
    }
}

fn bare(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

fn panicked(line: &Line, reason: &ExitReason) -> Response {
    let kernel = line.activity.system().kernel();
    // Of the connection, or of the stream of HTTP/2.
    let pid = current::pid().unwrap_or(kernel.root());
    if admits_panic(kernel, pid, reason) {
        tracing::error!(http.panic = %reason, "a request's handler panicked");
    }
    let options = &line.server.options;
    let mut response = Response::new(options.panic_body.clone().into());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    let content_type = HeaderValue::from_static(options.panic_content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::{Duration, SystemTime};

    use tokio::sync::watch;

    use super::super::activity::Activity;
    use super::super::connection::Server;
    use super::super::gate::Gate;
    use super::super::limits::Options;
    use super::super::upgrade::Takeover;
    use super::*;
    use crate::limits::STORM_LINES_MAX;
    use crate::{Clock, System};

    #[derive(Debug)]
    struct Still;

    impl Clock for Still {
        fn now(&self) -> Duration {
            Duration::ZERO
        }

        fn wall(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }
    }

    #[tokio::test]
    async fn a_storm_of_panics_is_told_as_that_of_processes_is() {
        let system = System::builder().clock(Arc::new(Still)).build();
        let server = Arc::new(Server {
            #[cfg(feature = "metrics")]
            id: "web".into(),
            handler: Arc::new(|_| Box::pin(std::future::pending())),
            options: Options::default(),
            gate: Arc::new(Gate::new(1, 1)),
            draining: watch::Sender::new(false),
        });
        let line = Line {
            peer: (Ipv4Addr::LOCALHOST, 1).into(),
            takeover: Takeover::default(),
            server,
            activity: Arc::new(Activity::new(system.clone())),
        };
        let (kernel, reason) = (system.kernel(), ExitReason::panic("fell", "here"));
        for _ in 0..STORM_LINES_MAX {
            assert_eq!(panicked(&line, &reason).status(), 500);
        }
        assert!(
            !admits_panic(kernel, kernel.root(), &reason),
            "they have been told"
        );
        let other = ExitReason::panic("fell", "there");
        assert!(admits_panic(kernel, kernel.root(), &other));
    }
}
