//! The framing: what the SDKs send, what breaks it, and noise.

use bytes::Bytes;
use proptest::prelude::{any, prop_assert_eq, proptest};

use super::{Envelope, EnvelopeError};
use crate::protocol::event_item::ItemKind;

fn parse(text: &str) -> Result<Envelope, EnvelopeError> {
    Envelope::parse(&Bytes::copy_from_slice(text.as_bytes()))
}

fn payloads(envelope: &Envelope) -> Vec<&[u8]> {
    envelope
        .items
        .iter()
        .map(|item| &item.payload[..])
        .collect()
}

#[test]
fn reads_length_and_no_length_and_no_last_line_feed() {
    for end in ["", "\n", "\n\n"] {
        let text = format!(
            "{{\"event_id\":\"9ec79c33ec9942ab8353589fcb2e04dc\",\"dsn\":\"d\",\"sent_at\":\"2024-05-01T10:20:30Z\"}}\n\
             {{\"type\":\"attachment\",\"length\":5,\"filename\":\"a.txt\"}}\na\nb\nc\n\
             {{\"type\":\"event\"}}\n{{\"message\":\"x\"}}{end}"
        );
        let envelope = parse(&text).unwrap();
        assert_eq!(
            envelope.header.event_id.unwrap().to_simple(),
            "9ec79c33ec9942ab8353589fcb2e04dc"
        );
        assert_eq!(envelope.header.dsn.as_deref(), Some("d"));
        assert!(envelope.header.sent_at.is_some());
        assert_eq!(
            payloads(&envelope),
            [&b"a\nb\nc"[..], b"{\"message\":\"x\"}"]
        );
        assert_eq!(envelope.items[0].header.filename.as_deref(), Some("a.txt"));
        assert!(envelope.find(&ItemKind::Event).is_some());
        assert!(envelope.find(&ItemKind::Session).is_none());
    }
}

#[test]
fn unknown_items_and_attributes_are_no_failure() {
    let text = "{\"from\":\"the future\"}\n{\"type\":\"hologram\",\"length\":3,\"shape\":[1]}\nabc\n{\"type\":\"event\"}\n{}\n";
    let envelope = parse(text).unwrap();
    assert_eq!(
        envelope.items[0].header.kind,
        ItemKind::Other("hologram".to_owned())
    );
    assert_eq!(payloads(&envelope), [&b"abc"[..], b"{}"]);
}

#[test]
fn no_items_empty_items_and_odd_ids_are_read() {
    assert!(parse("{}").unwrap().items.is_empty());
    assert!(parse("{}\n").unwrap().items.is_empty());
    assert_eq!(
        payloads(&parse("{}\n{\"type\":\"attachment\",\"length\":0}").unwrap()),
        [b""]
    );
    assert_eq!(
        payloads(&parse("{}\n{\"type\":\"attachment\",\"length\":0}\n\n").unwrap()),
        [b""]
    );
    assert_eq!(
        payloads(&parse("{}\n{\"type\":\"attachment\"}\n").unwrap()),
        [b""]
    );
    assert_eq!(
        parse("{\"event_id\":\"nonsense\"}")
            .unwrap()
            .header
            .event_id,
        None
    );
    let dashed = parse("{\"event_id\":\"9ec79c33-ec99-42ab-8353-589fcb2e04dc\"}").unwrap();
    assert_eq!(
        dashed.header.event_id.unwrap().to_simple(),
        "9ec79c33ec9942ab8353589fcb2e04dc"
    );
}

#[test]
fn carriage_returns_belong_to_payloads_only() {
    let envelope = parse("{}\r\n{\"type\":\"attachment\",\"length\":3}\r\na\r\n\n").unwrap();
    assert_eq!(payloads(&envelope), [b"a\r\n"]);
}

#[test]
fn broken_framing_is_refused() {
    for (text, error) in [
        ("", EnvelopeError::Empty),
        ("\n \n", EnvelopeError::Empty),
        ("no json\n", EnvelopeError::InvalidHeader),
        ("[]\n", EnvelopeError::InvalidHeader),
        ("{}\nno json\n{}", EnvelopeError::InvalidItemHeader),
        ("{}\n{\"length\":2}\n{}", EnvelopeError::InvalidItemHeader),
        (
            "{}\n{\"type\":\"event\",\"length\":5}\nabc",
            EnvelopeError::InvalidItemLength,
        ),
        (
            "{}\n{\"type\":\"event\",\"length\":2}\nabc",
            EnvelopeError::InvalidItemLength,
        ),
        (
            "{}\n{\"type\":\"event\",\"length\":-1}\nabc",
            EnvelopeError::InvalidItemLength,
        ),
        (
            "{}\n{\"type\":\"event\",\"length\":18446744073709551615}\nabc",
            EnvelopeError::InvalidItemLength,
        ),
    ] {
        assert_eq!(parse(text), Err(error), "{text}");
    }
}

#[test]
fn items_are_bounded() {
    let many = format!("{{}}\n{}", "{\"type\":\"x\"}\n\n".repeat(1025));
    assert_eq!(parse(&many), Err(EnvelopeError::TooManyItems));
}

proptest! {
    #[test]
    fn what_is_framed_is_read_back(payloads_in in proptest::collection::vec(any::<Vec<u8>>(), 0..6), trailing in any::<bool>()) {
        let mut bytes = b"{}".to_vec();
        for payload in &payloads_in {
            bytes.extend(format!("\n{{\"type\":\"attachment\",\"length\":{}}}\n", payload.len()).into_bytes());
            bytes.extend(payload);
        }
        if trailing {
            bytes.push(b'\n');
        }
        let envelope = Envelope::parse(&bytes.into()).unwrap();
        prop_assert_eq!(payloads(&envelope), payloads_in.iter().map(|payload| &payload[..]).collect::<Vec<_>>());
    }

    #[test]
    fn noise_is_read_without_panic(noise in any::<Vec<u8>>(), text in "(\\{\\}\n)?(\\{\"type\":\"event\"(,\"length\":[0-9]{1,3})?\\}\n)?.{0,30}\n?") {
        let _ = Envelope::parse(&noise.into());
        let _ = parse(&text);
    }
}
