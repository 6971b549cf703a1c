//! The bytes under a connection: plain, or through TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(feature = "http-tls")]
use tokio_rustls::server::TlsStream;

use super::activity::Activity;

/// A connection's stream of bytes.
pub(crate) enum Io {
    Plain(Socket),
    /// A socket that is no longer watched.
    Bare(TcpStream),
    /// Boxed: its state is a hundred times that of a socket.
    #[cfg(feature = "http-tls")]
    Secure(Box<TlsStream<Socket>>),
    /// Whatever a test makes of it.
    #[cfg(all(test, feature = "ws"))]
    Made(Box<dyn Made>),
}

/// Bytes in both directions.
#[cfg(all(test, feature = "ws"))]
pub(crate) trait Made: AsyncRead + AsyncWrite + Unpin + Send {}

#[cfg(all(test, feature = "ws"))]
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Made for T {}

macro_rules! either {
    ($io:expr, $stream:ident => $call:expr) => {
        match $io {
            Io::Plain($stream) => $call,
            Io::Bare($stream) => $call,
            #[cfg(feature = "http-tls")]
            Io::Secure($stream) => $call,
            #[cfg(all(test, feature = "ws"))]
            Io::Made($stream) => $call,
        }
    };
}

impl Io {
    /// The same bytes, of which nobody asks whether the client takes them.
    pub(super) fn bare(self) -> Io {
        match self {
            Io::Plain(socket) => Io::Bare(socket.tcp),
            other => other,
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        either!(self, stream => stream.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}

/// A connection's socket. It tells whether the client takes what is written: above TLS that cannot be seen, where a buffer takes what the
/// client does not, and one flush goes on for as long as a slow client needs.
pub(crate) struct Socket {
    tcp: TcpStream,
    activity: Arc<Activity>,
}

impl Socket {
    pub(super) fn new(tcp: TcpStream, activity: Arc<Activity>) -> Self {
        Self { tcp, activity }
    }

    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Pending => self.activity.write_blocked(),
            Poll::Ready(Ok(1..)) => self.activity.wrote_some(),
            Poll::Ready(_) => {}
        }
        written
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
