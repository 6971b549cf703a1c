//! A JSON value that borrows its texts from the bytes it was read from: an event is walked once and written out again, so most of its
//! texts need never be copied.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::io::Write as _;

use foldhash::fast::RandomState;
use serde_json::Number;

/// A text, borrowed where the bytes hold it as it is, without an escape; [`Value::write`] relies on it.
pub(super) type Text<'a> = Cow<'a, str>;

/// Any JSON value; no text in it holds NUL.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Value<'a> {
    #[default]
    Null,
    Bool(bool),
    Number(Number),
    String(Text<'a>),
    Array(Vec<Value<'a>>),
    Object(Map<'a>),
    /// The JSON of a list or an object that was found to need no change where it stands, and is not looked into any more. The parser
    /// makes it of variables and source lines of frames, of attributes of free shape, which are objects with something in them, and of
    /// lists of the SDK.
    Clean(Text<'a>),
    /// A frame that was found to need no change.
    Frame(Box<Frame<'a>>),
}

/// A frame that goes out as it came in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Frame<'a> {
    /// Its JSON.
    pub(super) json: Text<'a>,
    /// The JSON of what grouping reads of it.
    pub(super) facts: String,
}

/// A JSON object in the order it was written, its keys unique: of several with one key the last counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Map<'a> {
    entries: Vec<(Text<'a>, Value<'a>)>,
}

/// Objects with more keys than this look for a second copy of a key in a table and not one by one.
const SMALL_LEN_MAX: usize = 32;

impl<'a> Map<'a> {
    pub(super) const fn new() -> Map<'a> {
        Map {
            entries: Vec::new(),
        }
    }

    pub(super) fn with_capacity(len: usize) -> Map<'a> {
        Map {
            entries: Vec::with_capacity(len),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value<'a>> {
        let mut entries = self.entries.iter();
        entries
            .find(|(known, _)| known == key)
            .map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Value<'a>> {
        let mut entries = self.entries.iter_mut();
        entries
            .find(|(known, _)| known == key)
            .map(|(_, value)| value)
    }

    pub(super) fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<Value<'a>> {
        let at = self.entries.iter().position(|(known, _)| known == key)?;
        Some(self.entries.remove(at).1)
    }

    /// Sets the value of a key, new or known.
    pub(super) fn insert(&mut self, key: impl Into<Text<'a>>, value: impl Into<Value<'a>>) {
        let (key, value) = (key.into(), value.into());
        match self.get_mut(&key) {
            Some(known) => *known = value,
            None => self.entries.push((key, value)),
        }
    }

    /// Sets the value of a key that has none.
    pub(super) fn insert_missing(&mut self, key: impl Into<Text<'a>>, value: impl Into<Value<'a>>) {
        let key = key.into();
        if !self.contains_key(&key) {
            self.entries.push((key, value.into()));
        }
    }

    /// Adds a key that is known to be new.
    pub(super) fn push(&mut self, key: impl Into<Text<'a>>, value: impl Into<Value<'a>>) {
        self.entries.push((key.into(), value.into()));
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Text<'a>> {
        self.entries.iter().map(|(key, _)| key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Text<'a>, &Value<'a>)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&Text<'a>, &mut Value<'a>)> {
        self.entries.iter_mut().map(|(key, value)| (&*key, value))
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&str, &mut Value<'a>) -> bool) {
        self.entries.retain_mut(|(key, value)| keep(key, value));
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.entries.truncate(len);
    }

    /// Changes keys; where that makes two alike, the last counts.
    pub(super) fn rename(&mut self, mut change: impl FnMut(&mut Text<'a>)) {
        for (key, _) in &mut self.entries {
            change(key);
        }
        self.drop_copies();
    }

    /// Of several entries with one key keeps the last.
    pub(super) fn drop_copies(&mut self) {
        let entries = &self.entries;
        let is_unique = if entries.len() <= SMALL_LEN_MAX {
            (1..entries.len()).all(|at| {
                let key = &entries[at].0;
                entries[..at].iter().all(|(known, _)| !is_same(known, key))
            })
        } else {
            false
        };
        if is_unique {
            return;
        }
        let mut last: HashMap<Text<'a>, usize, RandomState> = HashMap::default();
        for (at, (key, _)) in self.entries.iter().enumerate() {
            last.insert(key.clone(), at);
        }
        if last.len() < self.entries.len() {
            let mut at = 0;
            self.entries.retain(|(key, _)| {
                at += 1;
                last[key] == at - 1
            });
        }
    }
}

/// Whether two keys are one. Keys of one object that are equally long seldom end alike.
fn is_same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.as_bytes().last() == b.as_bytes().last() && a == b
}

