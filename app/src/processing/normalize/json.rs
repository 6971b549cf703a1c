//! JSON as SDKs really write it: with `NaN`, half characters, raw control characters, and depth without end.
//!
//! Source: getsentry/relay `endpoints/store.rs` for the tokens of old Python clients.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::parser;
use super::value::Value;

/// Deeper values are cut off by the repair; the parser itself refuses at 128.
const DEPTH_MAX: usize = 100;

/// Parses an event leniently: well-formed JSON at once, anything else after a repair. No text in the result holds NUL. Without a
/// repair, texts are borrowed from `bytes`.
///
/// # Errors
/// The parser's words if even the repair does not make it JSON.
pub(super) fn parse(bytes: &[u8]) -> Result<Value<'_>, String> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse_with(text, parser::parse_event),
        Err(_) => {
            let text = String::from_utf8_lossy(bytes);
            parse_with(&text, parser::parse_event).map(Value::into_owned)
        }
    }
}

/// Parses a text that is not an event as [`parse`] does.
pub(super) fn parse_text(text: &str) -> Result<Value<'_>, String> {
    parse_with(text, parser::parse)
}

fn parse_with(
    text: &str,
    parse: for<'t> fn(&'t str) -> Option<Value<'t>>,
) -> Result<Value<'_>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(value) = parse(text) {
        return Ok(value);
    }
    let repaired = repair(text);
    match parse(&repaired) {
        Some(value) => Ok(value.into_owned()),
        None => Err(complaint(&repaired)),
    }
}

/// What serde's parser, which says where and why, says of a text that ours refuses.
fn complaint(text: &str) -> String {
    serde_json::from_str::<IgnoredAny>(text)
        .err()
        .map_or_else(|| "not readable".to_owned(), |error| error.to_string())
}

/// One scan that mends what a parser would refuse; what it cannot mend stays for the parser to name.
fn repair(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut depth = 0_usize;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '"' => string(rest, &mut out),
            '{' | '[' if depth >= DEPTH_MAX => {
                out.push_str("null");
                nested_len(rest)
            }
            '-' | '0'..='9' | 'N' | 'I' => number(rest, &mut out),
            _ => {
                match c {
                    '{' | '[' => depth += 1,
                    '}' | ']' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                out.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    out
}

/// Copies the string at the start of `text`, mended; returns its length.
fn string(text: &str, out: &mut String) -> usize {
    out.push('"');
    let mut at = 1;
    while let Some(c) = text[at..].chars().next() {
        at += c.len_utf8();
        match c {
            '"' => {
                out.push('"');
                return at;
            }
            '\\' => at += escape(&text[at..], out),
            '\0' => out.push('\u{fffd}'),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    at
}

/// Copies the escape whose backslash was just read; returns the length of what follows the backslash.
fn escape(text: &str, out: &mut String) -> usize {
    let unit = |text: &str| {
        let digits = text.strip_prefix('u')?.get(..4)?;
        digits
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit())
            .then(|| u32::from_str_radix(digits, 16).ok())?
    };
    match text.chars().next() {
        Some(c @ ('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't')) => {
            out.push('\\');
            out.push(c);
            1
        }
        Some('u') => match unit(text) {
            None => {
                out.push_str("\\\\");
                0
            }
            Some(0) => {
                out.push('\u{fffd}');
                5
            }
            Some(0xd800..=0xdbff) => {
                let low = text[5..].strip_prefix('\\').and_then(unit);
                if matches!(low, Some(0xdc00..=0xdfff)) {
                    out.push('\\');
                    out.push_str(&text[..11]);
                    11
                } else {
                    out.push('\u{fffd}');
                    5
                }
            }
            Some(0xdc00..=0xdfff) => {
                out.push('\u{fffd}');
                5
            }
            Some(_) => {
                out.push('\\');
                out.push_str(&text[..5]);
                5
            }
        },
        _ => {
            out.push_str("\\\\");
            0
        }
    }
}

/// Copies the number at the start of `text`, or `null` for what JSON has no number for; returns its length.
fn number(text: &str, out: &mut String) -> usize {
    let len = text
        .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '+' | '.'))
        .unwrap_or(text.len())
        .max(1);
    let token = &text[..len];
    let known = match token {
        "NaN" | "-NaN" | "Infinity" | "-Infinity" => Cow::Borrowed("null"),
        _ if token.parse::<f64>().is_ok_and(f64::is_infinite) => Cow::Borrowed("null"),
        _ => Cow::Borrowed(token),
    };
    out.push_str(&known);
    len
}

/// The length of the object or list at the start of `text`, or of all of it if it never ends.
fn nested_len(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut is_text = false;
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'{' | b'[' if !is_text => depth += 1,
            b'}' | b']' if !is_text => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::{parse, repair};
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use serde_json::{Value, json};

    #[test]
    fn mends_what_clients_write() {
        for (text, expected) in [
            (
                r#"{"a":NaN,"b":[-Infinity, 1e999],"c":-1.5e3}"#,
                json!({"a": null, "b": [null, null], "c": -1500.0}),
            ),
            (
                r#"{"a":"\ud83d\ude00 \ud83d \ude00 \u0000 \\u0000"}"#,
                json!({"a": "😀 \u{fffd} \u{fffd} \u{fffd} \\u0000"}),
            ),
            (
                "{\"a\":\"tab\there\nline\"}",
                json!({"a": "tab\there\nline"}),
            ),
            (r#"{"a":"\x41 \u12"}"#, json!({"a": "\\x41 \\u12"})),
            ("\u{feff}{\"a\":\"NaN\"}", json!({"a": "NaN"})),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap(), expected.into(), "{text}");
        }
        assert_eq!(
            parse(b"{\"a\":\"\xff\"}").unwrap(),
            json!({"a": "\u{fffd}"}).into()
        );
        assert!(parse(b"{\"a\":").is_err());
        assert!(parse(b"nonsense").is_err());
    }

    #[test]
    fn raw_nul_is_replaced() {
        assert_eq!(
            parse(b"{\"a\":\"x\0y\"}").unwrap(),
            json!({"a": "x\u{fffd}y"}).into()
        );
    }

    #[test]
    fn depth_is_cut() {
        let deep = format!(
            "{{\"a\":{}1{},\"b\":2}}",
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        assert_eq!(
            parse(deep.as_bytes()).unwrap().get("b"),
            Some(&super::Value::from(2))
        );
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn noise_is_read_without_panic(noise in any::<Vec<u8>>(), text in "(\\{|\\}|\\[|\"|\\\\|u|d83d|NaN|-|1e9|,|:|é|\0){0,30}") {
            let _ = parse(&noise);
            let _ = parse(text.as_bytes());
        }

        #[test]
        fn what_is_well_formed_is_left_alone(text in ".{0,40}", number in any::<i64>()) {
            let value = json!({ "text": text.replace('\0', ""), "list": [number, null, true, {"x": 1.5}] });
            let repaired: Value = serde_json::from_str(&repair(&value.to_string())).unwrap();
            prop_assert_eq!(repaired, value);
        }
    }
}
