//! Many native bodies in one request: a JSON array, or one body a line (NDJSON).

use serde_json::value::RawValue;

use crate::ingestion::refusal::Refusal;

/// The most events one request may hold.
const ITEMS_MAX: usize = 1000;

/// The bodies, each as it stands. A line that is no JSON is an item too, which its own result refuses.
pub(super) fn split(body: &[u8]) -> Result<Vec<&[u8]>, Refusal> {
    let body = body.trim_ascii();
    let items: Vec<&[u8]> = if body.starts_with(b"[") {
        let items: Vec<&RawValue> = serde_json::from_slice(body)
            .map_err(|error| Refusal::Invalid(format!("invalid JSON: {error}")))?;
        items.iter().map(|item| item.get().as_bytes()).collect()
    } else {
        body.split(|byte| *byte == b'\n')
            .map(<[u8]>::trim_ascii)
            .filter(|line| !line.is_empty())
            .collect()
    };
    match items.len() {
        0 => Err(Refusal::Invalid("a bulk without an event".to_owned())),
        len if len > ITEMS_MAX => Err(Refusal::Invalid(format!(
            "a bulk of {len} events; it may hold {ITEMS_MAX}"
        ))),
        _ => Ok(items),
    }
}

#[cfg(test)]
mod tests {
    use super::{ITEMS_MAX, split};
    use proptest::prelude::{any, prop_assert, proptest};

    #[test]
    fn arrays_and_lines_are_the_same_items() {
        let expected: Vec<&[u8]> = vec![br#"{"a":[1,"]"]}"#, b"7"];
        assert_eq!(split(br#" [{"a":[1,"]"]}, 7] "#).unwrap(), expected);
        assert_eq!(split(b"{\"a\":[1,\"]\"]}\r\n\n 7\n").unwrap(), expected);
        assert_eq!(split(b"nonsense\n{}").unwrap().len(), 2);
        for refused in [&b""[..], b" \n ", b"[]", b"[1,", b"[1] 2"] {
            assert!(split(refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn a_bulk_has_a_bound() {
        let many = |len: usize| format!("[{}]", vec!["{}"; len].join(","));
        assert_eq!(split(many(ITEMS_MAX).as_bytes()).unwrap().len(), ITEMS_MAX);
        assert!(split(many(ITEMS_MAX + 1).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_split_without_panic(bytes in any::<Vec<u8>>()) {
            if let Ok(items) = split(&bytes) {
                prop_assert!(items.iter().map(|item| item.len()).sum::<usize>() <= bytes.len());
            }
        }
    }
}
