//! A parser of well-formed JSON that borrows texts and gives up on everything unusual, which is left to the repair.
//!
//! Source: RFC 8259. Events are mostly short texts: sixteen bytes of one are looked at together.

mod clean;
mod memo;
mod place;
mod scan;

use std::borrow::Cow;

use serde_json::Number;

use self::clean::Key;
use self::memo::Memo;
use self::place::Place;
use self::scan::plain_end;
use super::bounds;
use super::value::{Map, Text, Value};

/// Deeper values are left to the repair, which cuts them off.
const DEPTH_MAX: usize = 127;

/// For how many objects room is made by a guess. An event within its bounds has hardly more, and one made of nothing else but small
/// objects, where there should be frames, must not take a hundred times its size.
const GUESSES_MAX: usize = 2 * bounds::FRAMES_ALL_MAX;

/// Parses one JSON value with nothing but blanks around it; `None` if it is not well-formed, or too deep.
pub(super) fn parse(text: &str) -> Option<Value<'_>> {
    parse_at(text, Place::Elsewhere, None)
}

/// Parses an event as [`parse`] does, but for what needs no change: frames, or else their variables and source lines, and attributes of
/// free shape become [`Value::Frame`] and [`Value::Clean`].
pub(super) fn parse_event(text: &str) -> Option<Value<'_>> {
    Memo::with(|memo| parse_at(text, Place::Event, Some(memo)))
}

fn parse_at<'a>(text: &'a str, place: Place, memo: Option<&mut Memo>) -> Option<Value<'a>> {
    let mut parser = Parser {
        text,
        at: 0,
        guesses_left: GUESSES_MAX,
        keys: Vec::new(),
        unclean_at: usize::MAX,
        memo,
    };
    let value = parser.value(DEPTH_MAX, place)?;
    parser.skip_blanks();
    (parser.at == text.len()).then_some(value)
}

struct Parser<'a, 'm> {
    text: &'a str,
    at: usize,
    /// For how many more objects room may be made by a guess.
    guesses_left: usize,
    /// The keys of the objects that are just looked at for being clean.
    keys: Vec<Key<'a>>,
    /// Where the value begins that was last found to need a change as a part of a frame.
    unclean_at: usize,
    /// What frames began with before; nothing where none are taken as they are.
    memo: Option<&'m mut Memo>,
}

impl<'a> Parser<'a, '_> {
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
        if self.peek() != Some(byte) {
            return false;
        }
        self.at += 1;
        true
    }

    /// Takes `mark` if it comes next with one blank behind it, or none, as it mostly does.
    #[inline]
    fn take_mark(&mut self, mark: u8) -> bool {
        let rest = self.text.as_bytes().get(self.at..);
        let len = match rest.and_then(<[u8]>::first_chunk) {
            Some([first, b' ', next]) if *first == mark && *next > b' ' => 2,
            Some([first, next, _]) if *first == mark && *next > b' ' => 1,
            _ => return false,
        };
        self.at += len;
        true
    }

    /// Takes the colon behind a key and the blanks around it.
    #[inline]
    fn take_colon(&mut self) -> bool {
        if self.take_mark(b':') {
            return true;
        }
        self.skip_blanks();
        let comes = self.take(b':');
        self.skip_blanks();
        comes
    }

    /// Takes what follows an entry: whether another one comes next, or else `end` was taken; `None` if it is neither.
    #[inline]
    fn another(&mut self, end: u8) -> Option<bool> {
        if self.take_mark(b',') {
            return Some(true);
        }
        self.skip_blanks();
        let byte = self.peek()?;
        if byte != b',' {
            self.at += 1;
            return (byte == end).then_some(false);
        }
        self.at += 1;
        self.skip_blanks();
        Some(true)
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Option<Value<'a>> {
        let comes = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += word.len();
        comes.then_some(value)
    }

    fn value(&mut self, depth: usize, place: Place) -> Option<Value<'a>> {
        self.skip_blanks();
        let may_be_clean = matches!(
            place,
            Place::Frame
                | Place::Variables
                | Place::Lines
                | Place::Contexts
                | Place::Data
                | Place::SdkList
        );
        if may_be_clean && let Some(value) = self.clean(place) {
            return Some(value);
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
            if self.peek()? != b'"' {
                return None;
            }
            let key = self.string()?;
            if !self.take_colon() {
                return None;
            }
            let place = place.below(&key);
            map.push(key, self.value(depth, place)?);
            if !self.another(b'}')? {
                map.drop_copies();
                return Some(Value::Object(map));
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
            if !self.another(b']')? {
                return Some(Value::Array(list));
            }
        }
    }

    /// The text whose opening quote comes next. One with an escape of more than one letter is read by serde; NUL, which the database's
    /// texts cannot hold and only such an escape makes, is replaced.
    fn string(&mut self) -> Option<Text<'a>> {
        let start = self.at;
        if let Some(text) = self.plain_text() {
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
}

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

#[cfg(test)]
mod tests {
    use super::{parse, parse_event};
    use crate::processing::scrub::{is_secret_key, scrub_text};
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

