//! What a connection is doing, when that has lasted too long, and the stream that notices.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::alarm::Alarm;
use super::gate::Permit;
use super::io::Io;
use super::limits::Options;
use crate::System;

/// Why a connection is closed by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// The header of a request did not arrive in time.
    Header,
    /// No request came.
    Idle,
    /// The client takes nothing of what is written to it.
    Write,
}

/// The pure part: times in, deadline out.
#[derive(Debug)]
struct Phase {
    requests: usize,
    since: Duration,
    reading: bool,
    write_blocked_since: Option<Duration>,
}

impl Phase {
    fn deadline(&self, options: &Options) -> Option<(Duration, Overdue)> {
        let write = self
            .write_blocked_since
            .map(|since| (since.saturating_add(options.write_timeout), Overdue::Write));
        let read = (self.requests == 0).then(|| {
            let (limit, overdue) = if self.reading {
                (options.header_timeout, Overdue::Header)
            } else {
                (options.idle_timeout, Overdue::Idle)
            };
            (self.since.saturating_add(limit), overdue)
        });
        match (write, read) {
            (Some(write), Some(read)) => Some(if write.0 < read.0 { write } else { read }),
            (write, read) => write.or(read),
        }
    }
}

/// No time.
const NEVER: u64 = u64::MAX;

/// What one connection is doing; shared by its stream, its requests and its watchdog.
///
/// What happens within a poll of the connection reads no clock: it is timed by the watchdog, which is polled right after it. A stream of
/// HTTP/2 ends in a process of its own, tells the time itself, and wakes the watchdog when it was the last.
pub(super) struct Activity {
    system: System,
    requests: AtomicUsize,
    /// Whether a request was in hand outside the polls of the connection.
    apart: AtomicBool,
    /// The connection's task, while its watchdog waits for such requests.
    waits: Mutex<Option<Waker>>,
    /// Whether some of a request has come; else none.
    reading: AtomicBool,
    /// Since when, in nanoseconds of the system's clock.
    since: AtomicU64,
    write_blocked_since: AtomicU64,
}

impl Activity {
    /// A fresh connection owes a request header from its first moment.
    pub(super) fn new(system: System) -> Self {
        let activity = Self {
            system,
            requests: AtomicUsize::new(0),
            apart: AtomicBool::new(false),
            waits: Mutex::default(),
            reading: AtomicBool::new(true),
            since: AtomicU64::new(NEVER),
            write_blocked_since: AtomicU64::new(NEVER),
        };
        activity.since.store(activity.now(), Ordering::Relaxed);
        activity
    }

    /// Begins anew, after the TLS handshake.
    #[cfg(feature = "http-tls")]
    pub(super) fn begin(&self) {
        self.reading.store(true, Ordering::Relaxed);
        self.since.store(self.now(), Ordering::Relaxed);
        self.write_blocked_since.store(NEVER, Ordering::Relaxed);
    }

    /// The system whose clock it goes by.
    pub(super) fn system(&self) -> &System {
        &self.system
    }

    fn now(&self) -> u64 {
        let now = self.system.clock().now();
        u64::try_from(now.as_nanos()).unwrap_or(NEVER - 1)
    }

    fn phase(&self) -> Phase {
        let blocked = self.write_blocked_since.load(Ordering::Relaxed);
        let requests = self.requests.load(Ordering::Acquire);
        let mut since = self.since.load(Ordering::Relaxed);
        if requests == 0 && since == NEVER {
            since = self.now();
            self.since.store(since, Ordering::Relaxed);
        }
        Phase {
            requests,
            since: Duration::from_nanos(since),
            reading: self.reading.load(Ordering::Relaxed),
            write_blocked_since: (blocked != NEVER).then(|| Duration::from_nanos(blocked)),
        }
    }

