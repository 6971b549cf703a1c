//! Payloads read back, with and without a dictionary; what is no payload is an error.

use std::io::Read as _;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::{
    Dictionary, DictionaryId, JSON_BYTES_MAX, PayloadError, dictionary_of, json_len, pack, unpack,
};

/// A dictionary with this content.
fn dictionary(content: &[u8]) -> Dictionary {
    Dictionary::new(content.to_vec(), Timestamp::UNIX_EPOCH)
}

fn packed(json: &[u8], dictionary: Option<&Dictionary>) -> Vec<u8> {
    let mut packed = Vec::new();
    pack(json, dictionary, &mut packed).unwrap();
    packed
}

/// Text that does not repeat itself.
fn prose(len: usize) -> Vec<u8> {
    let numbers = (0_u64..).map(|n| format!("{:x} ", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let mut text: Vec<u8> = numbers.take(len).flat_map(String::into_bytes).collect();
    text.truncate(len);
    text
}

#[test]
fn what_a_dictionary_says_is_not_said_again() {
    let json = prose(20_000);
    let with = dictionary(&json);
    let (plain, short) = (packed(&json, None), packed(&json, Some(&with)));
    assert!(plain.len() > 5_000 && short.len() < 100, "{}", short.len());
    assert_eq!(
        (dictionary_of(&plain), dictionary_of(&short)),
        (None, Some(with.id()))
    );
    assert_eq!(
        (json_len(&plain), json_len(&short)),
        (Some(20_000), Some(20_000))
    );
    assert_eq!(unpack(&plain, None).unwrap(), json);
    assert_eq!(unpack(&short, Some(&json)).unwrap(), json);
    // Any reader of zstd that is given the content reads it, too.
    let mut text = Vec::new();
    zstd::Decoder::with_dictionary(&short[..], &json)
        .unwrap()
        .read_to_end(&mut text)
        .unwrap();
    assert_eq!(text, json);
}

/// The type of the literals of a payload's first block; 3 is: by a code that its reader knows.
fn literals_of(payload: &[u8]) -> u8 {
    let frame = &payload[24..];
    let descriptor = frame[4];
    let is_single = descriptor >> 5 & 1 == 1;
    let len_bytes = [usize::from(is_single), 2, 4, 8][usize::from(descriptor >> 6)];
    assert_eq!(
        descriptor & 7,
        0,
        "no checksum, and no number of a dictionary"
    );
    frame[5 + usize::from(!is_single) + len_bytes + 3] & 3
}

#[test]
fn no_code_is_made_for_one_payload() {
    let (known, new) = (prose(20_000), prose(21_000));
    let json = [&known[..10_000], &new[20_100..20_400], &known[10_000..]].concat();
    let with = Dictionary::of_text(&known, Timestamp::UNIX_EPOCH);
    let without_tables = dictionary(&known);
    assert_eq!(
        (with.text(), without_tables.text()),
        (&known[..], &known[..])
    );
    let payload = packed(&json, Some(&with));
    assert_eq!(literals_of(&payload), 3);
    assert_ne!(literals_of(&packed(&json, Some(&without_tables))), 3);
    assert!(payload.len() < 400, "{}", payload.len());
    assert_eq!(unpack(&payload, Some(with.content())).unwrap(), json);
    assert_eq!(
        unpack(&payload, Some(&known)),
        Err(PayloadError::Dictionary(with.id()))
    );
    let mut text = Vec::new();
    zstd::Decoder::with_dictionary(&payload[..], with.content())
        .unwrap()
        .read_to_end(&mut text)
        .unwrap();
    assert_eq!(text, json);
}

#[test]
fn without_its_dictionary_a_payload_is_an_error() {
    let json = prose(2_000);
    let with = dictionary(&json);
    let payload = packed(&json, Some(&with));
    let mut other = json.clone();
    other[1_000] ^= 1;
    for given in [None, Some(&[][..]), Some(&other[..])] {
        assert_eq!(
            unpack(&payload, given),
            Err(PayloadError::Dictionary(with.id()))
        );
    }
    assert_eq!(DictionaryId::of(&json), with.id());
}

#[test]
fn what_says_it_is_too_large_is_not_unpacked() {
    let zeroes = vec![b' '; JSON_BYTES_MAX + 1];
    let with = dictionary(b"{\"a\":1}");
    for dictionary in [None, Some(&with)] {
        let bomb = packed(&zeroes, dictionary);
        let content = dictionary.map(|with| &with.content()[..]);
        assert_eq!(unpack(&bomb, content), Err(PayloadError::TooLarge));
        // One that is as large as may be, with more behind it.
        let mut most = packed(&zeroes[1..], dictionary);
        assert_eq!(unpack(&most, content).unwrap().len(), JSON_BYTES_MAX);
        most.extend(packed(b"{}", None));
        assert!(matches!(unpack(&most, content), Err(PayloadError::Zstd(_))));
        // One that does not say how large it is.
        let mut stream = most[..if dictionary.is_some() { 24 } else { 0 }].to_vec();
        stream.extend(zstd::encode_all(&zeroes[..], 1).unwrap());
        assert!(unpack(&stream, content).is_err());
    }
}

#[test]
fn a_dictionary_takes_no_more_memory_than_is_said() {
    let text = prose(Dictionary::TEXT_BYTES_MAX);
    let largest = Dictionary::of_text(&text, Timestamp::UNIX_EPOCH);
    assert_eq!(largest.content().len(), Dictionary::CONTENT_BYTES_MAX);
    let bytes = largest.content().len() + largest.prepared().sizeof();
    assert!((150..=192).contains(&(bytes / 1024)), "{bytes}");
}

#[test]
fn a_dictionary_packs_for_its_life_and_no_longer() {
    let with = dictionary(b"{}");
    let until = Timestamp::UNIX_EPOCH + Dictionary::LIFE;
    let moment = SignedDuration::from_micros(1);
    assert!(with.is_live(until) && !with.is_live(until + moment));
    assert!(
        with.is_live(Timestamp::UNIX_EPOCH - moment),
        "a clock went back"
    );
}

proptest! {
    #[test]
    fn any_json_reads_back_with_any_dictionary(json in any::<Vec<u8>>(), content in any::<Vec<u8>>(), is_alike in any::<bool>()) {
        let content = if is_alike { [&content[..], &json[..]].concat() } else { content };
        let with = dictionary(&content);
        let payload = packed(&json, Some(&with));
        prop_assert_eq!(dictionary_of(&payload), Some(with.id()));
        prop_assert_eq!(unpack(&payload, Some(&content)).unwrap(), &json[..]);
        let with = Dictionary::of_text(&content, Timestamp::UNIX_EPOCH);
        let payload = packed(&json, Some(&with));
        prop_assert_eq!(unpack(&payload, Some(with.content())).unwrap(), &json[..]);
        prop_assert_eq!(unpack(&packed(&json, None), None).unwrap(), json);
    }

    #[test]
    fn any_bytes_are_unpacked_within_bounds(noise in any::<Vec<u8>>(), cut in any::<usize>(), flip in any::<(usize, u8)>()) {
        let content = b"{\"message\":\"what they have in common\"}";
        let with = dictionary(content);
        let _ = unpack(&noise, Some(content));
        let mut payload = packed(&[content, &noise[..]].concat(), Some(&with));
        let at = flip.0 % payload.len();
        payload[at] ^= flip.1;
        payload.truncate(payload.len() - cut % payload.len());
        if let Ok(json) = unpack(&payload, Some(content)) {
            prop_assert!(json.len() <= JSON_BYTES_MAX);
        }
        let _ = json_len(&payload);
    }
}
