//! What a word is: pure tests on one word, no search.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

/// Top-level domains that make a dotted name a host rather than a module.
const HOST_ENDINGS: [&str; 24] = [
    "com",
    "net",
    "org",
    "io",
    "dev",
    "app",
    "cloud",
    "local",
    "internal",
    "localdomain",
    "lan",
    "co",
    "ai",
    "eu",
    "de",
    "uk",
    "fr",
    "nl",
    "us",
    "info",
    "biz",
    "ch",
    "at",
    "jp",
];

/// The placeholder for a whole word, if it is of one kind.
pub(super) fn whole(word: &str) -> Option<&'static str> {
    if !word.is_ascii() {
        return (word.contains("://")).then_some("<url>");
    }
    if is_url(word) {
        return Some("<url>");
    }
    if is_email(word) {
        return Some("<email>");
    }
    if is_uuid(word) {
        return Some("<uuid>");
    }
    if is_date(word) || is_time(word) {
        return Some("<date>");
    }
    if is_ip(word) {
        return Some("<ip>");
    }
    if is_path(word) {
        return Some("<path>");
    }
    let number = word.strip_prefix(['-', '+']).unwrap_or(word);
    if let Some(placeholder) = number_kind(number) {
        return Some(placeholder);
    }
    if is_duration(number) {
        return Some("<duration>");
    }
    if is_host(word) {
        return Some("<hostname>");
    }
    hex_kind(word)
}

/// What a part of a compound word becomes, if it is a number or an id.
pub(super) fn segment(segment: &str) -> Option<Cow<'static, str>> {
    if !segment.is_ascii() {
        return None;
    }
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    if digits == segment.len() {
        return Some(Cow::Borrowed("<int>"));
    }
    if digits == 0 {
        return hex_kind(segment)
            .filter(|_| segment.len() >= 32)
            .map(Cow::Borrowed);
    }
    if let Some(placeholder) = hex_kind(segment) {
        return Some(Cow::Borrowed(placeholder));
    }
    if digits >= 3 && segment.len() >= 16 {
        return Some(Cow::Borrowed("<token>"));
    }
    // A number with its unit: `512MB`.
    let unit = segment.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_unit = unit.len() <= 3
        && unit.len() < segment.len()
        && unit.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_unit.then(|| Cow::Owned(format!("<int>{unit}")))
}

/// Whether a value says yes or no.
pub(super) fn is_bool(word: &str) -> bool {
    ["true", "false", "yes", "no", "on", "off"]
        .iter()
        .any(|known| word.eq_ignore_ascii_case(known))
}

/// Whether a word is a date, perhaps with its time: `2024-05-01`, `2024/05/01`, `2024-05-01T10:20:30.5Z`.
pub(super) fn is_date(word: &str) -> bool {
    let bytes = word.as_bytes();
    let Some(date) = bytes.get(..10) else {
        return false;
    };
    let separator = date[4];
    let is_day = matches!(separator, b'-' | b'/')
        && date[7] == separator
        && date
            .iter()
            .enumerate()
            .all(|(index, byte)| matches!(index, 4 | 7) || byte.is_ascii_digit());
    is_day
        && (bytes.len() == 10 || (matches!(bytes[10], b'T' | b't' | b'_') && is_time(&word[11..])))
}

/// How many bytes a date of `len` bytes at the start of `text` takes together with a time and an offset that follow it.
pub(super) fn date_len(text: &str, len: usize) -> usize {
    let mut end = len;
    for part in [is_time as fn(&str) -> bool, is_offset] {
        let Some(after) = text[end..].strip_prefix(' ') else {
            break;
        };
        let next = after.find(super::is_delimiter).unwrap_or(after.len());
        if !part(&after[..next]) {
            break;
        }
        end += 1 + next;
        // `10:20:30,123`: Python's logging writes milliseconds so.
        if let Some(millis) = text[end..].strip_prefix(',') {
            let digits = millis.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 3 {
                end += 4;
            }
        }
    }
    end
}

fn is_offset(word: &str) -> bool {
    matches!(word, "UTC" | "GMT" | "Z")
        || (word.len() >= 5
            && word.starts_with(['+', '-'])
            && word[1..]
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b':'))
}

