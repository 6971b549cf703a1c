//! The kinds of items an envelope carries, and the body of the store endpoint.
//!
//! Source: Sentry, developer docs, "Envelope items"; getsentry/relay `endpoints/store.rs`.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use super::compression::{self, DecodeError};

/// What an item is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ItemKind {
    /// An error or a message.
    Event,
    /// A file that belongs to the event.
    Attachment,
    /// What a user wrote about an event.
    UserReport,
    /// What a user wrote by itself; shaped like an event.
    Feedback,
    /// What the client dropped, and why.
    ClientReport,
    /// A session, or counts of sessions.
    Session,
    /// A run of a job that should run on a schedule.
    CheckIn,
    /// A trace's transaction.
    Transaction,
    /// Structured logs.
    Log,
    /// Anything else, known to Sentry or not: skipped.
    Other(String),
}

impl ItemKind {
    /// Reads the `type` of an item's header.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "event" => Self::Event,
            "attachment" => Self::Attachment,
            "user_report" => Self::UserReport,
            "feedback" => Self::Feedback,
            "client_report" => Self::ClientReport,
            "session" | "sessions" => Self::Session,
            "check_in" => Self::CheckIn,
            "transaction" => Self::Transaction,
            "log" => Self::Log,
            other => Self::Other(other.to_owned()),
        }
    }

    /// Sentry's name of the category that limits of rate speak of.
    #[must_use]
    pub fn category(&self) -> &'static str {
        match self {
            Self::Event => "error",
            Self::Attachment => "attachment",
            Self::UserReport | Self::Feedback => "feedback",
            Self::ClientReport => "internal",
            Self::Session => "session",
            Self::CheckIn => "monitor",
            Self::Transaction => "transaction",
            Self::Log => "log_item",
            Self::Other(name) => match name.as_str() {
                "span" => "span",
                "profile" => "profile",
                "profile_chunk" => "profile_chunk",
                "security" => "security",
                "trace_metric" => "trace_metric",
                name if name.starts_with("replay") => "replay",
                _ => "default",
            },
        }
    }
}

/// The JSON inside a body of the store endpoint: as it is, or base64 of zlib of it, as old clients send it.
///
/// # Errors
/// If a body that is not JSON cannot be decoded, or is too large.
pub fn store_body(body: Bytes, ceiling: usize) -> Result<Bytes, DecodeError> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let text = body.trim_ascii();
    if text.is_empty() || text.starts_with(b"{") || text.starts_with(b"[") {
        return Ok(body);
    }
    let compressed = LENIENT
        .decode(text)
        .map_err(|_| DecodeError::Malformed("base64"))?;
    if compressed.trim_ascii_start().starts_with(b"{") {
        return Ok(compressed.into());
    }
    compression::decode_zlib(&compressed, ceiling)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;

    use super::{ItemKind, store_body};

    #[test]
    fn kinds_have_categories() {
        assert_eq!(ItemKind::from_name("event"), ItemKind::Event);
        assert_eq!(ItemKind::from_name("sessions").category(), "session");
        assert_eq!(ItemKind::from_name("replay_video").category(), "replay");
        assert_eq!(ItemKind::from_name("from_the_future").category(), "default");
    }

    #[test]
    fn store_bodies_are_json_or_base64_of_zlib() {
        let json = br#"{"message":"x"}"#;
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(json).unwrap();
        let packed = STANDARD.encode(encoder.finish().unwrap());
        assert_eq!(store_body(packed.clone().into(), 1000).unwrap(), &json[..]);
        assert_eq!(
            store_body(packed.trim_end_matches('=').to_owned().into(), 1000).unwrap(),
            &json[..]
        );
        assert_eq!(
            store_body(Bytes::from_static(json), 1000).unwrap(),
            &json[..]
        );
        assert!(store_body(Bytes::from(packed), 3).is_err());
        assert!(store_body(Bytes::from_static(b"!!"), 1000).is_err());
    }
}
