//! The payload of an event: its JSON packed with zstd, alone or with a dictionary. The one packer, and the one bounded unpacker.
//!
//! A payload packed with a dictionary is a skippable frame that holds the dictionary's id, and behind it an ordinary frame whose
//! dictionary is that one's content. Anything else is an ordinary frame.
//!
//! Source: RFC 8878 (zstd), sections 3.1.2 (skippable frames) and 5 (dictionaries).

mod dictionary;

use std::cell::RefCell;
use std::fmt;
use std::io::Cursor;

use zstd::zstd_safe::{
    self, CCtx, CParameter, DCtx, ErrorCode, ParamSwitch, Strategy, get_error_name,
};

pub use self::dictionary::{Dictionary, DictionaryId};

/// No payload unpacks to more bytes: the door takes 1 MiB, and escapes at most multiply it by six.
pub const JSON_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How hard zstd tries: the level at which it costs less than it saves on disk. A faster one, below zero, has no room for a dictionary of
/// several kinds of events: what is learned first is found no more.
const LEVEL: i32 = 1;

/// Of that level, what is different without a dictionary: an event is so full of long repetitions that the short ones are not worth looking
/// for, and what is left of names and words is worth a code of its own all the same.
const PARAMETERS: [CParameter; 5] = [
    CParameter::CompressionLevel(LEVEL),
    CParameter::Strategy(Strategy::ZSTD_fast),
    CParameter::MinMatch(7),
    CParameter::TargetLength(2),
    CParameter::LiteralCompressionMode(ParamSwitch::Enable),
];

/// What a payload with a dictionary begins with: one of the sixteen magic numbers of skippable frames, and the length of an id.
const MARK: [u8; 8] = [0x5d, 0x2a, 0x4d, 0x18, 16, 0, 0, 0];

/// Bytes of an id.
const ID_BYTES: usize = 16;

/// Why bytes are no readable payload.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PayloadError {
    /// The bytes are not a zstd frame.
    NotZstd,
    /// It says that it unpacks to more than [`JSON_BYTES_MAX`].
    TooLarge,
    /// It was packed with this dictionary, which was not given.
    Dictionary(DictionaryId),
    /// zstd refuses, in its words.
    Zstd(&'static str),
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotZstd => f.write_str("not a zstd frame"),
            Self::TooLarge => f.write_str("too large"),
            Self::Dictionary(id) => write!(f, "packed with dictionary {id}, which is not there"),
            Self::Zstd(words) => f.write_str(words),
        }
    }
}

impl std::error::Error for PayloadError {}

impl From<ErrorCode> for PayloadError {
    fn from(code: ErrorCode) -> PayloadError {
        PayloadError::Zstd(get_error_name(code))
    }
}

thread_local! {
    /// Making one costs more than packing an event.
    static COMPRESSOR: RefCell<Option<CCtx<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<DCtx<'static>>> = const { RefCell::new(None) };
}

fn compressor() -> Result<CCtx<'static>, ErrorCode> {
    let mut context = CCtx::create();
    for parameter in PARAMETERS {
        context.set_parameter(parameter)?;
    }
    Ok(context)
}

/// Packs `json` into `packed`, in place of what that held.
///
/// # Errors
/// If zstd refuses, which it does only without memory.
pub fn pack(
    json: &[u8],
    dictionary: Option<&Dictionary>,
    packed: &mut Vec<u8>,
) -> Result<(), PayloadError> {
    packed.clear();
    COMPRESSOR.with_borrow_mut(|kept| {
        let context = match kept {
            Some(context) => context,
            None => kept.insert(compressor()?),
        };
        let bound = zstd_safe::compress_bound(json.len());
        let Some(dictionary) = dictionary else {
            packed.reserve(bound);
            context.compress2(packed, json)?;
            return Ok(());
        };
        packed.reserve(MARK.len() + ID_BYTES + bound);
        packed.extend_from_slice(&MARK);
        packed.extend_from_slice(dictionary.id().as_bytes());
        let mut behind = Cursor::new(packed);
        behind.set_position((MARK.len() + ID_BYTES) as u64);
        context.compress_using_cdict(&mut behind, json, dictionary.prepared())?;
        Ok(())
    })
}

/// The dictionary a payload was packed with, and its frame.
fn split(payload: &[u8]) -> (Option<DictionaryId>, &[u8]) {
    payload
        .strip_prefix(&MARK)
        .and_then(|rest| rest.split_first_chunk::<ID_BYTES>())
        .map_or((None, payload), |(id, frame)| {
            (Some(DictionaryId::from_bytes(*id)), frame)
        })
}

/// The dictionary that a payload was packed with, if any.
#[must_use]
pub fn dictionary_of(payload: &[u8]) -> Option<DictionaryId> {
    split(payload).0
}

/// How many bytes a payload says it unpacks to; `None` if it does not say, or is none.
#[must_use]
pub fn json_len(payload: &[u8]) -> Option<usize> {
    let said = zstd_safe::get_frame_content_size(split(payload).1).ok()??;
    usize::try_from(said).ok()
}

/// The JSON of a payload. `dictionary` is the content of the one it was packed with ([`dictionary_of`]); it is looked at only where one is
/// needed, and then held against the id, so that a wrong one is an error and never another JSON.
///
/// # Errors
/// If the payload is not what [`pack`] writes, if it says it is too large, or its dictionary is missing.
pub fn unpack(payload: &[u8], dictionary: Option<&[u8]>) -> Result<Vec<u8>, PayloadError> {
    let (id, frame) = split(payload);
    // The frame says how large its content is, unless it was made piece by piece.
    let len = zstd_safe::get_frame_content_size(frame)
        .map_err(|_| PayloadError::NotZstd)?
        .map_or(JSON_BYTES_MAX, |len| {
            usize::try_from(len).unwrap_or(usize::MAX)
        });
    if len > JSON_BYTES_MAX {
        return Err(PayloadError::TooLarge);
    }
    let content = match (id, dictionary) {
        (None, _) => None,
        (Some(id), Some(content)) if DictionaryId::of(content) == id => Some(content),
        (Some(id), _) => return Err(PayloadError::Dictionary(id)),
    };
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let context = kept.get_or_insert_with(DCtx::create);
        let mut json = Vec::with_capacity(len);
        match content {
            None => context.decompress(&mut json, frame)?,
            Some(content) => context.decompress_using_dict(&mut json, frame, content)?,
        };
        Ok(json)
    })
}

#[cfg(test)]
mod tests;
