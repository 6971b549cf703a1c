//! A request in hand, and where its filters find the connection it came on.

use std::cell::Cell;
use std::sync::Arc;

use warp::{Filter, Rejection};

use super::connection::Line;

/// A request that is being answered, or its answer sent. Counts as in hand for as long as it lives.
pub(super) struct InHand {
    line: Arc<Line>,
    /// Whether it ends within a poll of its connection.
    within: bool,
}

impl InHand {
    pub(super) fn new(line: Arc<Line>, within: bool) -> Self {
        line.activity.request_began(within);
        Self { line, within }
    }

    pub(super) fn line(&self) -> &Line {
        &self.line
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.line.activity.request_ended(self.within);
    }
}

thread_local! {
    /// The request whose filters run on this thread just now. In a request's extensions it would cost three allocations.
    static CURRENT: Cell<Option<InHand>> = const { Cell::new(None) };
}

/// Runs `work` in the name of a request.
pub(super) fn in_the_name<R>(request: &mut Option<InHand>, work: impl FnOnce() -> R) -> R {
    /// Puts back what was there, however `work` ends.
    struct Back<'a> {
        request: &'a mut Option<InHand>,
        before: Option<InHand>,
    }
    impl Drop for Back<'_> {
        fn drop(&mut self) {
            *self.request = CURRENT.replace(self.before.take());
        }
    }
    let before = CURRENT.replace(request.take());
    let _back = Back { request, before };
    work()
}

/// Extracts something of the connection a request came on.
pub(super) fn of_line<T: Send + 'static>(
    read: fn(&Line) -> T,
) -> impl Filter<Extract = (T,), Error = Rejection> + Copy {
    warp::any().and_then(move || std::future::ready(current(read).ok_or_else(not_served)))
}

fn current<T>(read: fn(&Line) -> T) -> Option<T> {
    let request = CURRENT.take();
    let found = request.as_ref().map(|request| read(request.line()));
    CURRENT.set(request);
    found
}

/// The filter is not served by [`server`](super::server).
#[derive(Debug)]
struct NotServed;

impl warp::reject::Reject for NotServed {}

fn not_served() -> Rejection {
    warp::reject::custom(NotServed)
}
