//! Finds secrets: which keys hold them, and where texts do.
//!
//! Source: the words follow Sentry's data scrubber (getsentry/relay `relay-pii/src/regexes.rs`).

use std::sync::LazyLock;

use memchr::memmem;

use super::lanes::{self, LANES, Lanes};

/// What stands where a secret was.
pub const FILTERED: &str = "[Filtered]";

/// A key that holds one of these, whatever stands between its letters, holds a secret.
const SECRET_PARTS: [&str; 19] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "apikey",
    "accesskey",
    "privatekey",
    "signingkey",
    "credential",
    "mysqlpwd",
    "bearer",
    "authorization",
    "token",
    "cookie",
    "csrf",
    "xsrf",
    "sessionid",
    "creditcard",
    "cardnumber",
];

/// A key that is one of these holds a secret.
const SECRET_WORDS: [&str; 12] = [
    "auth",
    "pwd",
    "pass",
    "jwt",
    "otp",
    "sid",
    "cvv",
    "cvc",
    "ssn",
    "xapikey",
    "xauth",
    "sentryauth",
];

/// Whether the value of this key is secret by the key's name.
#[must_use]
pub fn is_secret_key(key: &str) -> bool {
    is_secret_name(key.as_bytes())
}

/// The same, of the bytes of a key.
pub(crate) fn is_secret_name(key: &[u8]) -> bool {
    if key.len() > 64 {
        return false;
    }
    if !could_be_secret_key(key) {
        return false;
    }
    let mut name = [0_u8; 64];
    let mut len = 0;
    for byte in key {
        name[len] = byte.to_ascii_lowercase();
        len += usize::from(byte.is_ascii_alphanumeric());
    }
    let name = &name[..len];
    let holds_part = |at: usize| {
        SECRET_PARTS
            .iter()
            .any(|part| name[at..].starts_with(part.as_bytes()))
    };
    (0..len).any(holds_part)
        || (len <= SECRET_WORD_BYTES_MAX && SECRET_WORDS.iter().any(|word| word.as_bytes() == name))
}

/// Whether a key holds the first three letters of a part or a word at all. Every key of every event comes here, and few do.
fn could_be_secret_key(key: &[u8]) -> bool {
    let mut letters = 0_usize;
    let mut seen = 0;
    for byte in key {
        let letter = LETTERS[usize::from(*byte)];
        if letter == NO_LETTER {
            continue;
        }
        letters = (letters << 5 | usize::from(letter)) & 0x7fff;
        seen |= SECRET_STARTS[letters / 64] >> (letters % 64);
    }
    seen & 1 == 1
}

/// What a byte of a key is that stands for nothing.
const NO_LETTER: u8 = u8::MAX;

/// Five bits of each letter and digit: a letter's place in the alphabet.
static LETTERS: [u8; 256] = {
    let mut letters = [NO_LETTER; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        if byte.is_ascii_alphanumeric() {
            letters[byte as usize] = byte & 31;
        }
        byte += 1;
    }
    letters
};

/// A bit for each three letters that [`SECRET_PARTS`] and [`SECRET_WORDS`] begin with, five bits of each.
static SECRET_STARTS: [u64; (1 << 15) / 64] = {
    let mut starts = [0; (1 << 15) / 64];
    let mut at = 0;
    while at < SECRET_PARTS.len() + SECRET_WORDS.len() {
        let letters = if at < SECRET_PARTS.len() {
            first_three(SECRET_PARTS[at])
        } else {
            first_three(SECRET_WORDS[at - SECRET_PARTS.len()])
        };
        starts[letters / 64] |= 1 << (letters % 64);
        at += 1;
    }
    starts
};

const fn first_three(word: &str) -> usize {
    let word = word.as_bytes();
    ((word[0] & 31) as usize) << 10 | ((word[1] & 31) as usize) << 5 | (word[2] & 31) as usize
}

/// No word of [`SECRET_WORDS`] is longer.
const SECRET_WORD_BYTES_MAX: usize = 10;

/// Whether bytes of a text tell that a name and its value could be in it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hints {
    has_sign: bool,
}

impl Hints {
    fn of(text: &str) -> Hints {
        let has_sign = memchr::memchr2(b'=', b':', text.as_bytes()).is_some();
        Hints { has_sign }
    }

