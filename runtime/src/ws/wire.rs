//! The stream of one WebSocket: reads and writes at the same time, and keeps the heartbeat.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::{Sink, SinkExt, Stream as _, StreamExt};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_websockets::{Error, Limits, Message, ServerBuilder, WebSocketStream};

use super::frame::{Close, Frame, close_message, is_text, sort, unframed, verdict};
use super::heartbeat::{Beat, Heartbeat};
use super::outbox::{Known, Outbox};
use super::outgoing::Waiting;
use super::stream::Stream;
use super::{Options, PINGS_MAX};
use crate::System;
use crate::http::alarm::Alarm;
use crate::http::upgrade::Taken;

/// Bytes read at a time while what a closed peer still sends is thrown away.
const DISCARD_BYTES: usize = 4 * 1024;

/// Frames written before the peer is read.
const FRAMES_AT_ONCE: usize = 32;
/// Bytes of a frame that goes past the library's queue: the library cuts what is longer into fragments.
const ALONE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What the stream has to tell.
pub(super) enum Incoming {
    /// A message.
    Frame(Frame),
    /// It is over; `Some` when the peer has not closed yet and is owed this frame.
    Over(Ending),
}

/// How a WebSocket ends.
pub(super) struct Ending {
    pub(super) close: Close,
    /// Whether we say so first. Otherwise the peer did, or the stream is gone.
    pub(super) ours: bool,
}

/// One WebSocket's stream.
pub(super) struct Wire {
    socket: WebSocketStream<Stream>,
    /// Where the frames come from.
    outbox: Arc<Outbox>,
    known: Known,
    /// Whether the library may hold something that is not written.
    unflushed: bool,
    /// Whether the library takes messages: no close frame has come or gone, and nothing has failed.
    open: bool,
    /// Whether the peer may have sent something since it was read last.
    unread: bool,
    /// Whether the time may have come for something.
    timely: bool,
    /// Wakes the task and says that there is more to look for than frames.
    bell: Waker,
    heartbeat: Heartbeat,
    alarm: Option<Alarm>,
    system: System,
    close_timeout: Duration,
    /// Pings since the socket last took what was queued in it: as many answers may wait there, where nobody else counts them.
    pings: usize,
}

impl Wire {
    pub(super) fn new(
        stream: Taken,
        options: &Options,
        system: System,
        outbox: Arc<Outbox>,
    ) -> Self {
        let limits = Limits::default().max_payload_len(Some(options.message_bytes_max));
        let now = system.clock().now();
        Self {
            socket: ServerBuilder::new()
                .limits(limits)
                .serve(Stream::new(stream)),
            known: Known::default(),
            unflushed: false,
            open: true,
            unread: true,
            timely: true,
            bell: Waker::from(outbox.clone()),
            outbox,
            heartbeat: Heartbeat::new(now, options.ping_interval, options.pong_timeout),
            alarm: None,
            system,
            close_timeout: options.close_timeout,
            pings: 0,
        }
    }