/// Whether a word is a time of day: `10:20`, `10:20:30.5`, `10:20:30+02:00`, `10:20:30Z`.
fn is_time(word: &str) -> bool {
    let word = word.strip_suffix(['Z', 'z']).unwrap_or(word);
    let end = word.find(['+', '-']).unwrap_or(word.len());
    let (clock, offset) = word.split_at(end);
    let mut parts = clock.split(':');
    let two = |part: Option<&str>| part.is_some_and(|part| part.len() == 2 && all_digits(part));
    if !two(parts.next()) || !two(parts.next()) {
        return false;
    }
    let seconds_fit = parts.next().is_none_or(|seconds| {
        let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
        two(Some(whole)) && all_digits(fraction)
    });
    seconds_fit
        && parts.next().is_none()
        && (offset.is_empty() || is_offset(offset) || offset.len() == 3)
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_url(word: &str) -> bool {
    word.split_once("://").is_some_and(|(scheme, rest)| {
        !rest.is_empty()
            && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'.' | b'-'))
    })
}

fn is_email(word: &str) -> bool {
    word.split_once('@').is_some_and(|(name, host)| {
        let is_name = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'+' | b'-' | b'%')
        };
        !name.is_empty()
            && name.bytes().all(is_name)
            && host.contains('.')
            && !host.starts_with('.')
            && host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
    })
}

fn is_uuid(word: &str) -> bool {
    word.len() == 36
        && word.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn is_ip(word: &str) -> bool {
    let starts_well = word.starts_with(|c: char| c.is_ascii_hexdigit() || c == ':');
    if !starts_well || !word.contains([':', '.']) {
        return false;
    }
    let host = word.split_once('/').map_or(
        word,
        |(host, bits)| if all_digits(bits) { host } else { word },
    );
    host.parse::<SocketAddr>().is_ok()
        || host.parse::<IpAddr>().is_ok_and(|ip| match ip {
            IpAddr::V4(_) => true,
            // `::` and `a::b` are paths of C++ and Rust as well.
            IpAddr::V6(_) => {
                host.bytes().any(|byte| byte.is_ascii_digit())
                    && host.matches(':').count() >= 2
                    && host.len() > 3
            }
        })
}

fn is_path(word: &str) -> bool {
    let bytes = word.as_bytes();
    let is_drive = bytes.len() > 3
        && bytes[0].is_ascii_alphabetic()
        && bytes[1] == b':'
        && matches!(bytes[2], b'\\' | b'/');
    let is_rooted = ["/", "./", "../", "~/", "\\\\"]
        .iter()
        .any(|start| word.starts_with(start))
        && word.bytes().any(|byte| byte.is_ascii_alphanumeric());
    is_drive || is_rooted
}

fn number_kind(word: &str) -> Option<&'static str> {
    if !word.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some("<int>");
    }
    let is_float = word
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'))
        && word.contains('.')
        && word.parse::<f64>().is_ok();
    is_float.then_some("<float>")
}

fn is_duration(word: &str) -> bool {
    const UNITS: [&str; 12] = [
        "ns", "us", "ms", "s", "sec", "secs", "m", "min", "mins", "h", "hrs", "d",
    ];
    let mut rest = word;
    let mut parts = 0;
    while !rest.is_empty() {
        let unit_at = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(unit_at);
        let unit_len = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        if number.parse::<f64>().is_err() || !UNITS.contains(&unit) {
            return false;
        }
        parts += 1;
        rest = after;
    }
    parts > 0
}

fn is_host(word: &str) -> bool {
    let (name, port) = word.split_once(':').unwrap_or((word, "0"));
    if !all_digits(port) || name.is_empty() {
        return false;
    }
    if name == "localhost" {
        return true;
    }
    let labels_fit = name.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    });
    let ending = name.rsplit('.').next().unwrap_or_default();
    labels_fit && name.contains('.') && HOST_ENDINGS.contains(&ending)
}

fn hex_kind(word: &str) -> Option<&'static str> {
    if let Some(digits) = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        return (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .then_some("<hex>");
    }
    if word.len() < 6 || !word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    match word.len() {
        32 => Some("<md5>"),
        40 => Some("<sha1>"),
        64 => Some("<sha256>"),
        // `facade` and `deadbeef` may be words; with a digit among them they are not.
        _ => word
            .bytes()
            .any(|byte| byte.is_ascii_digit())
            .then_some("<hex>"),
    }
}
