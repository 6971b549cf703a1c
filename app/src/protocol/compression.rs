//! Bodies in any content coding, decoded under a ceiling.

use std::fmt;
use std::io::{self, Read};

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};

/// More codings in one chain are refused: no client does it, and each may multiply the size.
const CODINGS_MAX: usize = 4;

/// The largest window of zstd we allocate, as a power of two: 8 MiB, what RFC 8878 asks every decoder to support.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Why a body cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// It is larger than the ceiling.
    TooLarge,
    /// It is not what its coding says.
    Malformed(&'static str),
    /// Its coding is unknown.
    Unsupported(String),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("decompressed body is too large"),
            Self::Malformed(coding) => write!(f, "body is not valid {coding}"),
            Self::Unsupported(coding) => write!(f, "unsupported content-encoding: {coding}"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Decodes `body` by its `Content-Encoding`: gzip (of several members), deflate (zlib, then raw), br, zstd, identity, in any case
/// and chained; a chain is undone from its end. At no step more than `ceiling` bytes are made.
///
/// # Errors
/// If the body is too large, malformed, or in an unknown coding.
pub fn decode(encoding: Option<&str>, body: Bytes, ceiling: usize) -> Result<Bytes, DecodeError> {
    let mut body = body;
    let codings = encoding
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|coding| !coding.is_empty());
    let codings: Vec<&str> = codings.collect();
    if codings.len() > CODINGS_MAX {
        return Err(DecodeError::Unsupported(
            "a longer chain of codings".to_owned(),
        ));
    }
    for coding in codings.iter().rev() {
        body = match coding.to_ascii_lowercase().as_str() {
            "identity" => body,
            "gzip" | "x-gzip" => read(
                "gzip",
                flate2::read::MultiGzDecoder::new(&body[..]),
                body.len(),
                ceiling,
            )?,
            "deflate" => match inflate(&body, true, ceiling) {
                Err(DecodeError::Malformed(_)) => inflate(&body, false, ceiling)?,
                decoded => decoded?,
            },
            "br" => read(
                "brotli",
                brotli::Decompressor::new(&body[..], 4096),
                body.len(),
                ceiling,
            )?,
            "zstd" => {
                let decoder = zstd::stream::read::Decoder::new(&body[..])
                    .and_then(|mut decoder| {
                        decoder
                            .window_log_max(ZSTD_WINDOW_LOG_MAX)
                            .map(|()| decoder)
                    })
                    .map_err(|_| DecodeError::Malformed("zstd"))?;
                read("zstd", decoder, body.len(), ceiling)?
            }
            unknown => return Err(DecodeError::Unsupported(unknown.chars().take(40).collect())),
        };
    }
    if body.len() > ceiling {
        return Err(DecodeError::TooLarge);
    }
    Ok(body)
}

/// Inflates a body that is known to be zlib, as the store endpoint receives it.
///
/// # Errors
/// If it is too large or not zlib.
pub fn decode_zlib(body: &[u8], ceiling: usize) -> Result<Bytes, DecodeError> {
    inflate(body, true, ceiling)
}

fn read(
    coding: &'static str,
    decoder: impl Read,
    len: usize,
    ceiling: usize,
) -> Result<Bytes, DecodeError> {
    let mut decoded = Vec::with_capacity(first_capacity(len, ceiling));
    let limit = u64::try_from(ceiling).unwrap_or(u64::MAX).saturating_add(1);
    let outcome: io::Result<usize> = decoder.take(limit).read_to_end(&mut decoded);
    if decoded.len() > ceiling {
        return Err(DecodeError::TooLarge);
    }
    outcome.map_err(|_| DecodeError::Malformed(coding))?;
    Ok(decoded.into())
}

/// Unlike flate2's readers, notices a stream that ends too early.
fn inflate(body: &[u8], zlib: bool, ceiling: usize) -> Result<Bytes, DecodeError> {
    const MALFORMED: DecodeError = DecodeError::Malformed("deflate");
    let mut decoder = Decompress::new(zlib);
    let mut decoded = Vec::with_capacity(first_capacity(body.len(), ceiling));
    let mut rest = body;
    loop {
        let (read_before, len_before) = (decoder.total_in(), decoded.len());
        let status = decoder
            .decompress_vec(rest, &mut decoded, FlushDecompress::None)
            .map_err(|_| MALFORMED)?;
        if decoded.len() > ceiling {
            return Err(DecodeError::TooLarge);
        }
        let taken = usize::try_from(decoder.total_in() - read_before).map_err(|_| MALFORMED)?;
        rest = rest.get(taken..).ok_or(MALFORMED)?;
        if status == Status::StreamEnd {
            return Ok(decoded.into());
        }
        if decoded.len() == decoded.capacity() {
            decoded.reserve(decoded.len().clamp(1024, 1024 * 1024));
        } else if taken == 0 && decoded.len() == len_before {
            return Err(MALFORMED);
        }
    }
}

/// What to allocate before the first byte: what JSON usually inflates to, never more than the ceiling.
fn first_capacity(len: usize, ceiling: usize) -> usize {
    len.saturating_mul(4)
        .clamp(256, ceiling.clamp(256, 1024 * 1024))
}

#[cfg(test)]
mod tests;
