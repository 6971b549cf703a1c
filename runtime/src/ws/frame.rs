//! What travels over a WebSocket: frames in, frames out, close codes.
//!
//! Source: RFC 6455, section 7.4.

use bytes::Bytes;
use tokio_websockets::proto::ProtocolError;
use tokio_websockets::{CloseCode, Error, Message};

/// Bytes a close reason may have, by the protocol.
const REASON_BYTES_MAX: usize = 123;

/// The first byte of a text frame that is the whole message.
const FINAL_TEXT: u8 = 0x81;
/// In place of a length: it follows, in two bytes.
const LEN_IN_TWO: u8 = 126;
/// In place of a length: it follows, in eight bytes.
const LEN_IN_EIGHT: u8 = 127;
/// Bytes before the payload of an unmasked frame.
const HEADER_BYTES_MAX: usize = 10;

/// A message from the peer, whole: fragments are put together before the handler sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame {
    /// Text; its UTF-8 has been checked.
    Text(String),
    /// Bytes.
    Binary(Bytes),
}

/// Why a WebSocket ends: a code of RFC 6455 and a reason for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// 1000 to 1014 as the RFC says, 3000 to 4999 as the application says. 1005 (the peer gave no code) and 1006 (no close frame came)
    /// are only ever received.
    pub code: u16,
    /// At most 123 bytes; more is cut off.
    pub reason: String,
}

impl Close {
    /// 1000: the purpose is fulfilled.
    pub const NORMAL: u16 = 1000;
    /// 1001: the server goes down, or the peer stopped answering.
    pub const GOING_AWAY: u16 = 1001;
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: u16 = 1002;
    /// 1005: the peer closed without a code.
    pub const NO_STATUS: u16 = 1005;
    /// 1006: the stream ended without a close frame.
    pub const ABNORMAL: u16 = 1006;
    /// 1007: text that is not UTF-8.
    pub const INVALID_TEXT: u16 = 1007;
    /// 1008: the peer may not do this.
    pub const POLICY: u16 = 1008;
    /// 1009: a message over the limit.
    pub const TOO_BIG: u16 = 1009;
    /// 1011: the handler crashed.
    pub const CRASHED: u16 = 1011;
    /// 1013: the peer was too slow, and may connect again.
    pub const TRY_AGAIN_LATER: u16 = 1013;

    /// A code and its reason.
    #[must_use]
    pub fn new(code: u16, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }
}

/// Ours from theirs: `Ok` is data, `Err` the close frame, `None` a ping or pong.
pub(super) fn sort(message: Message) -> Option<Result<Frame, Close>> {
    if let Some((code, reason)) = message.as_close() {
        return Some(Err(Close::new(code.into(), reason)));
    }
    if message.is_binary() {
        return Some(Ok(Frame::Binary(message.into_payload().into())));
    }
    let text = message.as_text()?;
    Some(Ok(Frame::Text(text.to_owned())))
}

/// The close frame to send, or `None` when the code is one that only describes.
pub(super) fn close_message(close: &Close) -> Option<Message> {
    let code = CloseCode::try_from(close.code)
        .ok()
        .filter(|code| !code.is_reserved())?;
    let mut end = close.reason.len().min(REASON_BYTES_MAX);
    while !close.reason.is_char_boundary(end) {
        end -= 1;
    }
    Some(Message::close(Some(code), &close.reason[..end]))
}

/// A text frame as it travels from a server: whole and unmasked, its header before the payload. `payload` must be UTF-8.
///
/// Source: RFC 6455, section 5.2.
pub(super) fn framed(payload: &Bytes) -> Bytes {
    let len = payload.len();
    let mut frame = Vec::with_capacity(HEADER_BYTES_MAX + len);
    frame.push(FINAL_TEXT);
    if let Ok(short) = u8::try_from(len)
        && short < LEN_IN_TWO
    {
        frame.push(short);
    } else if let Ok(len) = u16::try_from(len) {
        frame.push(LEN_IN_TWO);
        frame.extend_from_slice(&len.to_be_bytes());
    } else {
        frame.push(LEN_IN_EIGHT);
        frame.extend_from_slice(&(len as u64).to_be_bytes());
    }
    frame.extend_from_slice(payload);
    frame.into()
}

/// Whether it may be the payload of a text frame.
pub(super) fn is_text(payload: &[u8]) -> bool {
    std::str::from_utf8(payload).is_ok()
}

/// The payload of what [`framed`] made.
pub(super) fn unframed(frame: &[u8]) -> &[u8] {
    let header_len = match frame[1] {
        LEN_IN_TWO => 4,
        LEN_IN_EIGHT => HEADER_BYTES_MAX,
        _ => 2,
    };
    &frame[header_len..]
}

/// What a failed read or write means.
pub(super) fn verdict(error: &Error) -> Close {
    match error {
        Error::Protocol(error @ ProtocolError::InvalidUtf8) => {
            Close::new(Close::INVALID_TEXT, error.to_string())
        }
        Error::Protocol(error) => Close::new(Close::PROTOCOL_ERROR, error.to_string()),
        Error::PayloadTooLong { max_len, .. } => Close::new(
            Close::TOO_BIG,
            format!("a message may have {max_len} bytes"),
        ),
        error => Close::new(Close::ABNORMAL, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_that_may_travel_do() {
        assert!(close_message(&Close::new(Close::GOING_AWAY, "bye")).is_some());
        for code in [0, 999, Close::NO_STATUS, Close::ABNORMAL, 1015, 2000, 5000] {
            assert!(close_message(&Close::new(code, "")).is_none(), "{code}");
        }
    }

    #[test]
    fn a_frame_says_how_long_it_is() {
        let heads: [(usize, &[u8]); 6] = [
            (0, &[0x81, 0]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xff, 0xff]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (70_000, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]),
        ];
        for (len, head) in heads {
            let payload = Bytes::from(vec![b'x'; len]);
            let frame = framed(&payload);
            assert_eq!(frame[..head.len()], *head);
            assert_eq!(unframed(&frame), payload);
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let close = Close::new(4000, "ü".repeat(200));
        let message = close_message(&close).unwrap();
        let (_, reason) = message.as_close().unwrap();
        assert_eq!(reason.len(), 122);
    }
}
