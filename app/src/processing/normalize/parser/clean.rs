//! What of an event needs no change: found while it is read, and then neither taken apart nor put together again.

use super::Parser;
use super::memo::{self, Memo, Word};
use super::place::Place;
use super::scan::{Short, plain_end, plain_end_seen};
use crate::processing::normalize::bounds::{self, Bounds};
use crate::processing::normalize::value::{Frame, Text, Value};
use crate::processing::scrub::{self, Hints};
use std::borrow::Cow;

/// Objects with more keys are not looked at for being clean: their keys are compared with each other one by one.
const CLEAN_KEYS_MAX: usize = 40;

/// What the facts of a frame mostly take, in bytes.
const FRAME_FACTS_BYTES_GUESS: usize = 320;

/// What the facts behind a frame's variables mostly take, in bytes.
const FRAME_FACTS_BYTES_MORE: usize = 24;

/// What an attribute of a frame is.
#[derive(Clone, Copy)]
enum Attribute {
    /// A text that says something, of at most so many characters.
    Word(usize),
    Number,
    Line,
    Lines,
    Flag,
    Variables,
}

/// What an attribute of a frame is, a bit of its own, and whether it is among the facts; `None` of one that is not kept.
fn attribute(key: &str) -> Option<(Attribute, u32, bool)> {
    const NAME: Attribute = Attribute::Word(bounds::NAME_CHARS_MAX);
    const PATH: Attribute = Attribute::Word(bounds::PATH_CHARS_MAX);
    const ADDRESS: Attribute = Attribute::Word(usize::MAX);
    let (attribute, nth, is_fact) = match key {
        "function" => (NAME, 0, true),
        "raw_function" => (NAME, 1, false),
        "module" => (NAME, 2, true),
        "package" => (NAME, 3, true),
        "platform" => (NAME, 4, true),
        "symbol" => (NAME, 5, false),
        "lang" => (NAME, 6, false),
        "filename" => (PATH, 7, true),
        "abs_path" => (PATH, 8, true),
        "instruction_addr" => (ADDRESS, 9, false),
        "symbol_addr" => (ADDRESS, 10, false),
        "image_addr" => (ADDRESS, 11, false),
        "addr_mode" => (ADDRESS, 12, false),
        "lineno" => (Attribute::Number, 13, true),
        "colno" => (Attribute::Number, 14, false),
        "context_line" => (Attribute::Line, 15, true),
        "pre_context" => (Attribute::Lines, 16, false),
        "post_context" => (Attribute::Lines, 17, false),
        "in_app" => (Attribute::Flag, 18, true),
        "vars" => (Attribute::Variables, 19, false),
        _ => return None,
    };
    Some((attribute, 1 << nth, is_fact))
}

/// A key of an object that is looked at for being clean.
pub(super) struct Key<'a> {
    /// Its word, if it has one, or else zero.
    word: Word,
    text: &'a [u8],
}

