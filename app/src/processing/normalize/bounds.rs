//! How much of an event is kept: the bounds, and the one walk that trims and scrubs values of any shape.
//!
//! What is cut is noted as Sentry does, under `_meta`: at the same path, `{"": {"rem": [["!limit", "x"]], "len": n}}`.

use std::borrow::Cow;

use serde_json::json;

use super::value::{Map, Text, Value};
use crate::processing::scrub;

/// The most exceptions of a chain; both ends are kept.
pub(super) const EXCEPTIONS_MAX: usize = 50;
/// The most frames of a stack; both ends are kept.
pub(super) const FRAMES_MAX: usize = 250;
/// The most frames of all exceptions together, and of all threads; where there are more, each stack has an equal share.
pub(super) const FRAMES_ALL_MAX: usize = 1000;
/// The most threads.
pub(super) const THREADS_MAX: usize = 100;
/// The most breadcrumbs; the latest are kept.
pub(super) const BREADCRUMBS_MAX: usize = 100;
/// The most tags.
pub(super) const TAGS_MAX: usize = 200;
/// The longest key or value of a tag, and names of functions, releases and the like, in characters.
pub(super) const NAME_CHARS_MAX: usize = 200;
/// The longest path or URL, in characters.
pub(super) const PATH_CHARS_MAX: usize = 1024;
/// The longest environment or dist, in characters.
pub(super) const ENVIRONMENT_CHARS_MAX: usize = 64;
/// The longest message or value of an exception, in characters.
pub(super) const MESSAGE_CHARS_MAX: usize = 8192;
/// The longest line of source code, in characters.
pub(super) const LINE_CHARS_MAX: usize = 512;
/// The most source lines before or after a frame's own.
pub(super) const LINES_MAX: usize = 20;
/// The most parts of a fingerprint.
pub(super) const FINGERPRINT_PARTS_MAX: usize = 50;

/// The most bytes of facts beside a payload: those of events that are read often and quickly have a few KiB. The spool holds them as they
/// are, so that without this bound an event that is small on its way, being repetitive, would be large in the spool.
pub(super) const FACTS_BYTES_MAX: usize = 64 * 1024;

/// How much of a value of any shape is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// How deep containers may nest.
    pub(super) depth: usize,
    /// How many entries a list or an object may have.
    pub(super) entries: usize,
    /// How long a text may be, in characters.
    pub(super) chars: usize,
}

/// For local variables of a frame.
pub(super) const VARIABLES: Bounds = Bounds {
    depth: 5,
    entries: 50,
    chars: 1024,
};
/// For contexts, extra data, request bodies and the like.
pub(super) const DATA: Bounds = Bounds {
    depth: 10,
    entries: 200,
    chars: 16 * 1024,
};
/// For the data of one breadcrumb.
pub(super) const BREADCRUMB: Bounds = Bounds {
    depth: 5,
    entries: 50,
    chars: 2048,
};

/// What was changed below a place, in the form of `_meta`; `None` if nothing.
pub(super) type Note = Option<serde_json::Value>;

/// Notes by the names of what they are about.
pub(super) type Notes = serde_json::Map<String, serde_json::Value>;

/// The note that something was cut from `len` entries or characters.
pub(super) fn cut_note(len: usize) -> serde_json::Value {
    json!({ "": { "rem": [["!limit", "x"]], "len": len } })
}

/// The note that a secret was taken out.
pub(super) fn scrub_note() -> serde_json::Value {
    json!({ "": { "rem": [["@secret", "s"]] } })
}

/// Cuts a text to so many characters, the last being an ellipsis.
pub(super) fn trim_text(text: &mut Text<'_>, chars_max: usize) -> Note {
    if text.len() <= chars_max {
        return None;
    }
    let (end, _) = text.char_indices().nth(chars_max)?;
    let len = text.chars().count();
    cut_text(text, end);
    Some(cut_note(len))
}

