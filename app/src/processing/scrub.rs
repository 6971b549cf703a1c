//! Finds secrets: which keys hold them, and where texts do.
//!
//! Source: the words follow Sentry's data scrubber (getsentry/relay `relay-pii/src/regexes.rs`).

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
    if key.len() > 64 {
        return false;
    }
    if !could_be_secret_key(key) {
        return false;
    }
    let mut name = [0_u8; 64];
    let mut len = 0;
    for byte in key.bytes() {
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
fn could_be_secret_key(key: &str) -> bool {
    let mut letters = 0_usize;
    let mut seen = 0;
    for byte in key.bytes().filter(u8::is_ascii_alphanumeric) {
        letters = (letters << 5 | usize::from(byte & 31)) & 0x7fff;
        seen |= SECRET_STARTS[letters / 64] >> (letters % 64);
    }
    seen & 1 == 1
}

/// A bit for each three letters that [`SECRET_PARTS`] and [`SECRET_WORDS`] begin with; five bits are a letter's place in the alphabet.
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

/// What a text would have to hold for one of the searches to find anything.
#[derive(Clone, Copy, Debug, Default)]
struct Hints {
    digits: usize,
    has_sign: bool,
    has_at: bool,
    has_bearer: bool,
}

impl Hints {
    /// One look at each byte, many at a time, which settles it for nearly every text.
    fn of(text: &str) -> Hints {
        let mut hints = Hints::default();
        let (runs, rest) = text.as_bytes().as_chunks::<32>();
        for run in runs {
            hints.add(run);
        }
        hints.add(rest);
        hints.has_bearer &= text.len() >= "Bearer ".len() + BEARER_BYTES_MIN;
        hints
    }

    /// The same, of a text in a body that is known.
    fn among(mut self, of_body: Searches) -> Hints {
        self.has_at &= of_body.has_at;
        self.has_bearer &= of_body.has_bearer;
        self
    }

    /// Whether no search could find anything.
    fn are_none(&self) -> bool {
        self.digits < *CARD_DIGITS.start() && !self.has_bearer && !self.has_sign
    }

    /// Adds at most 255 bytes.
    fn add(&mut self, bytes: &[u8]) {
        let (mut digits, mut signs, mut ats, mut bearers) = (0_u8, 0_u8, 0_u8, 0_u8);
        for byte in bytes {
            digits += u8::from(byte.wrapping_sub(b'0') < 10);
            signs |= u8::from((*byte == b'=') | (*byte == b':'));
            ats |= u8::from(*byte == b'@');
            bearers |= u8::from(byte | 0x20 == b'b');
        }
        self.digits += usize::from(digits);
        self.has_sign |= signs != 0;
        self.has_at |= ats != 0;
        self.has_bearer |= bearers != 0;
    }
}

/// Digits of the shortest and the longest card number.
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

/// A shorter word after `Bearer` is prose.
const BEARER_BYTES_MIN: usize = 16;

/// Replaces the secrets within a text: card numbers, `user:password@` of URLs, bearer tokens, and the values of secret keys in
/// `key=value` and `"key": "value"`. `None` if there are none.
#[must_use]
pub fn scrub_text(text: &str) -> Option<String> {
    let mut spans = secrets(text);
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

/// Which searches could find anything in any text of a body: two looks at all of it save many at each.
#[derive(Clone, Copy, Debug)]
pub struct Searches {
    has_at: bool,
    has_bearer: bool,
}

impl Searches {
    /// Of a body of JSON whose texts are looked at as they stand there, or with nothing but escapes of one letter.
    #[must_use]
    pub fn of(body: &str) -> Searches {
        let body = body.as_bytes();
        Searches {
            has_at: memchr::memchr(b'@', body).is_some(),
            has_bearer: memchr::memmem::find(body, b"earer ").is_some(),
        }
    }
}

/// Whether a text of a body holds nothing that [`scrub_text`] would replace.
#[must_use]
pub fn is_clean(text: &str, of_body: Searches) -> bool {
    let hints = Hints::of(text).among(of_body);
    hints.are_none() || find_all(text, hints).is_empty()
}

/// Whether a text of a body that holds escapes of one letter needs no search for what [`scrub_text`] would replace: no escape stands for
/// anything that a search begins with.
#[must_use]
pub fn is_surely_clean(escaped: &str, of_body: Searches) -> bool {
    Hints::of(escaped).among(of_body).are_none()
}

/// Where the secrets of a text are, in no order.
fn secrets(text: &str) -> Vec<Span> {
    find_all(text, Hints::of(text))
}

fn find_all(text: &str, hints: Hints) -> Vec<Span> {
    let mut spans = Vec::new();
    if hints.digits >= *CARD_DIGITS.start() {
        find_cards(text.as_bytes(), &mut spans);
    }
    if hints.has_sign && hints.has_at {
        find_url_passwords(text, &mut spans);
    }
    if hints.has_bearer {
        find_bearers(text, &mut spans);
    }
    if hints.has_sign {
        find_assignments(text, &mut spans);
    }
    spans
}

type Span = (usize, usize);

/// Runs of 13 to 19 digits, in groups perhaps, that pass the check of card numbers.
fn find_cards(text: &[u8], spans: &mut Vec<Span>) {
    let mut at = 0;
    while at < text.len() {
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
mod tests {
    use super::{is_secret_key, scrub_text};
    use proptest::prelude::{prop_assert_eq, proptest};

    #[test]
    fn secret_keys_in_any_spelling() {
        for key in [
            "password",
            "userPassword",
            "X-Api-Key",
            "API_KEY",
            "authorization",
            "Cookie",
            "Set-Cookie",
            "csrftoken",
            "client_secret",
            "accessToken",
            "auth",
            "X-Auth-Token",
            "credit_card",
        ] {
            assert!(is_secret_key(key), "{key}");
        }
        for word in super::SECRET_WORDS.into_iter().chain(super::SECRET_PARTS) {
            assert!(is_secret_key(word), "{word}");
        }
        for key in [
            "author",
            "passenger",
            "message",
            "assid",
            "url",
            "key",
            "",
            "authenticated",
            "compass",
        ] {
            assert!(!is_secret_key(key), "{key}");
        }
        assert!(!is_secret_key(&"password".repeat(20)));
    }

    #[test]
    fn secrets_in_texts() {
        for (text, expected) in [
            (
                "card 4242 4242 4242 4242 declined",
                "card [Filtered] declined",
            ),
            ("card 4242424242424242!", "card [Filtered]!"),
            (
                "postgres://app:hunter2@db/x?password=y&z=1",
                "postgres://app:[Filtered]@db/x?password=[Filtered]&z=1",
            ),
            (
                "Authorization: Bearer abcdefghijklmnop1234",
                "Authorization: Bearer [Filtered]",
            ),
            (
                "{'password': 'hunter2', 'a': 1}",
                "{'password': '[Filtered]', 'a': 1}",
            ),
            ("{\"token\":\"abc\"}", "{\"token\":\"[Filtered]\"}"),
        ] {
            assert_eq!(scrub_text(text).as_deref().unwrap_or(text), expected);
        }
    }

    /// A key a secret's value holds is no reason to read the rest of the text once more.
    #[test]
    fn a_megabyte_of_secrets_is_read_once() {
        let text = "token=".repeat(170_000);
        assert_eq!(scrub_text(&text).unwrap(), "token=[Filtered]");
    }

    #[test]
    fn prose_stays() {
        for text in [
            "Unexpected token: } in JSON",
            "order 4242424242424241 failed",
            "invalid password: too short",
            "http://localhost:9000/@x",
            "id 9ec79c33ec9942ab8353589fcb2e04dc",
        ] {
            assert_eq!(scrub_text(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_scrubbed_once(text in ".{0,60}|(password|token|=|:|'|\"| |://|@|[0-9]{12,17}|Bearer |é){0,12}") {
            if let Some(once) = scrub_text(&text) {
                prop_assert_eq!(scrub_text(&once), None);
            }
        }
    }
}
