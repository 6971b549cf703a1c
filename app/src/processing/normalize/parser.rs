//! A parser of well-formed JSON that borrows texts and gives up on everything unusual, which is left to the repair.
//!
//! Source: RFC 8259. Events are mostly short texts: eight bytes of one are looked at together.

use std::borrow::Cow;

use serde_json::Number;

use super::bounds::{self, Bounds};
use super::value::{Map, Text, Value};
use crate::processing::scrub;

/// Deeper values are left to the repair, which cuts them off.
const DEPTH_MAX: usize = 127;

/// For how many objects room is made by a guess. An event within its bounds has hardly more, and one made of nothing else but small
/// objects, where there should be frames, must not take a hundred times its size.
const GUESSES_MAX: usize = 2 * bounds::FRAMES_ALL_MAX;

/// Parses one JSON value with nothing but blanks around it; `None` if it is not well-formed, or too deep.
pub(super) fn parse(text: &str) -> Option<Value<'_>> {
    parse_at(text, Place::Elsewhere)
}

/// Parses an event as [`parse`] does, but for the variables and source lines of frames: where nothing in them needs a change, they
/// become [`Value::Clean`].
pub(super) fn parse_event(text: &str) -> Option<Value<'_>> {
    parse_at(text, Place::Event)
}

fn parse_at(text: &str, place: Place) -> Option<Value<'_>> {
    let mut parser = Parser {
        text,
        at: 0,
        guesses_left: GUESSES_MAX,
    };
    let value = parser.value(DEPTH_MAX, place)?;
    parser.skip_blanks();
    (parser.at == text.len()).then_some(value)
}

/// Where in an event a value stands, as far as it leads to frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Event,
    /// Exceptions or threads, one or all of them.
    Carriers,
    Stack,
    Frame,
    Variables,
    Lines,
    Elsewhere,
}

impl Place {
    /// Where the value of `key` stands.
    fn below(self, key: &str) -> Place {
        match (self, key) {
            (Place::Event, "exception" | "threads") | (Place::Carriers, "values") => {
                Place::Carriers
            }
            (Place::Event | Place::Carriers, "stacktrace")
            | (Place::Carriers, "raw_stacktrace")
            | (Place::Stack, "frames") => Place::Stack,
            (Place::Frame, "vars") => Place::Variables,
            (Place::Frame, "pre_context" | "post_context") => Place::Lines,
            _ => Place::Elsewhere,
        }
    }

    /// How many keys an object there has, mostly: room for them is made once.
    fn len_guess(self) -> usize {
        match self {
            Place::Event => 24,
            Place::Frame => 12,
            Place::Carriers => 6,
            _ => 4,
        }
    }

    /// Where the entries of a list stand.
    fn within(self) -> Place {
        match self {
            Place::Carriers => Place::Carriers,
            Place::Stack => Place::Frame,
            _ => Place::Elsewhere,
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// For how many more objects room may be made by a guess.
    guesses_left: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// Takes `byte` if it comes next.
    fn take(&mut self, byte: u8) -> bool {
        let comes = self.peek() == Some(byte);
        self.at += usize::from(comes);
        comes
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Option<Value<'a>> {
        let comes = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += word.len();
        comes.then_some(value)
    }

    fn value(&mut self, depth: usize, place: Place) -> Option<Value<'a>> {
        self.skip_blanks();
        if matches!(place, Place::Variables | Place::Lines)
            && let Some(json) = self.clean(place)
        {
            return Some(Value::Clean(Cow::Borrowed(json)));
        }
        match self.peek()? {
            b'"' => self.string().map(Value::String),
            b'{' => self.object(depth.checked_sub(1)?, place),
            b'[' => self.array(depth.checked_sub(1)?, place.within()),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            b'n' => self.word("null", Value::Null),
            b'-' | b'0'..=b'9' => self.number(),
            _ => None,
        }
    }

    fn object(&mut self, depth: usize, place: Place) -> Option<Value<'a>> {
        self.at += 1;
        self.skip_blanks();
        if self.take(b'}') {
            return Some(Value::Object(Map::new()));
        }
        let mut map = if self.guesses_left > 0 {
            self.guesses_left -= 1;
            Map::with_capacity(place.len_guess())
        } else {
            Map::new()
        };
        loop {
            self.skip_blanks();
            if self.peek()? != b'"' {
                return None;
            }
            let key = self.string()?;
            self.skip_blanks();
            if !self.take(b':') {
                return None;
            }
            let place = place.below(&key);
            map.push(key, self.value(depth, place)?);
            self.skip_blanks();
            if self.take(b'}') {
                map.drop_copies();
                return Some(Value::Object(map));
            }
            if !self.take(b',') {
                return None;
            }
        }
    }