        /// An object goes out as it came in where none of its keys is a secret's and nothing is scrubbed in its texts, and nowhere else.
        #[test]
        fn clean_is_what_holds_no_secret(keys in proptest::collection::vec("(password|pass|word|to|ken|_|-|é|a|sid|[a-z]{1,9}){1,4}", 1..4), text in "(password|token|=|:|'|\"| |://|@|[0-9]|4222222222222|424242424242424|Bearer |\n|é|a|abcdefghijklmno){0,6}") {
            let texts = keys.iter().map(|key| (key.clone(), Value::from(text.clone())));
            let data = Value::Object(texts.collect());
            let holds_secret = scrub_text(&text).is_some() || keys.iter().any(|key| is_secret_key(key));
            for json in [format!("{{\"extra\":{data}}}"), format!("{{\"extra\":{data},\"release\":\"sixteen bytes more\"}}")] {
                let Some(super::Value::Object(event)) = parse_event(&json) else {
                    panic!("an event is an object: {json}")
                };
                let is_clean = matches!(event.get("extra"), Some(super::Value::Clean(_)));
                prop_assert_eq!(is_clean, !holds_secret, "{}", json);
            }
        }

        /// Blanks between any two marks change nothing: neither what is read, nor what goes out as it came in.
        #[test]
        fn blanks_change_nothing(
            values in proptest::collection::vec("(1|-1\\.5e3|true|null|\"x\"|\"a\\\\\"b: c, \"|\\{\\}|\\[\\]|\\[1,\"z\"\\]|\\{\"k\":\\{\"l\":\\[\\{\\}\\]\\}\\})", 1..4),
            blanks in proptest::collection::vec("(| |  |\n|\n  |\r\n\t)", 1..12),
        ) {
            let entries: Vec<String> = (0..).zip(&values).map(|(nth, value)| format!("\"{nth}\":{value}")).collect();
            let (entries, values) = (entries.join(","), values.join(","));
            let frame = format!("{{\"function\":\"f\",\"lineno\":7,\"vars\":{{{entries}}},\"pre_context\":[\"a\"]}}");
            let compact = format!("{{\"stacktrace\":{{\"frames\":[{frame}]}},\"extra\":{{{entries}}},\"contexts\":{{\"a\":{{{entries}}}}},\"x\":[{values}]}}");
            let text = spaced(&compact, &blanks);
            let clean = |text| match parse_event(text) {
                Some(super::Value::Object(event)) => ["stacktrace", "extra", "contexts"].map(|key| clean_parts(event.get(key))),
                _ => panic!("an event is an object: {text}"),
            };
            prop_assert_eq!(clean(&text), clean(&compact), "{}", text);
            prop_assert_eq!(parse_event(&text).map(Value::from), by_serde(&compact), "{}", text);
        }

        #[test]
        fn texts_of_any_length_end_where_they_end(before in "[a-zé ]{0,20}", special in "(\"|\\\\|\u{1f}|\\\\\"|é)", after in "[a-z\"]{0,20}") {
            let text = format!("[\"{before}{special}{after}\"]");
            prop_assert_eq!(parse(&text).map(Value::from), by_serde(&text));
        }
    }

    /// JSON with blanks around each of its marks, one after another of those given.
    fn spaced(compact: &str, blanks: &[String]) -> String {
        let mut blanks = blanks.iter().cycle();
        let mut text = String::new();
        let (mut is_text, mut is_escaped) = (false, false);
        for c in compact.chars() {
            let is_mark = !is_text && "{}[]:,".contains(c);
            is_text ^= c == '"' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            if is_mark {
                text.extend(blanks.next().map(String::as_str));
            }
            text.push(c);
            if is_mark {
                text.extend(blanks.next().map(String::as_str));
            }
        }
        text
    }

    /// How many parts of a value go out as they came in.
    fn clean_parts(value: Option<&super::Value<'_>>) -> usize {
        match value {
            Some(super::Value::Clean(_) | super::Value::Frame(_)) => 1,
            Some(super::Value::Array(items)) => {
                items.iter().map(|item| clean_parts(Some(item))).sum()
            }
            Some(super::Value::Object(map)) => {
                map.iter().map(|(_, value)| clean_parts(Some(value))).sum()
            }
            _ => 0,
        }
    }

    /// The shortest that each search finds, in texts of any length and at any place in them.
    #[test]
    fn the_shortest_secrets_are_seen() {
        for secret in [
            "4222222222222",
            "Bearer abcdefghijklmnop",
            "pwd=x",
            "'otp': 1",
            "://:b@",
        ] {
            for (len, end) in (0..60).flat_map(|len| ["", " a", "\\n"].map(|end| (len, end))) {
                let before = ["a ", "\\t"][len % 2].repeat(len / 2);
                let json =
                    format!(r#"{{"extra":{{"a":"{before}{secret}{end}"}},"b":"as many bytes"}}"#);
                let Some(super::Value::Object(event)) = parse_event(&json) else {
                    panic!("an event is an object: {json}")
                };
                let is_clean = matches!(event.get("extra"), Some(super::Value::Clean(_)));
                assert!(!is_clean, "{json}");
            }
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
