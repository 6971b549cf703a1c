//! Replaces what varies in a text (ids, numbers, addresses, times, quoted words) by what it is, in one pass.
//!
//! `User 17 not found` and `User 9821 not found` both become `User <int> not found`.
//!
//! Source: the list of kinds follows getsentry/sentry `grouping/parameterization.py`.

mod kinds;

use std::borrow::Cow;

/// Texts are cut to this many bytes first: what groups is said at the start.
const TEXT_BYTES_MAX: usize = 4096;

/// The longest quoted text that counts as a value rather than as prose, in bytes.
const QUOTED_BYTES_MAX: usize = 200;

/// How many equals signs of one word are looked behind: `a=b=c` is one thing, a thousand are noise, and each costs a look
/// at all that follows.
const KEYS_MAX: usize = 8;

/// What stands for what was replaced.
const PLACEHOLDERS: [&str; 16] = [
    "<uuid>",
    "<md5>",
    "<sha1>",
    "<sha256>",
    "<hex>",
    "<token>",
    "<ip>",
    "<email>",
    "<url>",
    "<hostname>",
    "<path>",
    "<date>",
    "<duration>",
    "<float>",
    "<int>",
    "<quoted_str>",
];

/// The placeholder for a boolean in `key=value`.
const BOOL: &str = "<bool>";

/// Replaces what varies. Applying it twice changes nothing more.
#[must_use]
pub fn parameterize(text: &str) -> String {
    let text = readable(text);
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(next) = text[at..].chars().next() {
        let rest = &text[at..];
        if let Some(placeholder) = placeholder(rest) {
            out.push_str(placeholder);
            at += placeholder.len();
        } else if let Some(len) = quoted_len(&text[..at], rest) {
            out.push_str("<quoted_str>");
            at += len;
        } else if is_delimiter(next) {
            out.push(next);
            at += next.len_utf8();
        } else {
            let len = rest.find(is_delimiter).unwrap_or(rest.len());
            let glued = text[..at].ends_with('>') && ends_with_placeholder(&text[..at])
                || placeholder_follows(&rest[len..]);
            at += if glued {
                segments(&rest[..len], &mut out);
                len
            } else {
                word(rest, len, &mut out)
            };
        }
    }
    out
}

/// As much of a text as [`parameterize`] looks at.
pub(crate) fn readable(text: &str) -> &str {
    cut(text, TEXT_BYTES_MAX)
}

/// The start of `text`, at most `len_max` bytes, ending between characters.
fn cut(text: &str, len_max: usize) -> &str {
    let mut len = len_max.min(text.len());
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    &text[..len]
}

fn is_delimiter(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            ',' | ';' | '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' | '"' | '\'' | '`' | '|'
        )
}

fn placeholder(text: &str) -> Option<&'static str> {
    if !text.starts_with('<') {
        return None;
    }
    PLACEHOLDERS
        .into_iter()
        .chain([BOOL])
        .find(|placeholder| text.starts_with(placeholder))
}

fn placeholder_follows(text: &str) -> bool {
    placeholder(text).is_some()
}

fn ends_with_placeholder(text: &str) -> bool {
    PLACEHOLDERS
        .into_iter()
        .chain([BOOL])
        .any(|placeholder| text.ends_with(placeholder))
}

/// The length of the quoted text at the start of `rest`, quotes included; an apostrophe within a word is no quote.
fn quoted_len(before: &str, rest: &str) -> Option<usize> {
    let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let is_inside = |c: Option<char>| {
        c.is_some_and(|c| c.is_alphanumeric() || matches!(c, '<' | '>' | '\'' | '"'))
    };
    if before
        .chars()
        .next_back()
        .is_some_and(|c| c.is_alphanumeric() || c == '>')
    {
        return None;
    }
    let body = cut(&rest[1..], QUOTED_BYTES_MAX);
    for (index, c) in body.char_indices() {
        if c == '\n' {
            return None;
        }
        if c == quote && !is_inside(rest[index + 2..].chars().next()) {
            return Some(index + 2);
        }
    }
    None
}

/// Writes the word of `len` bytes at the start of `rest`, replaced; returns how many bytes it took, which is more than `len` for a date and its time.
fn word(rest: &str, len: usize, out: &mut String) -> usize {
    let whole = &rest[..len];
    let body = whole.trim_end_matches(['.', ':', '!', '?']);
    let tail = &whole[body.len()..];
    if kinds::is_date(body) && tail.is_empty() {
        out.push_str("<date>");
        return kinds::date_len(rest, len);
    }
    value(body, KEYS_MAX, out);
    out.push_str(tail);
    len
}

/// Writes a word without its final punctuation.
fn value(body: &str, keys_max: usize, out: &mut String) {
    if let Some(placeholder) = kinds::whole(body) {
        out.push_str(placeholder);
        return;
    }
    if let Some((key, rest)) = body.split_once('=')
        && keys_max > 0
        && !key.is_empty()
        && !rest.is_empty()
    {
        segments(key, out);
        out.push('=');
        if kinds::is_bool(rest) {
            out.push_str(BOOL);
        } else {
            value(rest, keys_max - 1, out);
        }
        return;
    }
    segments(body, out);
}

/// Replaces the parts of a word that are numbers or ids: `order-8841` becomes `order-<int>`.
fn segments(body: &str, out: &mut String) {
    let mut rest = body;
    while !rest.is_empty() {
        let len = rest
            .find(|c: char| !c.is_alphanumeric())
            .unwrap_or(rest.len());
        if len == 0 {
            let c = rest.chars().next().unwrap_or_default();
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let (segment, after) = rest.split_at(len);
        out.push_str(&kinds::segment(segment).unwrap_or(Cow::Borrowed(segment)));
        rest = after;
    }
}

#[cfg(test)]
mod tests;