impl<'a> Parser<'a, '_> {
    /// The list or object that comes next, if it needs no change where it stands; otherwise nothing is taken.
    pub(super) fn clean(&mut self, place: Place) -> Option<Value<'a>> {
        let start = self.at;
        // What is found to need a change as a part of a frame is not looked at again by itself.
        if start == self.unclean_at {
            return None;
        }
        let keys_len = self.keys.len();
        let value = self.clean_at(place);
        if value.is_none() {
            self.at = start;
            self.keys.truncate(keys_len);
        }
        value
    }

    fn clean_at(&mut self, place: Place) -> Option<Value<'a>> {
        let start = self.at;
        let is_clean = match (place, self.peek()?) {
            (Place::Frame, b'{') => return self.clean_frame(),
            (Place::Lines, _) => self.clean_lines(),
            (Place::Variables, b'{' | b'[') | (Place::SdkList, b'[') => {
                self.clean_value(&place.bounds())
            }
            (Place::Data, b'{') => self.clean_entries(&place.bounds(), false)? > 0,
            (Place::Contexts, b'{') => self.clean_entries(&place.bounds(), true)? > 0,
            _ => false,
        };
        let json = self.text.get(start..self.at).filter(|_| is_clean)?;
        Some(Value::Clean(Cow::Borrowed(json)))
    }

    /// The frame that comes next, if nothing of it is dropped, cut or scrubbed.
    fn clean_frame(&mut self) -> Option<Value<'a>> {
        let start = self.at;
        let mut facts = String::new();
        let mut seen = 0;
        let mut mark = b'{';
        // What the piece in front of the variables is remembered by, until it is.
        let mut unknown = None;
        if let Some(memo) = &mut self.memo {
            let rest = &self.text[start..];
            unknown = Memo::hash(rest);
            if let Some(piece) = unknown.and_then(|hash| memo.find(hash, rest)) {
                unknown = None;
                mark = b',';
                seen = piece.seen;
                if !piece.facts.is_empty() {
                    facts.reserve(piece.facts.len() + FRAME_FACTS_BYTES_MORE);
                    facts.push('{');
                    facts.push_str(&piece.facts);
                }
                self.at += piece.len();
            }
        }
        loop {
            let piece = self.text.get(start..=self.at)?;
            if !self.take(mark) {
                if let Some(hash) = unknown {
                    self.remember(hash, piece, &facts, seen);
                }
                break;
            }
            mark = b',';
            self.skip_blanks();
            let key_at = self.at;
            let (key, false) = self.raw_text()? else {
                return None;
            };
            let (attribute, bit, is_fact) = attribute(key)?;
            if seen & bit != 0 {
                return None;
            }
            if matches!(attribute, Attribute::Variables)
                && let Some(hash) = unknown.take()
            {
                self.remember(hash, piece, &facts, seen);
            }
            seen |= bit;
            if !self.take_colon() {
                return None;
            }
            if !self.clean_attribute(attribute) {
                return None;
            }
            if is_fact {
                if facts.is_empty() {
                    // A frame that says little must not take a hundred times its size.
                    facts.reserve(FRAME_FACTS_BYTES_GUESS.min(16 * (self.at - start)));
                }
                facts.push(if facts.is_empty() { '{' } else { ',' });
                facts.push_str(self.text.get(key_at..self.at)?);
            }
            self.skip_blanks();
        }
        if !self.take(b'}') {
            return None;
        }
        facts.push_str(if facts.is_empty() { "{}" } else { "}" });
        let json = self.text.get(start..self.at)?;
        Some(Value::Frame(Box::new(Frame {
            json: Cow::Borrowed(json),
            facts,
        })))
    }

    /// Remembers the clean piece that a frame begins with, which is given with the byte behind it.
    fn remember(&mut self, hash: u64, piece: &str, facts: &str, seen: u32) {
        if let Some(memo) = &mut self.memo {
            memo.add(
                hash,
                piece,
                facts.strip_prefix('{').unwrap_or_default(),
                seen,
            );
        }
    }

    fn clean_attribute(&mut self, attribute: Attribute) -> bool {
        let at = self.at;
        let is_clean = match attribute {
            // What has blanks around it, or is nothing but blanks, is trimmed.
            Attribute::Word(bytes_max) => self.raw_text().is_some_and(|(text, is_escaped)| {
                let stands = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_graphic);
                let text = text.as_bytes();
                !is_escaped
                    && text.len() <= bytes_max
                    && stands(text.first())
                    && stands(text.last())
            }),
            Attribute::Number => self.clean_number(),
            Attribute::Line => self.clean_line(),
            Attribute::Lines => self.clean_lines(),
            Attribute::Flag => self.clean_flag(),
            Attribute::Variables => {
                matches!(self.peek(), Some(b'{' | b'[')) && self.clean_value(&bounds::VARIABLES)
            }
        };
        if !is_clean && matches!(attribute, Attribute::Lines | Attribute::Variables) {
            self.unclean_at = at;
        }
        is_clean
    }

    /// Whether a number comes next that a line or a column has.
    fn clean_number(&mut self) -> bool {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += len;
        let goes_on = matches!(self.peek(), Some(b'.' | b'e' | b'E'));
        let is_short = len == 1 || (2..=9).contains(&len) && rest[0] != b'0';
        is_short && !goes_on
    }

    fn clean_flag(&mut self) -> bool {
        let word = match self.peek() {
            Some(b't') => "true",
            _ => "false",
        };
        self.word(word, Value::Null).is_some()
    }

    fn clean_line(&mut self) -> bool {
        let line = self.raw_text();
        line.is_some_and(|(line, _)| line.len() <= bounds::LINE_CHARS_MAX)
    }

    /// Whether a list of source lines comes next that are texts, and neither too many nor too long.
    fn clean_lines(&mut self) -> bool {
        if !self.take(b'[') {
            return false;
        }
        self.skip_blanks();
        for _ in 0..bounds::LINES_MAX {
            if !self.clean_line() {
                return false;
            }
            match self.another(b']') {
                Some(true) => {}
                end => return end.is_some(),
            }
        }
        false
    }

    /// Whether a value comes next of which [`bounds::trim`] would leave everything as it is. Where it is not easily seen, it is not.
    fn clean_value(&mut self, bounds: &Bounds) -> bool {
        match self.peek() {
            Some(b'"') => self.clean_text(bounds.chars),
            Some(b'{') => self.clean_entries(bounds, false).is_some(),
            Some(b'[') => self.clean_array(bounds),
            Some(b't') => self.word("true", Value::Null).is_some(),
            Some(b'f') => self.word("false", Value::Null).is_some(),
            Some(b'n') => self.word("null", Value::Null).is_some(),
            Some(b'-' | b'0'..=b'9') => self.number().is_some(),
            _ => false,
        }
    }

    /// The same, of the text whose opening quote comes next.
    #[inline]
    fn clean_text(&mut self, chars_max: usize) -> bool {
        let start = self.at + 1;
        let mut hints = Hints::default();
        if let Some(short) = Short::of(self.text.as_bytes(), start) {
            hints.add(short.run, short.these);
            self.at = start + short.len + 1;
            return short.len <= chars_max
                && (hints.are_none_of_short(short.len)
                    || self.is_clean(start, start + short.len, hints));
        }
        let see = |bytes: &[u8], at| plain_end_seen(bytes, at, &mut hints);
        match self.raw_text_with(see) {
            Some((text, _)) if text.len() > chars_max => false,
            Some((text, false)) => scrub::is_clean(text, hints),
            Some((text, true)) => scrub::is_clean_unescaped(text, hints, unescaped),
            None => false,
        }
    }

    /// Whether nothing is scrubbed in the text between two places.
    fn is_clean(&self, start: usize, end: usize, hints: Hints) -> bool {
        let text = self.text.get(start..end);
        text.is_some_and(|text| scrub::is_clean(text, hints))
    }

    fn clean_array(&mut self, bounds: &Bounds) -> bool {
        let Some(depth) = bounds.depth.checked_sub(1) else {
            return false;
        };
        let below = Bounds { depth, ..*bounds };
        self.at += 1;
        self.skip_blanks();
        if self.take(b']') {
            return true;
        }
        for _ in 0..bounds.entries {
            if !self.clean_value(&below) {
                return false;
            }
            match self.another(b']') {
                Some(true) => {}
                end => return end.is_some(),
            }
        }
        false
    }

    /// How many entries the object has that comes next, if it needs no change; perhaps only objects may be in it.
    fn clean_entries(&mut self, bounds: &Bounds, only_objects: bool) -> Option<usize> {
        let depth = bounds.depth.checked_sub(1)?;
        let below = Bounds { depth, ..*bounds };
        self.at += 1;
        self.skip_blanks();
        if self.take(b'}') {
            return Some(0);
        }
        let keys_start = self.keys.len();
        for len in 0..CLEAN_KEYS_MAX.min(bounds.entries) {
            self.clean_key(keys_start)?;
            if !self.take_colon() {
                return None;
            }
            let is_clean = match self.peek()? {
                b'{' => self.clean_value(&below),
                _ if only_objects => false,
                b'"' => self.clean_text(below.chars),
                _ => self.clean_value(&below),
            };
            if !is_clean {
                return None;
            }
            if !self.another(b'}')? {
                self.keys.truncate(keys_start);
                return Some(len + 1);
            }
        }
        None
    }

    /// Takes the key that comes next, if it is not too long, no secret's, and none of those from `keys_start` on.
    #[inline]
    fn clean_key(&mut self, keys_start: usize) -> Option<()> {
        let start = self.at + 1;
        let short = match self.peek() {
            Some(b'"') => Short::of(self.text.as_bytes(), start),
            _ => return None,
        };
        let (key, is_secret) = match (short, &mut self.memo) {
            (Some(short), Some(memo)) => {
                let text = self.text.as_bytes().get(start..start + short.len)?;
                self.at = start + short.len + 1;
                let word = memo::word_of(&short);
                (Key { word, text }, memo.is_secret_key(word, text))
            }
            _ => {
                let (text, false) = self.raw_text()? else {
                    return None;
                };
                let is_long = text.len() > bounds::NAME_CHARS_MAX;
                let text = text.as_bytes();
                (
                    Key { word: 0, text },
                    is_long || scrub::is_secret_name(text),
                )
            }
        };
        let mut known = self.keys.get(keys_start..)?.iter();
        // Keys of one length all have a word, but for the last ones of a body.
        let is_known = match key.word {
            0 => known.any(|known| known.text == key.text),
            word => known.any(|known| known.word == word),
        };
        if is_secret || is_known {
            return None;
        }
        self.keys.push(key);
        Some(())
    }

    /// The text that comes next as it stands between its quotes, if it holds no escape but those of one letter, and whether it holds one.
    pub(super) fn raw_text(&mut self) -> Option<(&'a str, bool)> {
        let start = self.at + 1;
        if self.peek() == Some(b'"')
            && let Some(short) = Short::of(self.text.as_bytes(), start)
        {
            self.at = start + short.len + 1;
            return Some((self.text.get(start..start + short.len)?, false));
        }
        self.raw_text_with(plain_end)
    }

    /// The same; `end` finds where what needs no look ends.
    #[inline]
    fn raw_text_with(
        &mut self,
        mut end: impl FnMut(&[u8], usize) -> usize,
    ) -> Option<(&'a str, bool)> {
        if !self.take(b'"') {
            return None;
        }
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut is_escaped = false;
        let mut at = start;
        loop {
            at = end(bytes, at);
            match bytes.get(at)? {
                b'"' => break,
                b'\\' => {
                    meant(*bytes.get(at + 1)?)?;
                    is_escaped = true;
                    at += 2;
                }
                _ => return None,
            }
        }
        self.at = at + 1;
        Some((self.text.get(start..at)?, is_escaped))
    }

    /// The text that comes next, if it holds no escape but those of one letter.
    pub(super) fn plain_text(&mut self) -> Option<Text<'a>> {
        match self.raw_text()? {
            (text, false) => Some(Cow::Borrowed(text)),
            (text, true) => unescaped(text).map(Cow::Owned),
        }
    }
}

/// What a letter behind a backslash stands for.
fn meant(letter: u8) -> Option<char> {
    Some(match letter {
        b'"' => '"',
        b'\\' => '\\',
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'/' => '/',
        _ => return None,
    })
}

/// A text without its escapes, which are of one letter.
fn unescaped(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(rest.get(..at)?);
        out.push(meant(*rest.as_bytes().get(at + 1)?)?);
        rest = rest.get(at + 2..)?;
    }
    out.push_str(rest);
    Some(out)
}
