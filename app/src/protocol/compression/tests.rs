//! Every coding: there and back, cut short, too large, and fed with noise.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::{any, prop_assert_eq, proptest};

use super::{DecodeError, decode};

const CODINGS: [&str; 4] = ["gzip", "deflate", "br", "zstd"];
const CEILING: usize = 1 << 20;

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(plain: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn encode(coding: &str, plain: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => gzip(plain),
        "deflate" => zlib(plain),
        "br" => {
            let mut encoded = Vec::new();
            let mut encoder = brotli::CompressorWriter::new(&mut encoded, 4096, 4, 20);
            encoder.write_all(plain).unwrap();
            drop(encoder);
            encoded
        }
        _ => zstd::encode_all(plain, 1).unwrap(),
    }
}

fn sample() -> Vec<u8> {
    (0..20_000_u32)
        .flat_map(|number| {
            (number.wrapping_mul(2_654_435_761) >> 20)
                .to_string()
                .into_bytes()
        })
        .collect()
}

#[test]
fn every_coding_comes_back_in_any_case() {
    let plain = sample();
    for coding in CODINGS {
        let encoded = Bytes::from(encode(coding, &plain));
        for name in [
            coding.to_owned(),
            coding.to_uppercase(),
            format!(" {coding} , identity"),
        ] {
            assert_eq!(
                decode(Some(&name), encoded.clone(), CEILING).unwrap(),
                plain,
                "{name}"
            );
        }
    }
    assert_eq!(
        decode(Some("deflate"), raw_deflate(&plain).into(), CEILING).unwrap(),
        plain
    );
    assert_eq!(decode(None, plain.clone().into(), CEILING).unwrap(), plain);
}

#[test]
fn gzip_of_two_members_is_one_body() {
    let mut body = gzip(b"first ");
    body.extend(gzip(b"second"));
    assert_eq!(
        decode(Some("gzip"), body.into(), CEILING).unwrap(),
        "first second"
    );
}

#[test]
fn chains_are_undone_from_the_end() {
    let body = encode("br", &gzip(b"twice"));
    assert_eq!(
        decode(Some("gzip, br"), body.into(), CEILING).unwrap(),
        "twice"
    );
    let long = "gzip,gzip,gzip,gzip,gzip";
    assert!(matches!(
        decode(Some(long), Bytes::new(), CEILING),
        Err(DecodeError::Unsupported(_))
    ));
}

#[test]
fn a_body_cut_short_is_malformed() {
    let plain = sample();
    for coding in CODINGS {
        let encoded = encode(coding, &plain);
        for len in [0, 1, encoded.len() / 2, encoded.len() - 1] {
            let cut = Bytes::copy_from_slice(&encoded[..len]);
            let outcome = decode(Some(coding), cut, CEILING);
            assert!(
                matches!(outcome, Err(DecodeError::Malformed(_))),
                "{coding} cut to {len} of {}: {:?}",
                encoded.len(),
                outcome.map(|bytes| bytes.len())
            );
        }
    }
}

#[test]
fn the_ceiling_holds_to_the_byte() {
    let plain = vec![b'a'; 100_000];
    for coding in CODINGS {
        let encoded = Bytes::from(encode(coding, &plain));
        assert_eq!(
            decode(Some(coding), encoded.clone(), 100_000)
                .unwrap()
                .len(),
            100_000
        );
        assert_eq!(
            decode(Some(coding), encoded, 99_999),
            Err(DecodeError::TooLarge),
            "{coding}"
        );
    }
    assert_eq!(
        decode(None, plain.into(), 99_999),
        Err(DecodeError::TooLarge)
    );
}

#[test]
fn unknown_codings_are_named() {
    let outcome = decode(Some("lzma"), Bytes::new(), CEILING);
    assert_eq!(outcome, Err(DecodeError::Unsupported("lzma".to_owned())));
}

proptest! {
    #[test]
    fn any_plain_text_comes_back(plain in any::<Vec<u8>>(), coding in 0..4_usize) {
        let encoded = encode(CODINGS[coding], &plain);
        prop_assert_eq!(decode(Some(CODINGS[coding]), encoded.into(), CEILING).unwrap(), plain);
    }

    #[test]
    fn noise_is_decoded_without_panic(noise in any::<Vec<u8>>(), coding in 0..4_usize) {
        let _ = decode(Some(CODINGS[coding]), noise.into(), CEILING);
    }
}
