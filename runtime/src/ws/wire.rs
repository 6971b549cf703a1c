//! The stream of one WebSocket: reads and writes at the same time, and keeps the heartbeat.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_websockets::{Limits, Message, ServerBuilder, WebSocketStream};

use super::frame::{Close, Frame, close_message, sort, verdict};
use super::heartbeat::{Beat, Heartbeat};
use super::outgoing::Outgoing;
use super::{Options, PINGS_MAX};
use crate::System;
use crate::http::alarm::Alarm;

/// Bytes read at a time while what a closed peer still sends is thrown away.
const DISCARD_BYTES: usize = 4 * 1024;

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
    socket: WebSocketStream<TokioIo<Upgraded>>,
    heartbeat: Heartbeat,
    alarm: Option<Alarm>,
    system: System,
    close_timeout: Duration,
    /// Pings since the socket last took what was queued in it: as many answers may wait there, where nobody else counts them.
    pings: usize,
}

impl Wire {
    pub(super) fn new(stream: Upgraded, options: &Options, system: System) -> Self {
        let limits = Limits::default().max_payload_len(Some(options.message_bytes_max));
        let now = system.clock().now();
        Self {
            socket: ServerBuilder::new()
                .limits(limits)
                .serve(TokioIo::new(stream)),
            heartbeat: Heartbeat::new(now, options.ping_interval, options.pong_timeout),
            alarm: None,
            system,
            close_timeout: options.close_timeout,
            pings: 0,
        }
    }

    /// Writes what can be written, reads what has come, and only then looks at the clock: a pong that waits to be read counts.
    ///
    /// # Cancel safety
    /// Nothing is lost between two polls.
    pub(super) fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
        outgoing: &mut Outgoing,
    ) -> Poll<Incoming> {
        loop {
            if let Err(error) = self.poll_write(cx, outgoing) {
                return Poll::Ready(over(verdict(&error), false));
            }
            match Pin::new(&mut self.socket).poll_next(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => {
                    let close =
                        Close::new(Close::ABNORMAL, "the stream ended without a close frame");
                    return Poll::Ready(over(close, false));
                }
                Poll::Ready(Some(Err(error))) => {
                    let close = verdict(&error);
                    let ours = close.code != Close::ABNORMAL;
                    return Poll::Ready(over(close, ours));
                }
                Poll::Ready(Some(Ok(message))) => {
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
                        Some(Err(close)) => return Poll::Ready(over(close, false)),
                        // A ping has queued its pong: round again, to write it.
                        None => {}
                    }
                }
            }
        }
        self.poll_heartbeat(cx, outgoing)
    }

    /// Moves queued frames into the socket for as long as it takes them.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        outgoing: &mut Outgoing,
    ) -> Result<(), tokio_websockets::Error> {
        let mut socket = Pin::new(&mut self.socket);
        loop {
            match socket.as_mut().poll_ready(cx) {
                Poll::Ready(outcome) => outcome?,
                Poll::Pending => return Ok(()),
            }
            // Not much is queued in the socket.
            self.pings = 0;
            let Some(message) = outgoing.pop() else { break };
            match socket.as_mut().start_send(message) {
                // The peer's close frame came before this; what follows tells.
                Err(tokio_websockets::Error::AlreadyClosed) => break,
                outcome => outcome?,
            }
        }
        match socket.poll_flush(cx) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Ok(()),
        }
    }

    /// Only moves queued frames and pings that are due into the socket. Whether that fails is told by who reads next, and so is that a ping
    /// was not answered: the pong may lie behind what is not read yet.
    pub(super) fn poll_frames_out(&mut self, cx: &mut Context<'_>, outgoing: &mut Outgoing) {
        if self.poll_write(cx, outgoing).is_ok() {
            let _ = self.poll_beats(cx, outgoing);
        }
    }

    /// Begins to end the stream: what waits, then the close frame if it is ours to send. [`finish`](Self::finish) does the rest.
    pub(super) fn poll_goodbye(
        &mut self,
        cx: &mut Context<'_>,
        ending: &Ending,
        outgoing: &mut Outgoing,
    ) {
        // A stream that fails now fails again for `finish`, which ends it.
        let _ = self.poll_write(cx, outgoing);
        if ending.ours
            && outgoing.is_empty()
            && let Some(message) = close_message(&ending.close)
            && let Poll::Ready(Ok(())) = Pin::new(&mut self.socket).poll_ready(cx)
        {
            // Said once: the library takes no second.
            let _ = Pin::new(&mut self.socket).start_send(message);
            let _ = Pin::new(&mut self.socket).poll_flush(cx);
        }
    }

    fn poll_heartbeat(&mut self, cx: &mut Context<'_>, outgoing: &mut Outgoing) -> Poll<Incoming> {
        self.poll_beats(cx, outgoing).map(|beats| match beats {
            Ok(()) => {
                let close = Close::new(Close::GOING_AWAY, "no answer to a ping");
                over(close, true)
            }
            Err(error) => over(verdict(&error), false),
        })
    }

    /// Sends the pings that are due; ready when one was not answered in time.
    fn poll_beats(
        &mut self,
        cx: &mut Context<'_>,
        outgoing: &mut Outgoing,
    ) -> Poll<Result<(), tokio_websockets::Error>> {
        loop {
            let due = self.heartbeat.due();
            if let Some(alarm) = self.alarm.as_mut().filter(|alarm| alarm.at <= due) {
                if alarm.poll(cx).is_pending() {
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
                    if let Err(error) = self.poll_write(cx, outgoing) {
                        return Poll::Ready(Err(error));
                    }
                }
                Beat::Wait(due) => self.alarm = Some(Alarm::new(&self.system, due, now)),
            }
        }
    }

    /// Ends the stream: sends what is queued and the close frame if it is ours to send, waits for the peer's answer, all within
    /// the close timeout.
    pub(super) async fn finish(&mut self, ending: &Ending, outgoing: &mut Outgoing) {
        let (system, close_timeout) = (self.system.clone(), self.close_timeout);
        let goodbye = async {
            if ending.ours
                && let Some(message) = close_message(&ending.close)
            {
                self.send_rest(outgoing).await?;
                match self.socket.send(message).await {
                    // The library answered a broken protocol by itself.
                    Ok(()) | Err(tokio_websockets::Error::AlreadyClosed) => {}
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

    async fn send_rest(&mut self, outgoing: &mut Outgoing) -> Result<(), tokio_websockets::Error> {
        loop {
            let Some(message) = outgoing.pop() else {
                return Ok(());
            };
            match self.socket.feed(message).await {
                Err(tokio_websockets::Error::AlreadyClosed) => return Ok(()),
                outcome => outcome?,
            }
        }
    }
}

fn over(close: Close, ours: bool) -> Incoming {
    Incoming::Over(Ending { close, ours })
}