    /// Adds those bytes of `run` whose bits are in `these`.
    #[inline]
    pub(crate) fn add(&mut self, run: &[u8; LANES], these: Lanes) {
        self.has_sign |= lanes::signs(run) & these != 0;
    }

    /// Whether no search could find anything in a text of so many bytes, whatever they are.
    #[inline]
    pub(crate) fn are_none_of_short(self, len: usize) -> bool {
        !self.has_sign && len < CARD_BYTES_MIN
    }

    /// Whether no search could find anything in a text, be it as it stands in JSON or as it is: no escape stands for anything that a
    /// search begins with.
    #[inline]
    fn are_none(self, text: &[u8]) -> bool {
        self.are_none_of_short(text.len())
            || !self.has_sign && card_run(text, 0).is_none() && !could_bear(text)
    }
}

/// Whether a text could hold a bearer's token.
fn could_bear(text: &[u8]) -> bool {
    static EARER: LazyLock<memmem::Finder<'static>> =
        LazyLock::new(|| memmem::Finder::new(b"earer "));
    text.len() >= "Bearer ".len() + BEARER_BYTES_MIN && EARER.find(text).is_some()
}

/// Digits of the shortest and the longest card number.
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

/// A text with fewer bytes holds no card number.
const CARD_BYTES_MIN: usize = *CARD_DIGITS.start();

/// A shorter word after `Bearer` is prose.
const BEARER_BYTES_MIN: usize = 16;

/// Replaces the secrets within a text: card numbers, `user:password@` of URLs, bearer tokens, and the values of secret keys in
/// `key=value` and `"key": "value"`. `None` if there are none.
#[must_use]
pub fn scrub_text(text: &str) -> Option<String> {
    let mut spans = find_all(text, Hints::of(text));
    if spans.is_empty() {
        return None;
    }
    spans.sort_unstable();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for (start, end) in spans {
        if start < at {
            continue;
        }
        out.push_str(&text[at..start]);
        out.push_str(FILTERED);
        at = end;
    }
    out.push_str(&text[at..]);
    (out != text).then_some(out)
}

/// Whether a text holds nothing that [`scrub_text`] would replace.
#[inline]
pub(crate) fn is_clean(text: &str, hints: Hints) -> bool {
    hints.are_none(text.as_bytes()) || find_all(text, hints).is_empty()
}

/// Whether a text that held escapes of one letter, and no longer does, holds nothing that [`scrub_text`] would replace. The hints are of the
/// escaped text.
pub(crate) fn is_clean_unescaped(
    escaped: &str,
    hints: Hints,
    unescaped: impl FnOnce(&str) -> Option<String>,
) -> bool {
    hints.are_none(escaped.as_bytes())
        || unescaped(escaped).is_some_and(|text| find_all(&text, hints).is_empty())
}

/// Where the secrets of a text are, in no order.
fn find_all(text: &str, hints: Hints) -> Vec<Span> {
    let mut spans = Vec::new();
    find_cards(text.as_bytes(), &mut spans);
    if hints.has_sign && memchr::memchr(b'@', text.as_bytes()).is_some() {
        find_url_passwords(text, &mut spans);
    }
    if could_bear(text.as_bytes()) {
        find_bearers(text, &mut spans);
    }
    if hints.has_sign {
        find_assignments(text, &mut spans);
    }
    spans
}

type Span = (usize, usize);

/// The first run, from `at` on, of bytes that stand in card numbers, if it could hold one: where it begins and ends. What stands before
/// `at` stands in none. Of as many bytes as the shortest number has, only the last needs a look.
fn card_run(text: &[u8], mut at: usize) -> Option<Span> {
    let stands = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b' ' | b'-');
    while let Some(bytes) = text.get(at..at + CARD_BYTES_MIN) {
        let Some(before) = bytes.iter().rposition(|byte| !stands(byte)) else {
            let more = text[at + CARD_BYTES_MIN..]
                .iter()
                .take_while(|byte| stands(byte));
            return Some((at, at + CARD_BYTES_MIN + more.count()));
        };
        at += before + 1;
    }
    None
}

/// Runs of 13 to 19 digits, in groups perhaps, that pass the check of card numbers.
fn find_cards(text: &[u8], spans: &mut Vec<Span>) {
    let mut at = 0;
    while let Some((start, end)) = card_run(text, at) {
        find_cards_within(text, start, end, spans);
        at = end;
    }
}

