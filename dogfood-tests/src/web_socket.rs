//! A small blocking WebSocket client: text frames out, text frames in, as a browser's page would.
//!
//! Source: RFC 6455. The mask is all zeros, which the protocol allows and which keeps the bytes readable in a trace.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long a frame may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// An open connection.
#[derive(Debug)]
pub struct WebSocket {
    stream: BufReader<TcpStream>,
}

impl WebSocket {
    /// Asks for an upgrade of `path`; the status, and the connection if it is 101.
    ///
    /// # Errors
    /// When the server cannot be reached or does not speak HTTP/1.1.
    pub fn open(
        address: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
    ) -> io::Result<(u16, Option<Self>)> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let mut stream = BufReader::new(stream);
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        stream.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let status = line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or_else(|| invalid(&line))?;
        while !line.trim().is_empty() {
            line.clear();
            stream.read_line(&mut line)?;
        }
        Ok((status, (status == 101).then_some(Self { stream })))
    }

    /// Sends a text frame.
    ///
    /// # Errors
    /// When the connection is broken.
    ///
    /// # Panics
    /// When the text is longer than 65 535 bytes.
    pub fn send(&mut self, text: &str) -> io::Result<()> {
        let length = u16::try_from(text.len()).expect("what a page sends is short");
        let mut frame = vec![0x81];
        if length < 126 {
            frame.push(0x80 | length.to_be_bytes()[1]);
        } else {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.stream.get_mut().write_all(&frame)
    }

    /// The next text frame, as JSON; `None` when the server closed.
    ///
    /// # Errors
    /// When none comes within 15 s or it is not JSON.
    pub fn receive(&mut self) -> io::Result<Option<Value>> {
        loop {
            let mut head = [0; 2];
            self.stream.read_exact(&mut head)?;
            let length = match head[1] {
                126 => {
                    let mut bytes = [0; 2];
                    self.stream.read_exact(&mut bytes)?;
                    u64::from(u16::from_be_bytes(bytes))
                }
                127 => {
                    let mut bytes = [0; 8];
                    self.stream.read_exact(&mut bytes)?;
                    u64::from_be_bytes(bytes)
                }
                short => u64::from(short),
            };
            let mut payload = Vec::new();
            (&mut self.stream).take(length).read_to_end(&mut payload)?;
            match head[0] & 0x0f {
                0x1 => return Ok(Some(serde_json::from_slice(&payload)?)),
                0x8 => return Ok(None),
                // Pings come too seldom to need an answer within a test.
                _ => {}
            }
        }
    }

    /// The next frame of type `kind`; other frames on the way are let go.
    ///
    /// # Errors
    /// When none comes within 15 s, or the server closed.
    pub fn receive_kind(&mut self, kind: &str) -> io::Result<Value> {
        loop {
            match self.receive()? {
                Some(frame) if frame["type"] == kind => return Ok(frame),
                Some(_) => {}
                None => return Err(invalid("closed")),
            }
        }
    }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.to_owned())
}