/// Cuts a text at a boundary of characters, the last one left of it making room for an ellipsis.
fn cut_text(text: &mut Text<'_>, end: usize) {
    let keep = text[..end]
        .char_indices()
        .next_back()
        .map_or(0, |(at, _)| at);
    let mut kept = String::with_capacity(keep + '…'.len_utf8());
    kept.push_str(&text[..keep]);
    kept.push('…');
    *text = Cow::Owned(kept);
}

/// Scrubs a text and cuts it to so many characters. Of a text that is far too long only the part that may be kept is looked at.
fn scrub_and_trim(text: &mut Text<'_>, chars_max: usize) -> Note {
    // The longest secret that a pattern must see whole is a card number; what follows `key=` is a secret however much of it is seen.
    const SECRET_BYTES_MAX: usize = 64;
    let looked_at = text.floor_char_boundary(4 * chars_max + SECRET_BYTES_MAX);
    let cut = (looked_at < text.len()).then(|| cut_note(text.chars().count()));
    if cut.is_some() {
        let kept = text[..looked_at].to_owned();
        *text = Cow::Owned(kept);
    }
    let scrubbed = scrub::scrub_text(text).map(|clean| *text = Cow::Owned(clean));
    if cut.is_some() && !text.ends_with(scrub::FILTERED) {
        // Scrubbing may have made it shorter: half a secret at the end must not come into view.
        let end = text.floor_char_boundary(text.len().saturating_sub(SECRET_BYTES_MAX));
        cut_text(text, end);
    }
    let trimmed = trim_text(text, chars_max);
    cut.or(trimmed).or_else(|| scrubbed.map(|()| scrub_note()))
}

/// Cuts a list to so many entries, keeping both ends.
pub(super) fn trim_middle<T>(list: &mut Vec<T>, entries_max: usize) -> Note {
    let len = list.len();
    if len <= entries_max {
        return None;
    }
    let head = entries_max / 2;
    list.drain(head..len - (entries_max - head));
    Some(cut_note(len))
}