/// The same, of a run of bytes that stand in card numbers.
fn find_cards_within(text: &[u8], mut at: usize, run_end: usize, spans: &mut Vec<Span>) {
    while at < run_end {
        if !text[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let mut end = at;
        let mut digits = [0; *CARD_DIGITS.end()];
        let mut len = 0;
        let mut last = at;
        while end < text.len() {
            match text[end] {
                byte if byte.is_ascii_digit() => {
                    // Of a longer run only the length counts.
                    if let Some(digit) = digits.get_mut(len) {
                        *digit = byte - b'0';
                    }
                    len += 1;
                    last = end + 1;
                }
                b' ' | b'-' if last == end => {}
                _ => break,
            }
            end += 1;
        }
        let stands_alone = (at == 0 || !is_word(text[at - 1]))
            && text.get(last).is_none_or(|byte| !is_word(*byte));
        if stands_alone && CARD_DIGITS.contains(&len) && is_card(&digits[..len]) {
            spans.push((at, last));
        }
        at = end.max(at + 1);
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.')
}

/// Luhn's check, and a first digit that cards have.
fn is_card(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| match (index % 2, u32::from(*digit)) {
            (0, digit) => digit,
            (_, digit) if digit > 4 => digit * 2 - 9,
            (_, digit) => digit * 2,
        })
        .sum();
    matches!(digits[0], 3..=6) && sum.is_multiple_of(10)
}

fn find_url_passwords(text: &str, spans: &mut Vec<Span>) {
    for (at, _) in text.match_indices("://") {
        let start = at + 3;
        let rest = &text[start..];
        let end = rest
            .find(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\''))
            .unwrap_or(rest.len());
        if let Some(host_at) = rest[..end].rfind('@')
            && let Some(colon) = rest[..host_at].find(':')
            && colon + 1 < host_at
        {
            spans.push((start + colon + 1, start + host_at));
        }
    }
}

fn find_bearers(text: &str, spans: &mut Vec<Span>) {
    let bytes = text.as_bytes();
    for at in memchr::memchr2_iter(b'B', b'b', bytes) {
        let Some(token) = bytes[at + 1..].strip_prefix(b"earer ") else {
            continue;
        };
        let len = token
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte))
            .count();
        if len >= BEARER_BYTES_MIN {
            let start = at + "Bearer ".len();
            spans.push((start, start + len));
        }
    }
}

/// `password=x`, `"password": "x"`, `'password': 'x'`; prose such as `invalid token: x` stays.
fn find_assignments(text: &str, spans: &mut Vec<Span>) {
    let bytes = text.as_bytes();
    // What lies within a secret goes with it; looking there too would take the square of the text's length.
    let mut searched = 0;
    for at in memchr::memchr2_iter(b'=', b':', bytes) {
        if at < searched {
            continue;
        }
        let before = &text[..at];
        let quote = before
            .chars()
            .next_back()
            .filter(|c| matches!(c, '"' | '\''));
        let name_end = if quote.is_some() { at - 1 } else { at };
        if bytes[at] == b':' && quote.is_none() {
            continue;
        }
        let name_len = bytes[..name_end]
            .iter()
            .rev()
            .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
            .count();
        if name_len == 0 || !is_secret_key(&text[name_end - name_len..name_end]) {
            continue;
        }
        let gap = bytes[at + 1..]
            .iter()
            .take_while(|byte| **byte == b' ')
            .count();
        if bytes[at] == b'=' && gap > 0 {
            continue;
        }
        let start = at + 1 + gap;
        let (start, len) = match bytes.get(start) {
            Some(quote @ (b'"' | b'\'')) => {
                let body = &bytes[start + 1..];
                (
                    start + 1,
                    body.iter()
                        .position(|byte| byte == quote)
                        .unwrap_or(body.len()),
                )
            }
            _ => {
                let ends = |byte: &u8| byte.is_ascii_whitespace() || b"&,;)}]\"'#".contains(byte);
                (
                    start,
                    bytes[start.min(bytes.len())..]
                        .iter()
                        .position(ends)
                        .unwrap_or(bytes.len() - start),
                )
            }
        };
        searched = start + len;
        if len > 0 && !text[start..].starts_with(FILTERED) {
            spans.push((start, start + len));
        }
    }
}

#[cfg(test)]
mod tests;