    /// Writes what can be written, reads what has come, and only then looks at the clock: a pong that waits to be read counts. Woken for a
    /// frame, it does no more than write it.
    ///
    /// # Cancel safety
    /// Nothing is lost between two polls.
    pub(super) fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        self.listen(cx);
        loop {
            if let Err(error) = self.poll_write(cx) {
                return Poll::Ready(self.is_over(verdict(&error), false));
            }
            if !self.unread {
                break;
            }
            let mut by_bell = Context::from_waker(&self.bell);
            let Poll::Ready(read) = Pin::new(&mut self.socket).poll_next(&mut by_bell) else {
                self.unread = false;
                break;
            };
            // It may have queued an answer, and what it heard may bring the next ping forward.
            (self.unflushed, self.timely) = (true, true);
            match read {
                None => {
                    let close =
                        Close::new(Close::ABNORMAL, "the stream ended without a close frame");
                    return Poll::Ready(self.is_over(close, false));
                }
                Some(Err(error)) => {
                    let close = verdict(&error);
                    let ours = close.code != Close::ABNORMAL;
                    return Poll::Ready(self.is_over(close, ours));
                }
                Some(Ok(message)) => {
                    self.heartbeat.heard(|| self.system.clock().now());
                    if message.is_ping() {
                        self.pings += 1;
                    }
                    if self.pings > PINGS_MAX {
                        let close = Close::new(Close::POLICY, "pings, and their answers not taken");
                        return Poll::Ready(over(close, true));
                    }
                    match sort(message) {
                        Some(Ok(frame)) => return Poll::Ready(Incoming::Frame(frame)),
                        Some(Err(close)) => return Poll::Ready(self.is_over(close, false)),
                        // A ping has queued its pong: round again, to write it.
                        None => {}
                    }
                }
            }
        }
        self.poll_heartbeat(cx)
    }

    /// What the bell has to say, if it has rung.
    fn listen(&mut self, cx: &Context<'_>) {
        self.known.tell(cx, &self.outbox);
        if self.outbox.was_rung() {
            (self.unread, self.timely) = (true, true);
        }
    }

    /// The library takes no more messages.
    fn is_over(&mut self, close: Close, ours: bool) -> Incoming {
        self.open = false;
        over(close, ours)
    }

    /// Moves queued frames into the socket for as long as it takes them. One that comes alone goes past the library's queue.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        let mut frames = 0;
        loop {
            if frames == FRAMES_AT_ONCE {
                // A flood of frames must not keep the peer from being heard.
                cx.waker().wake_by_ref();
                break;
            }
            if self.unflushed {
                match Pin::new(&mut self.socket).poll_ready(cx) {
                    Poll::Ready(outcome) => outcome?,
                    Poll::Pending => return Ok(()),
                }
            }
            // Not much is queued in the socket.
            self.pings = 0;
            let Some((waiting, more)) = self.outbox.next() else {
                break;
            };
            frames += 1;
            match waiting {
                Waiting::Framed(frame)
                    if self.open && !self.unflushed && !more && frame.len() <= ALONE_BYTES_MAX =>
                {
                    debug_assert!(is_text(unframed(&frame)), "a text frame must be UTF-8");
                    match self.socket.get_mut().write_frame(cx, frame) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(error)) => {
                            self.open = false;
                            return Err(Error::Io(error));
                        }
                        Poll::Pending => self.unflushed = true,
                    }
                }
                waiting => {
                    self.unflushed = true;
                    match Pin::new(&mut self.socket).start_send(waiting.into_message()) {
                        // The peer's close frame came before this; what follows tells.
                        Err(Error::AlreadyClosed) => break,
                        outcome => outcome?,
                    }
                }
            }
        }
        if self.unflushed
            && let Poll::Ready(outcome) = Pin::new(&mut self.socket).poll_flush(cx)
        {
            self.unflushed = false;
            outcome?;
        }
        Ok(())
    }

    /// Only moves queued frames and pings that are due into the socket. Whether that fails is told by who reads next, and so is that a ping
    /// was not answered: the pong may lie behind what is not read yet.
    pub(super) fn poll_frames_out(&mut self, cx: &mut Context<'_>) {
        self.listen(cx);
        if self.poll_write(cx).is_ok() {
            let _ = self.poll_beats(cx);
        }
    }

    /// Begins to end the stream: what waits, then the close frame if it is ours to send. [`finish`](Self::finish) does the rest.
    pub(super) fn poll_goodbye(&mut self, cx: &mut Context<'_>, ending: &Ending) {
        self.listen(cx);
        // A stream that fails now fails again for `finish`, which ends it.
        let _ = self.poll_write(cx);
        if ending.ours
            && self.outbox.is_empty()
            && let Some(message) = close_message(&ending.close)
            && let Poll::Ready(Ok(())) = Pin::new(&mut self.socket).poll_ready(cx)
        {
            // Said once: the library takes no second.
            let _ = Pin::new(&mut self.socket).start_send(message);
            (self.open, self.unflushed) = (false, true);
            let _ = Pin::new(&mut self.socket).poll_flush(cx);
        }
    }

    fn poll_heartbeat(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        self.poll_beats(cx).map(|beats| match beats {
            Ok(()) => {
                let close = Close::new(Close::GOING_AWAY, "no answer to a ping");
                over(close, true)
            }
            Err(error) => over(verdict(&error), false),
        })
    }

    /// Sends the pings that are due; ready when one was not answered in time.
    fn poll_beats(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.timely {
            return Poll::Pending;
        }
        loop {
            let due = self.heartbeat.due();
            if let Some(alarm) = self.alarm.as_mut().filter(|alarm| alarm.at <= due) {
                if alarm.poll(&Context::from_waker(&self.bell)).is_pending() {
                    self.timely = false;
                    return Poll::Pending;
                }
                self.alarm = None;
            }
            let now = self.system.clock().now();
            match self.heartbeat.beat(now) {
                Beat::Dead => return Poll::Ready(Ok(())),
                Beat::Ping => {
                    // A socket that is closing takes no ping and needs none.
                    let _ = Pin::new(&mut self.socket).start_send(Message::ping(""));
                    self.unflushed = true;
                    if let Err(error) = self.poll_write(cx) {
                        return Poll::Ready(Err(error));
                    }
                }
                Beat::Wait(due) => self.alarm = Some(Alarm::new(&self.system, due, now)),
            }
        }
    }

    /// Ends the stream: sends what is queued and the close frame if it is ours to send, waits for the peer's answer, all within
    /// the close timeout.
    pub(super) async fn finish(&mut self, ending: &Ending) {
        let (system, close_timeout) = (self.system.clone(), self.close_timeout);
        let goodbye = async {
            if ending.ours
                && let Some(message) = close_message(&ending.close)
            {
                self.send_rest().await?;
                match self.socket.send(message).await {
                    // The library answered a broken protocol by itself.
                    Ok(()) | Err(Error::AlreadyClosed) => {}
                    Err(error) => return Err(error),
                }
            }
            // Flushes our answer to the peer's close, or waits for the peer's answer to ours.
            let mut agreed = !ending.ours;
            while let Some(Ok(message)) = self.socket.next().await {
                agreed |= message.is_close();
            }
            SinkExt::<Message>::close(&mut self.socket).await?;
            if !agreed {
                // What the peer is still sending must be taken, or the kernel resets the stream and our frame with it.
                self.discard().await;
            }
            Ok(())
        };
        // Whether the peer took leave or not, the stream is closed now.
        let _ = system.timeout(close_timeout, goodbye).await;
    }

    async fn discard(&mut self) {
        // Not on the stack, which is kept with the process for as long as it lives.
        let mut bytes = vec![0; DISCARD_BYTES];
        let stream = self.socket.get_mut();
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut buffer)).await;
            if read.is_err() || buffer.filled().is_empty() {
                return;
            }
        }
    }

    async fn send_rest(&mut self) -> Result<(), Error> {
        while let Some((waiting, _)) = self.outbox.next() {
            match self.socket.feed(waiting.into_message()).await {
                Err(Error::AlreadyClosed) => return Ok(()),
                outcome => outcome?,
            }
        }
        Ok(())
    }
}

fn over(close: Close, ours: bool) -> Incoming {
    Incoming::Over(Ending { close, ours })
}

#[cfg(test)]
mod tests;
