//! Small readers that take a value of the wrong shape for what it was meant to be.

use std::borrow::Cow;

use jiff::Timestamp;

use super::value::{Map, Text, Value};
use crate::domain::timestamps;

/// The text of a scalar: numbers and booleans are written out, containers as JSON; `None` for null.
pub(super) fn text(value: Value<'_>) -> Option<Text<'_>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        Value::Bool(true) => Some(Cow::Borrowed("True")),
        Value::Bool(false) => Some(Cow::Borrowed("False")),
        other => Some(Cow::Owned(other.to_string())),
    }
}

/// As [`text`], but trimmed, and nothing if empty.
pub(super) fn word(value: Value<'_>) -> Option<Text<'_>> {
    let text = text(value)?;
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return None;
    }
    if trimmed.len() == text.len() {
        return Some(text);
    }
    Some(match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    })
}

/// A text in which each of `from` is replaced by `to`; mostly there is none.
pub(super) fn replaced<'a>(text: Text<'a>, from: &[char], to: &str) -> Text<'a> {
    if text.contains(from) {
        Cow::Owned(text.replace(from, to))
    } else {
        text
    }
}

/// The entries of a list that may be wrapped as `{"values": […]}`, or stand alone; nulls are dropped.
pub(super) fn list(value: Value<'_>) -> Vec<Value<'_>> {
    let mut entries = match value {
        Value::Array(list) => list,
        Value::Object(mut map) => match map.remove("values") {
            Some(Value::Array(list)) => list,
            Some(Value::Null) => Vec::new(),
            Some(single) => vec![single],
            None if map.is_empty() => Vec::new(),
            None => vec![Value::Object(map)],
        },
        Value::Null => Vec::new(),
        scalar => vec![scalar],
    };
    entries.retain(|entry| !entry.is_null());
    entries
}

/// Pairs given as an object, as a list of pairs, or as a list of `{"key", "value"}`.
pub(super) fn pairs(value: Value<'_>) -> Vec<(Text<'_>, Value<'_>)> {
    match value {
        Value::Object(map) => map.into_iter().collect(),
        Value::Array(list) => list.into_iter().filter_map(pair).collect(),
        _ => Vec::new(),
    }
}

fn pair(value: Value<'_>) -> Option<(Text<'_>, Value<'_>)> {
    match value {
        Value::Array(mut pair) if pair.len() == 2 => {
            let value = pair.pop()?;
            Some((text(pair.pop()?)?, value))
        }
        Value::Object(mut map) => {
            let key = map.remove("key").and_then(text)?;
            Some((key, map.remove("value").unwrap_or(Value::Null)))
        }
        _ => None,
    }
}

/// A time as clients write it.
pub(super) fn time(value: Value<'_>) -> Option<Timestamp> {
    match value {
        Value::Number(number) => timestamps::from_seconds(number.as_f64()?),
        Value::String(text) => timestamps::parse_text(&text),
        _ => None,
    }
}

/// Takes an attribute out and leaves null, which counts as none: what stands behind it need not move.
pub(super) fn take<'a>(map: &mut Map<'a>, key: &str) -> Option<Value<'a>> {
    let value = std::mem::take(map.get_mut(key)?);
    (!value.is_null()).then_some(value)
}

/// Pairs of a query or form, decoded.
pub(super) fn form<'a>(text: &str) -> Vec<(Text<'a>, Value<'a>)> {
    let text = text.strip_prefix('?').unwrap_or(text);
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (Cow::Owned(decode(key)), Value::from(decode(value)))
        })
        .collect()
}

fn decode(text: &str) -> String {
    if !text.contains(['%', '+']) {
        return text.to_owned();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let hex = |at: usize| {
            after
                .get(at)
                .and_then(|byte| char::from(*byte).to_digit(16))
        };
        rest = after;
        match (byte, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                rest = &after[2..];
            }
            (b'+', ..) => bytes.push(b' '),
            (byte, ..) => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).replace('\0', "\u{fffd}")
}