/// Trims and scrubs a value of any shape, in place.
pub(super) fn trim(value: &mut Value<'_>, bounds: Bounds) -> Note {
    match value {
        Value::String(text) => scrub_and_trim(text, bounds.chars),
        Value::Array(list) => {
            if bounds.depth == 0 {
                return Some(flatten(value, bounds));
            }
            let len = list.len();
            list.truncate(bounds.entries);
            let below = Bounds {
                depth: bounds.depth - 1,
                ..bounds
            };
            let mut notes = Notes::new();
            for (index, entry) in list.iter_mut().enumerate() {
                note(&mut notes, || index.to_string(), trim(entry, below));
            }
            with_cut(notes, len, bounds.entries)
        }
        Value::Object(map) => {
            if bounds.depth == 0 {
                return Some(flatten(value, bounds));
            }
            trim_object(map, bounds)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Clean(_) | Value::Frame(_) => None,
    }
}

/// Trims and scrubs the entries of an object, in place; the values of secret keys are taken out whole.
pub(super) fn trim_object(map: &mut Map<'_>, bounds: Bounds) -> Note {
    let len = map.len();
    map.truncate(bounds.entries);
    if map.keys().any(|key| key.len() > NAME_CHARS_MAX) {
        map.rename(|key| {
            trim_text(key, NAME_CHARS_MAX);
        });
    }
    let below = Bounds {
        depth: bounds.depth.saturating_sub(1),
        ..bounds
    };
    let mut notes = Notes::new();
    for (key, entry) in map.iter_mut() {
        let below_note = if is_secret(key, entry) {
            *entry = Value::from(scrub::FILTERED);
            Some(scrub_note())
        } else {
            trim(entry, below)
        };
        note(&mut notes, || key.to_string(), below_note);
    }
    with_cut(notes, len, bounds.entries)
}

/// Whether an entry is to be taken out; counts of tokens, flags and nothing at all are no secrets.
fn is_secret(key: &str, entry: &Value<'_>) -> bool {
    let could_be = match entry {
        Value::Null | Value::Bool(_) => false,
        Value::Number(_) => !key.to_ascii_lowercase().contains("token"),
        Value::String(text) => !text.is_empty() && text != scrub::FILTERED,
        Value::Array(_) | Value::Object(_) | Value::Clean(_) | Value::Frame(_) => true,
    };
    could_be && scrub::is_secret_key(key)
}

/// Adds what was noted below `key`, if anything.
pub(super) fn note(notes: &mut Notes, key: impl FnOnce() -> String, below: Note) {
    if let Some(below) = below {
        notes.insert(key(), below);
    }
}

/// The notes of all entries, joined with the note that there were more.
pub(super) fn with_cut(mut notes: Notes, len: usize, entries_max: usize) -> Note {
    if len > entries_max {
        notes.insert(String::new(), cut_note(len)[""].take());
    }
    joined(notes)
}

/// All notes of one place as one, if there are any.
pub(super) fn joined(notes: Notes) -> Note {
    (!notes.is_empty()).then_some(notes.into())
}

/// Replaces a container that lies too deep by a word on its size.
fn flatten(value: &mut Value<'_>, bounds: Bounds) -> serde_json::Value {
    let (len, kind) = match value {
        Value::Array(list) => (list.len(), "list"),
        Value::Object(map) => (map.len(), "object"),
        _ => (bounds.chars, "value"),
    };
    *value = Value::from(format!("<{kind} of {len}>"));
    cut_note(len)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::json;

    use super::{Bounds, Value, trim, trim_middle, trim_text};

    const SMALL: Bounds = Bounds {
        depth: 2,
        entries: 3,
        chars: 15,
    };

    #[test]
    fn texts_lists_and_depth_are_cut_and_noted() {
        let mut value = Value::from(
            json!({ "a": "1234567890123456", "b": [1, 2, 3, 4], "c": { "d": { "e": 1 } } }),
        );
        let note = trim(&mut value, SMALL).unwrap();
        assert_eq!(
            value,
            json!({ "a": "12345678901234…", "b": [1, 2, 3], "c": { "d": "<object of 1>" } }).into()
        );
        assert_eq!(note["a"][""]["len"], 16);
        assert_eq!(note["b"][""]["len"], 4);
        assert_eq!(note["c"]["d"][""]["rem"][0][0], "!limit");
        assert_eq!(trim(&mut value, SMALL), None);
    }

    #[test]
    fn secrets_are_taken_out_at_any_depth() {
        let mut value = Value::from(
            json!({ "a": { "Password": "x", "max_tokens": 7, "has_password": true, "credentials": [1] } }),
        );
        let note = trim(
            &mut value,
            Bounds {
                depth: 5,
                entries: 50,
                chars: 50,
            },
        )
        .unwrap();
        assert_eq!(
            value,
            json!({ "a": { "Password": "[Filtered]", "max_tokens": 7, "has_password": true, "credentials": "[Filtered]" } }).into()
        );
        assert_eq!(note["a"]["Password"][""]["rem"][0][0], "@secret");
    }

    #[test]
    fn characters_are_counted_not_bytes() {
        let mut text = Cow::Borrowed("ééééé");
        assert_eq!(trim_text(&mut text, 5), None);
        assert!(trim_text(&mut text, 4).is_some());
        assert_eq!(text, "ééé…");
    }

    /// Half of a card number is not shown because a secret before it made room.
    #[test]
    fn what_is_cut_is_scrubbed_first() {
        for filler in 0..80 {
            let secret = "token=".to_owned() + &"x".repeat(50 + filler);
            let mut value = Value::from(format!("{secret} {}", "4242424242424242 ".repeat(20)));
            let note = trim(&mut value, SMALL).unwrap();
            let text = value.to_string();
            assert!(!text.contains("4242") && !text.contains("xx"), "{text}");
            assert_eq!(note[""]["rem"][0][0], "!limit");
        }
    }

    #[test]
    fn both_ends_are_kept() {
        let mut list: Vec<u32> = (0..10).collect();
        trim_middle(&mut list, 5);
        assert_eq!(list, [0, 1, 7, 8, 9]);
    }
}