    fn array(&mut self, depth: usize, place: Place) -> Option<Value<'a>> {
        self.at += 1;
        self.skip_blanks();
        let mut list = Vec::new();
        if self.take(b']') {
            return Some(Value::Array(list));
        }
        loop {
            list.push(self.value(depth, place)?);
            self.skip_blanks();
            if self.take(b']') {
                return Some(Value::Array(list));
            }
            if !self.take(b',') {
                return None;
            }
        }
    }

    /// The text whose opening quote comes next. One with an escape of more than one letter is read by serde; NUL, which the database's
    /// texts cannot hold and only such an escape makes, is replaced.
    fn string(&mut self) -> Option<Text<'a>> {
        let start = self.at;
        if let Some(text) = self.clean_text(usize::MAX) {
            return Some(text);
        }
        let bytes = self.text.as_bytes();
        let mut at = start + 1;
        loop {
            at = plain_end(bytes, at);
            match bytes.get(at)? {
                b'"' => break,
                b'\\' => at += 2,
                _ => return None,
            }
        }
        self.at = at + 1;
        let text: String = serde_json::from_str(self.text.get(start..=at)?).ok()?;
        Some(Cow::Owned(if text.contains('\0') {
            text.replace('\0', "\u{fffd}")
        } else {
            text
        }))
    }

    fn number(&mut self) -> Option<Value<'a>> {
        let rest = &self.text.as_bytes()[self.at..];
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let len = rest.iter().take_while(|byte| is_part(byte)).count();
        let token = &self.text[self.at..self.at + len];
        self.at += len;
        Some(Value::Number(number_of(token)?))
    }

    /// The list or object that comes next, if it needs no change where it stands; otherwise nothing is taken.
    fn clean(&mut self, place: Place) -> Option<&'a str> {
        let start = self.at;
        let is_clean = match place {
            Place::Lines => self.clean_lines(),
            _ => matches!(self.peek(), Some(b'{' | b'[')) && self.clean_value(bounds::VARIABLES),
        };
        let end = std::mem::replace(&mut self.at, start);
        if !is_clean {
            return None;
        }
        self.at = end;
        self.text.get(start..end)
    }

    /// Whether a list of source lines comes next that are texts, and neither too many nor too long.
    fn clean_lines(&mut self) -> bool {
        if !self.take(b'[') {
            return false;
        }
        for _ in 0..bounds::LINES_MAX {
            self.skip_blanks();
            if self.clean_text(bounds::LINE_CHARS_MAX).is_none() {
                return false;
            }
            self.skip_blanks();
            if self.take(b']') {
                return true;
            }
            if !self.take(b',') {
                return false;
            }
        }
        false
    }

    /// Whether a value comes next of which [`bounds::trim`] would leave everything as it is. Where it is not easily seen, it is not.
    fn clean_value(&mut self, bounds: Bounds) -> bool {
        self.skip_blanks();
        match self.peek() {
            Some(b'"') => match self.clean_text(bounds.chars) {
                Some(Cow::Borrowed(text)) => scrub::is_clean(text),
                Some(Cow::Owned(text)) => scrub::is_clean(&text),
                None => false,
            },
            Some(b'{') => self.clean_object(bounds),
            Some(b'[') => self.clean_array(bounds),
            Some(b't') => self.word("true", Value::Null).is_some(),
            Some(b'f') => self.word("false", Value::Null).is_some(),
            Some(b'n') => self.word("null", Value::Null).is_some(),
            Some(b'-' | b'0'..=b'9') => self.number().is_some(),
            _ => false,
        }
    }

    fn clean_array(&mut self, bounds: Bounds) -> bool {
        let Some(depth) = bounds.depth.checked_sub(1) else {
            return false;
        };
        self.at += 1;
        self.skip_blanks();
        if self.take(b']') {
            return true;
        }
        for _ in 0..bounds.entries {
            if !self.clean_value(Bounds { depth, ..bounds }) {
                return false;
            }
            self.skip_blanks();
            if self.take(b']') {
                return true;
            }
            if !self.take(b',') {
                return false;
            }
        }
        false
    }

    fn clean_object(&mut self, bounds: Bounds) -> bool {
        let Some(depth) = bounds.depth.checked_sub(1) else {
            return false;
        };
        self.at += 1;
        self.skip_blanks();
        if self.take(b'}') {
            return true;
        }
        let mut keys = [""; CLEAN_KEYS_MAX];
        for len in 0..CLEAN_KEYS_MAX.min(bounds.entries) {
            self.skip_blanks();
            let Some(Cow::Borrowed(key)) = self.clean_text(bounds::NAME_CHARS_MAX) else {
                return false;
            };
            if keys[..len].contains(&key) || scrub::is_secret_key(key) {
                return false;
            }
            keys[len] = key;
            self.skip_blanks();
            if !self.take(b':') || !self.clean_value(Bounds { depth, ..bounds }) {
                return false;
            }
            self.skip_blanks();
            if self.take(b'}') {
                return true;
            }
            if !self.take(b',') {
                return false;
            }
        }
        false
    }

    /// The text that comes next, if it is one of at most so many bytes and holds no escape but those of one letter.
    fn clean_text(&mut self, bytes_max: usize) -> Option<Text<'a>> {
        if !self.take(b'"') {
            return None;
        }
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut at = start;
        let mut unescaped = String::new();
        let mut copied = start;
        loop {
            at = plain_end(bytes, at);
            match bytes.get(at)? {
                b'"' => break,
                b'\\' => {
                    let meant = match bytes.get(at + 1)? {
                        b'"' => '"',
                        b'\\' => '\\',
                        b'n' => '\n',
                        b't' => '\t',
                        b'r' => '\r',
                        b'/' => '/',
                        _ => return None,
                    };
                    unescaped.push_str(self.text.get(copied..at)?);
                    unescaped.push(meant);
                    at += 2;
                    copied = at;
                }
                _ => return None,
            }
        }
        self.at = at + 1;
        if at - start > bytes_max {
            return None;
        }
        if copied == start {
            return self.text.get(start..at).map(Cow::Borrowed);
        }
        unescaped.push_str(self.text.get(copied..at)?);
        Some(Cow::Owned(unescaped))
    }
}

