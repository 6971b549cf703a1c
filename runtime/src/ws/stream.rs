//! The bytes under a WebSocket: what was read ahead comes first, and a frame that is half written is finished before anything else is.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::upgrade::Taken;

/// A stream that was taken over from HTTP.
pub(super) struct Stream {
    taken: Taken,
    /// The rest of a frame that [`write_frame`](Self::write_frame) began.
    rest: Bytes,
}

impl Stream {
    pub(super) fn new(taken: Taken) -> Self {
        Self {
            taken,
            rest: Bytes::new(),
        }
    }

    /// Writes a frame past the library, which must have none waiting, and whatever has to go out for it. Pending, it is finished by who writes
    /// or flushes next.
    pub(super) fn write_frame(
        &mut self,
        cx: &mut Context<'_>,
        frame: Bytes,
    ) -> Poll<io::Result<()>> {
        debug_assert!(self.rest.is_empty(), "a frame is finished before the next");
        self.rest = frame;
        let flushed = Pin::new(&mut *self).poll_flush(cx);
        if let Poll::Ready(Err(_)) = flushed {
            self.rest = Bytes::new();
        }
        flushed
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.rest.is_empty() {
            let io = Pin::new(&mut self.taken.io);
            let written = ready!(io.poll_write(cx, &self.rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            if written == self.rest.len() {
                self.rest = Bytes::new();
            } else {
                self.rest.advance(written);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let ahead = &mut self.taken.ahead;
        if ahead.is_empty() {
            return Pin::new(&mut self.taken.io).poll_read(cx, buffer);
        }
        let bytes = ahead.split_to(ahead.len().min(buffer.remaining()));
        buffer.put_slice(&bytes);
        if ahead.is_empty() {
            // An empty rest would keep all of it.
            *ahead = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_rest(cx))?;
        Pin::new(&mut self.taken.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_rest(cx))?;
        Pin::new(&mut self.taken.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.taken.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_rest(cx))?;
        Pin::new(&mut self.taken.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_rest(cx))?;
        Pin::new(&mut self.taken.io).poll_shutdown(cx)
    }
}
