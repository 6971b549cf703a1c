//! The wait of a connection for the end of its server.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::sync::watch;

/// Tells when the server stops, or is gone. It goes to the list of those who wait, which all connections share, once for each task, not at
/// each poll.
pub(crate) struct Stopping {
    seen: watch::Receiver<bool>,
    stops: Pin<Box<dyn Future<Output = ()> + Send>>,
    wakes: Option<Waker>,
}

impl Stopping {
    pub(crate) fn new(draining: watch::Receiver<bool>) -> Self {
        let mut waits = draining.clone();
        Self {
            seen: draining,
            // What says "not yet" only because others should run now has not put itself on the list.
            stops: Box::pin(tokio::task::unconstrained(async move {
                // A server that is gone altogether is stopping too.
                let _ = waits.wait_for(|draining| *draining).await;
            })),
            wakes: None,
        }
    }

    /// Not to be polled again once it is ready.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let wakes_this = |waker: &Waker| waker.will_wake(cx.waker());
        if self.wakes.as_ref().is_some_and(wakes_this)
            && matches!(self.seen.has_changed(), Ok(false))
        {
            return Poll::Pending;
        }
        self.seen.mark_unchanged();
        self.wakes = Some(cx.waker().clone());
        self.stops.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_hears_the_end_and_only_that() {
        for gone in [false, true] {
            let server = watch::Sender::new(false);
            let mut stopping = Stopping::new(server.subscribe());
            let mut cx = Context::from_waker(Waker::noop());
            assert!(stopping.poll(&mut cx).is_pending());
            server.send_replace(false);
            for _ in 0..2 {
                assert!(stopping.poll(&mut cx).is_pending());
            }
            if gone {
                drop(server);
            } else {
                server.send_replace(true);
            }
            assert!(stopping.poll(&mut cx).is_ready());
        }
    }
}
