//! A small HTTP/1.1 client for the commands that send events: keep-alive, one request at a time, answers with a length.
//!
//! Source: RFC 9112.

use std::io;
use std::time::Duration;

use mesh_runtime::System;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// How long one request may take, connecting included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// The longest line of a header, and the longest body, that is read, in bytes.
const LINE_BYTES_MAX: u64 = 16 * 1024;
const BODY_BYTES_MAX: usize = 4 << 20;

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// A connection to one server, made when it is first needed and again after an error.
#[derive(Debug)]
pub(super) struct Client {
    system: System,
    authority: String,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    /// A client of `HOST:PORT`; without a port, 80.
    pub(super) fn new(system: &System, authority: &str) -> Client {
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        Client {
            system: system.clone(),
            authority: if has_port {
                authority.to_owned()
            } else {
                format!("{authority}:80")
            },
            stream: None,
        }
    }

    /// Sends a request and reads the whole answer. After an error nothing is known about the request.
    pub(super) async fn post(
        &mut self,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> io::Result<Answer> {
        let system = self.system.clone();
        let asking = Box::pin(self.ask(path, headers, body));
        system
            .timeout(REQUEST_TIMEOUT, asking)
            .await
            .unwrap_or_else(|_| {
                Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "no answer within 15 s",
                ))
            })
    }

    async fn ask(&mut self, path: &str, headers: &str, body: &[u8]) -> io::Result<Answer> {
        // Taken out: a request that is given up half-way leaves no connection behind.
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(&self.authority).await?;
                stream.set_nodelay(true)?;
                BufReader::new(stream)
            }
        };
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\n{headers}content-length: {}\r\n\r\n",
            self.authority,
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        stream.write_all(&request).await?;
        let (answer, keeps) = read(&mut stream).await?;
        if keeps {
            self.stream = Some(stream);
        }
        Ok(answer)
    }
}

/// The answer, and whether the connection stays.
async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<(Answer, bool)> {
    let status = line(stream)
        .await?
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .ok_or_else(|| broken("the answer is not HTTP/1.1"))?;
    let (mut len, mut keeps) = (None, true);
    loop {
        let line = line(stream).await?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| broken("not a header"))?;
        match name.to_ascii_lowercase().as_str() {
            "content-length" => len = value.trim().parse::<usize>().ok(),
            "connection" => keeps = !value.trim().eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    let len = len
        .filter(|len| *len <= BODY_BYTES_MAX)
        .ok_or_else(|| broken("the answer does not say how long it is, or is too long"))?;
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await?;
    Ok((Answer { status, body }, keeps))
}

async fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if stream.take(LINE_BYTES_MAX).read_line(&mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.truncate(line.trim_end().len());
    Ok(line)
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