impl<'a> IntoIterator for Map<'a> {
    type Item = (Text<'a>, Value<'a>);
    type IntoIter = std::vec::IntoIter<(Text<'a>, Value<'a>)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl<'a> Value<'a> {
    pub(super) fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    pub(super) fn is_bool(&self) -> bool {
        matches!(self, Value::Bool(_))
    }

    pub(super) fn is_array(&self) -> bool {
        matches!(self, Value::Array(_))
    }

    pub(super) fn is_object(&self) -> bool {
        matches!(self, Value::Object(_))
    }

    pub(super) fn as_array(&self) -> Option<&[Value<'a>]> {
        match self {
            Value::Array(list) => Some(list),
            _ => None,
        }
    }

    pub(super) fn as_object(&self) -> Option<&Map<'a>> {
        match self {
            Value::Object(map) => Some(map),
            _ => None,
        }
    }

    /// What an object has under `key`.
    pub(super) fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.as_object()?.get(key)
    }

    /// The same, borrowing nothing.
    pub(super) fn into_owned<'b>(self) -> Value<'b> {
        let owned = |text: Text<'a>| Cow::Owned(text.into_owned());
        match self {
            Value::Null => Value::Null,
            Value::Bool(value) => Value::Bool(value),
            Value::Number(number) => Value::Number(number),
            Value::String(text) => Value::String(owned(text)),
            Value::Array(list) => Value::Array(list.into_iter().map(Value::into_owned).collect()),
            Value::Object(map) => Value::Object(Map {
                entries: map
                    .into_iter()
                    .map(|(key, value)| (owned(key), value.into_owned()))
                    .collect(),
            }),
            Value::Clean(json) => Value::Clean(owned(json)),
            Value::Frame(frame) => Value::Frame(Box::new(Frame {
                json: owned(frame.json),
                facts: frame.facts,
            })),
        }
    }

    /// Makes what was found clean a tree again.
    pub(super) fn open(&mut self) {
        if matches!(self, Value::Clean(_)) {
            *self = serde_json::Value::from(std::mem::take(self)).into();
        }
    }

    /// An object with one key.
    pub(super) fn wrapped(key: &'static str, value: impl Into<Value<'a>>) -> Value<'a> {
        let mut map = Map::with_capacity(1);
        map.push(key, value);
        Value::Object(map)
    }
}

/// Notes go out with the event they are about.
impl From<serde_json::Value> for Value<'_> {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Bool(value),
            serde_json::Value::Number(number) => Value::Number(number),
            serde_json::Value::String(text) => text.into(),
            serde_json::Value::Array(list) => {
                Value::Array(list.into_iter().map(Value::from).collect())
            }
            serde_json::Value::Object(map) => Value::Object(Map {
                entries: map
                    .into_iter()
                    .map(|(key, value)| (Cow::Owned(key), value.into()))
                    .collect(),
            }),
        }
    }
}

/// The notes a client sends are kept with ours.
impl From<Value<'_>> for serde_json::Value {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => serde_json::Value::Bool(value),
            Value::Number(number) => serde_json::Value::Number(number),
            Value::String(text) => text.into_owned().into(),
            Value::Array(list) => list.into_iter().map(serde_json::Value::from).collect(),
            Value::Object(map) => map
                .into_iter()
                .map(|(key, value)| (key.into_owned(), serde_json::Value::from(value)))
                .collect(),
            Value::Clean(json) => serde_json::from_str(&json).expect("the parser read it as JSON"),
            Value::Frame(frame) => Value::Clean(frame.json).into(),
        }
    }
}