/// Objects with more keys are not looked at for being clean: their keys are compared with each other one by one.
const CLEAN_KEYS_MAX: usize = 24;

/// The number that a token is; line numbers, which are most, are read by hand.
fn number_of(token: &str) -> Option<Number> {
    let is_small = (1..=9).contains(&token.len())
        && token.bytes().all(|byte| byte.is_ascii_digit())
        && (token.len() == 1 || !token.starts_with('0'));
    if is_small {
        return token.parse::<u32>().ok().map(Number::from);
    }
    serde_json::from_str(token).ok()
}

/// Where the bytes from `at` on that stand in a text as they are end: at a quote, a backslash, a control character or the end.
fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(eight) = bytes.get(at..at + 8) {
        let mut word = [0; 8];
        word.copy_from_slice(eight);
        let special = specials(u64::from_le_bytes(word));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let is_special = |byte: &u8| matches!(byte, 0..0x20 | b'"' | b'\\');
    at + rest.iter().position(is_special).unwrap_or(rest.len())
}

/// The high bit of each byte that is special; of bytes above the first that is, perhaps of more.
///
/// Source: Sean Eron Anderson, "Bit Twiddling Hacks", "Determine if a word has a byte less than n".
fn specials(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    let zeroes = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
    controls | zeroes(word ^ (ONES * 0x22)) | zeroes(word ^ (ONES * 0x5c))
}

#[cfg(test)]
mod tests {
    use super::{parse, parse_event};
    use proptest::prelude::{prop_assert_eq, proptest};
    use serde_json::Value;

    fn by_serde(text: &str) -> Option<Value> {
        serde_json::from_str(text).ok()
    }

    proptest! {
        /// What serde takes we take, what it refuses we refuse, and the values are the same.
        #[test]
        fn reads_what_serde_reads(text in "(\\{|\\}|\\[|\\]|\"|\\\\|\\\\n|\\\\u00e9|a|aaaaaaaaaaa|é|-|0|1|1.5e3|,|:|true|null| |\t|\u{1}){0,24}") {
            prop_assert_eq!(parse(&text).map(Value::from), by_serde(&text));
        }

        /// A frame is read the same whether or not its parts are found clean.
        #[test]
        fn reads_frames_as_serde_reads(vars in "(\\{|\\}|\\[|\\]|\"a\":|\"b\":|\"password\":|\"x=é\"|\"\\\\n\\\\\"\"|\"\\\\u0041\"|\"\\\\x\"|-|07|1.5e3|,|true|null| ){0,12}", lines in "(\\[|\\]|\"  x = 1\"|\"\\\\t\"|7|,|null){0,8}") {
            for text in [
                format!("{{\"exception\":{{\"values\":[{{\"stacktrace\":{{\"frames\":[{{\"vars\":{vars},\"pre_context\":{lines}}}]}}}}]}}}}"),
                format!("{{\"stacktrace\":[{{\"vars\":[{vars}],\"post_context\":[{lines}]}}]}}"),
                format!("{{\"stacktrace\":[{{\"vars\":{{{vars}}},\"post_context\":[{lines}]}}]}}"),
            ] {
                prop_assert_eq!(parse_event(&text).map(Value::from), by_serde(&text));
            }
        }

        #[test]
        fn texts_of_any_length_end_where_they_end(before in "[a-zé ]{0,20}", special in "(\"|\\\\|\u{1f}|\\\\\"|é)", after in "[a-z\"]{0,20}") {
            let text = format!("[\"{before}{special}{after}\"]");
            prop_assert_eq!(parse(&text).map(Value::from), by_serde(&text));
        }
    }

    #[test]
    fn numbers_and_depth_are_serdes() {
        for text in [
            "0",
            "-0",
            "01",
            "1.",
            ".5",
            "-",
            "1e5",
            "1E+5",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775808",
            "1.7976931348623157e308",
            "1e999",
            "1-2",
            " 7 ",
            "7 8",
            "",
            "tru",
            "nulll",
        ] {
            assert_eq!(parse(text).map(Value::from), by_serde(text), "{text}");
        }
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse(&nested(127)).is_some());
        assert!(parse(&nested(200)).is_none());
        assert!(parse(&"[".repeat(100_000)).is_none());
    }
}
