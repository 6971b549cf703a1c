//! A client that says exactly what it is told, byte by byte.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::site::PATIENCE;

/// One answer of an HTTP/1.1 server.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A connection and what has been read of it.
pub(crate) struct Raw<S = TcpStream> {
    stream: S,
    read: Vec<u8>,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Raw {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Raw::over(stream)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    pub(crate) fn over(stream: S) -> Raw<S> {
        Raw {
            stream,
            read: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// A GET on a connection that is kept.
    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"))
            .await;
        self.answer().await.expect("an answer")
    }

    /// The head of the next answer, in lower case; `None` when the stream ends before it.
    pub(crate) async fn head(&mut self) -> Option<String> {
        let end = loop {
            if let Some(end) = self
                .read
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                break end + 4;
            }
            self.fill().await?;
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        Some(head.to_lowercase())
    }

    /// The next answer; `None` when the stream ends before it.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let head = self.head().await?;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let len = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |len| len.parse().unwrap());
        while self.read.len() < len {
            self.fill().await?;
        }
        let body = String::from_utf8(self.read.drain(..len).collect()).unwrap();
        Some(Answer { status, head, body })
    }

    /// Exactly `count` bytes.
    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            self.fill().await.expect("more bytes");
        }
        self.read.drain(..count).collect()
    }

    /// Waits for the server to close, however it does that; what came before is thrown away.
    pub(crate) async fn closed(&mut self) {
        while self.fill().await.is_some() {}
    }

    /// The stream, for a client that knows more.
    pub(crate) fn into_stream(self) -> S {
        self.stream
    }

    async fn fill(&mut self) -> Option<()> {
        let read = self.stream.read_buf(&mut self.read);
        match tokio::time::timeout(PATIENCE, read)
            .await
            .expect("the server says something or closes")
        {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(()),
        }
    }
}