    /// Notes a request in hand, until [`request_ended`](Self::request_ended); it ends `within` a poll of the connection, or not.
    pub(super) fn request_began(&self, within: bool) {
        if !within {
            self.apart.store(true, Ordering::Relaxed);
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// `within` a poll of the connection, or not.
    pub(super) fn request_ended(&self, within: bool) {
        let since = if within { NEVER } else { self.now() };
        self.since.store(since, Ordering::Relaxed);
        self.reading.store(false, Ordering::Relaxed);
        if within {
            self.requests.fetch_sub(1, Ordering::Release);
        } else if self.requests.fetch_sub(1, Ordering::AcqRel) == 1 {
            let waits = self.waits.lock().take();
            if let Some(task) = waits {
                task.wake();
            }
        }
    }

    /// Has the task woken when the last request ends outside a poll of the connection. `false` when there is none any more.
    fn awaits_last(&self, task: &Waker) -> bool {
        if !self.apart.load(Ordering::Relaxed) {
            return true;
        }
        let mut waits = self.waits.lock();
        if !waits.as_ref().is_some_and(|known| known.will_wake(task)) {
            *waits = Some(task.clone());
        }
        drop(waits);
        self.requests.load(Ordering::Acquire) > 0
    }

    fn read_some(&self) {
        if !self.reading.load(Ordering::Relaxed) && self.requests.load(Ordering::Acquire) == 0 {
            self.reading.store(true, Ordering::Relaxed);
            self.since.store(NEVER, Ordering::Relaxed);
        }
    }

    /// The client took nothing of what was to be written to it.
    pub(super) fn write_blocked(&self) {
        if self.write_blocked_since.load(Ordering::Relaxed) == NEVER {
            self.write_blocked_since
                .store(self.now(), Ordering::Relaxed);
        }
    }

    /// The client took something.
    pub(super) fn wrote_some(&self) {
        if self.write_blocked_since.load(Ordering::Relaxed) != NEVER {
            self.write_blocked_since.store(NEVER, Ordering::Relaxed);
        }
    }
}

/// Tells when a connection has done one thing for too long. Keeps one timer and moves it only when it rings or is late, so that a
/// busy connection seldom touches the wheel.
pub(super) struct Watchdog<'a> {
    activity: &'a Activity,
    options: &'a Options,
    alarm: Option<Alarm>,
}

impl<'a> Watchdog<'a> {
    pub(super) fn new(activity: &'a Activity, options: &'a Options) -> Self {
        Self {
            activity,
            options,
            alarm: None,
        }
    }

    /// Ready when a deadline has passed. Must be polled after the connection, in the same task: it is the connection's own work
    /// that moves the deadline.
    pub(super) fn poll_overdue(&mut self, cx: &Context<'_>) -> Poll<Overdue> {
        loop {
            let phase = self.activity.phase();
            if phase.requests > 0 && !self.activity.awaits_last(cx.waker()) {
                continue;
            }
            let Some((due, overdue)) = phase.deadline(self.options) else {
                return Poll::Pending;
            };
            if let Some(alarm) = self.alarm.as_mut().filter(|alarm| alarm.at <= due) {
                if alarm.poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.alarm = None;
            }
            let now = self.activity.system.clock().now();
            if due <= now {
                return Poll::Ready(overdue);
            }
            self.alarm = Some(Alarm::new(&self.activity.system, due, now));
        }
    }
}

/// The stream of a connection. It holds the connection's place in the gate, so that a WebSocket that took the stream over
/// still counts.
pub(super) struct Stream {
    io: Io,
    activity: Arc<Activity>,
    permit: Permit,
}

impl Stream {
    pub(super) fn new(io: Io, activity: Arc<Activity>, permit: Permit) -> Self {
        Self {
            io,
            activity,
            permit,
        }
    }