/// As JSON.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut json = Vec::new();
        self.write(&mut json);
        f.write_str(&String::from_utf8_lossy(&json))
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Value<'a> {
        Value::String(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Value::String(Cow::Owned(text))
    }
}

impl<'a> From<Text<'a>> for Value<'a> {
    fn from(text: Text<'a>) -> Value<'a> {
        Value::String(text)
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<u64> for Value<'_> {
    fn from(value: u64) -> Self {
        Value::Number(value.into())
    }
}

impl<'a> From<Vec<Value<'a>>> for Value<'a> {
    fn from(list: Vec<Value<'a>>) -> Value<'a> {
        Value::Array(list)
    }
}

impl<'a> From<Map<'a>> for Value<'a> {
    fn from(map: Map<'a>) -> Value<'a> {
        Value::Object(map)
    }
}

impl Value<'_> {
    /// Appends this value as JSON.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Value::Null => out.extend_from_slice(b"null"),
            Value::Bool(true) => out.extend_from_slice(b"true"),
            Value::Bool(false) => out.extend_from_slice(b"false"),
            Value::Number(number) => {
                write!(out, "{number}").expect("a vector takes every number");
            }
            Value::String(text) => write_text(text, out),
            Value::Array(list) => {
                out.push(b'[');
                for (at, value) in list.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    value.write(out);
                }
                out.push(b']');
            }
            Value::Object(map) => map.write(out),
            Value::Clean(json) => out.extend_from_slice(json.as_bytes()),
            Value::Frame(frame) => out.extend_from_slice(frame.json.as_bytes()),
        }
    }
}

impl Map<'_> {
    /// Appends this object as JSON.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (at, (key, value)) in self.entries.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_text(key, out);
            out.push(b':');
            value.write(out);
        }
        out.push(b'}');
    }
}

/// A borrowed text stands in JSON, or in this program, as it is: it holds nothing that would need an escape.
fn write_text(text: &Text<'_>, out: &mut Vec<u8>) {
    match text {
        Cow::Borrowed(text) => {
            debug_assert!(
                !text
                    .bytes()
                    .any(|byte| matches!(byte, 0..0x20 | b'"' | b'\\')),
                "a text that needs escapes is borrowed: {text:?}"
            );
            out.push(b'"');
            out.extend_from_slice(text.as_bytes());
            out.push(b'"');
        }
        Cow::Owned(text) => {
            serde_json::to_writer(&mut *out, text).expect("a vector takes every text");
        }
    }
}
#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::{Map, Value};

    fn read(json: &str) -> Value<'_> {
        crate::processing::normalize::parser::parse(json).unwrap()
    }

    #[test]
    fn of_two_values_of_one_key_the_last_counts() {
        assert_eq!(
            read(r#"{"a":1,"b":2,"\u0061":3}"#).to_string(),
            r#"{"b":2,"a":3}"#
        );
        let many: Vec<String> = (0..100).map(|n| format!("\"k{}\":{n}", n % 40)).collect();
        let json = format!("{{{}}}", many.join(","));
        let Value::Object(map) = read(&json) else {
            panic!("an object")
        };
        assert_eq!(map.len(), 40);
        assert_eq!(map.get("k3"), Some(&Value::from(83)));
    }

    #[test]
    fn texts_are_borrowed_unless_they_hold_an_escape() {
        let json = r#"{"plain":"é","escaped":"a\n\u0000"}"#;
        let Value::Object(map) = read(json) else {
            panic!("an object")
        };
        assert!(matches!(
            map.get("plain"),
            Some(Value::String(Cow::Borrowed("é")))
        ));
        assert_eq!(map.get("escaped"), Some(&Value::from("a\n\u{fffd}")));
    }

    #[test]
    fn what_was_read_is_written() {
        let json = r#"{"z":[1,-2,1.5,true,null,"\"\\"],"a":{}}"#;
        assert_eq!(read(json).to_string(), json);
    }

    #[test]
    fn renaming_keeps_keys_unique() {
        let mut map = Map::new();
        map.insert("aa", 1);
        map.insert("ab", 2);
        map.rename(|key| key.to_mut().truncate(1));
        assert_eq!(Value::from(map).to_string(), r#"{"a":2}"#);
    }
}