    /// The bytes under it, of which nobody asks any more what they are doing, and its place.
    pub(super) fn into_parts(self) -> (Io, Permit) {
        (self.io.bare(), self.permit)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_read(cx, buffer);
        if outcome.is_ready() {
            self.activity.read_some();
        }
        outcome
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn options() -> Options {
        Options {
            header_timeout: 10 * SECOND,
            idle_timeout: 75 * SECOND,
            write_timeout: 30 * SECOND,
            ..Options::default()
        }
    }

    #[test]
    fn the_nearest_deadline_of_what_is_going_on_counts() {
        let mut phase = Phase {
            requests: 0,
            since: SECOND,
            reading: true,
            write_blocked_since: None,
        };
        assert_eq!(
            phase.deadline(&options()),
            Some((11 * SECOND, Overdue::Header))
        );
        phase.requests = 1;
        assert_eq!(
            phase.deadline(&options()),
            None,
            "a handler may take its time"
        );
        phase.write_blocked_since = Some(2 * SECOND);
        assert_eq!(
            phase.deadline(&options()),
            Some((32 * SECOND, Overdue::Write))
        );
        phase.requests = 0;
        phase.reading = false;
        assert_eq!(
            phase.deadline(&options()),
            Some((32 * SECOND, Overdue::Write))
        );
        phase.write_blocked_since = None;
        assert_eq!(
            phase.deadline(&options()),
            Some((76 * SECOND, Overdue::Idle))
        );
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The watchdog of a connection with streams has no deadline to wait for; it begins to wait when the last of them ends.
    #[tokio::test]
    async fn the_last_stream_wakes_the_watchdog() {
        let activity = Activity::new(System::new());
        let options = options();
        let mut watchdog = Watchdog::new(&activity, &options);
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(woken.clone());
        let mut poll = || watchdog.poll_overdue(&Context::from_waker(&waker));
        for turn in 1..3 {
            activity.request_began(false);
            activity.request_began(false);
            assert!(poll().is_pending());
            activity.request_ended(false);
            assert_eq!(woken.0.load(Ordering::Relaxed), turn - 1, "one is left");
            activity.request_ended(false);
            assert_eq!(woken.0.load(Ordering::Relaxed), turn);
            assert!(poll().is_pending());
        }
        assert!(watchdog.alarm.is_some(), "it waits for the idle timeout");
    }

    /// The end of an answer lies in the buffer of the TLS session while the client takes nothing: every write was taken, only the
    /// flush waits. What the client takes of it counts, though the flush still waits.
    #[cfg(feature = "http-tls")]
    #[tokio::test]
    async fn a_flush_that_waits_counts_as_a_write() {
        let activity = Arc::new(Activity::new(System::new()));
        let (server, client) = crate::http::tls::tests::pair(activity.clone()).await;
        activity.begin();
        let gate = Arc::new(super::super::gate::Gate::new(1, 1));
        let permit = gate.admit(std::net::Ipv4Addr::LOCALHOST.into()).unwrap();
        let mut stream = Stream::new(Io::Secure(Box::new(server)), activity.clone(), permit);
        let mut cx = Context::from_waker(Waker::noop());
        activity.request_began(true);
        let blocked = || activity.phase().write_blocked_since;
        while Pin::new(&mut stream).poll_flush(&mut cx).is_ready() {
            assert_eq!(blocked(), None);
            let written = Pin::new(&mut stream).poll_write(&mut cx, &[0; 1024]);
            assert!(written.is_ready(), "the session takes a little more");
        }
        let due = activity.phase().deadline(&options()).unwrap();
        assert_eq!(due.1, Overdue::Write);
        // The session takes more, the client does not: that is no progress.
        let began = blocked();
        let written = Pin::new(&mut stream).poll_write(&mut cx, &[0; 1024]);
        assert!(written.is_ready());
        assert_eq!(blocked(), began);
        let tcp = client.into_inner().0;
        let mut bytes = vec![0; 1024];
        loop {
            let _ = tcp.try_read(&mut bytes);
            // The runtime looks whether the socket takes something again.
            tokio::task::yield_now().await;
            let flushed = Pin::new(&mut stream).poll_flush(&mut cx);
            if flushed.is_ready() || blocked() != began {
                break;
            }
        }
        assert_ne!(blocked(), began, "it has taken something");
    }
}
