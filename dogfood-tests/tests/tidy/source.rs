//! A reader of Rust text: blanks out comments, strings and test modules, so that a rule sees only code.

/// The code with comments and the insides of literals blanked; lines keep their numbers.
pub(crate) fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        if end > at {
            for byte in &mut out[at..end] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
            at = end;
        } else {
            at += 1;
        }
    }
    String::from_utf8(out).unwrap_or_default()
}

/// The code without `#[cfg(test)] mod … { … }`: tests may look anywhere.
pub(crate) fn without_tests(code: &str) -> String {
    let mut rest = code;
    let mut kept = String::new();
    while let Some(start) = rest.find("#[cfg(test)]") {
        let (before, from) = rest.split_at(start);
        kept.push_str(before);
        let end = item_end(from);
        kept.extend(from[..end].chars().filter(|c| *c == '\n'));
        rest = &from[end..];
    }
    kept.push_str(rest);
    kept
}

/// The end of the item that starts here: its closing brace, or the first semicolon outside braces.
fn item_end(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return at + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Where the comment or literal that starts at `at` ends; `at` itself when none starts there.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return at
            + rest
                .iter()
                .position(|byte| *byte == b'\n')
                .unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return block_comment_end(bytes, at);
    }
    let in_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    if rest[0] == b'"' {
        return quoted_end(bytes, at + 1);
    }
    if rest[0] == b'r' && (!in_word || bytes[at - 1] == b'b') {
        let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
        if rest.get(1 + hashes) == Some(&b'"') {
            return raw_end(bytes, at + 2 + hashes, hashes);
        }
    }
    if rest[0] == b'\'' {
        return char_end(rest).map_or(at, |length| at + length);
    }
    at
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" if depth == 1 => return at + 2,
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    bytes.len()
}

fn quoted_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn raw_end(bytes: &[u8], mut at: usize, hashes: usize) -> usize {
    while at < bytes.len() {
        let closes = bytes[at] == b'"'
            && bytes[at + 1..]
                .iter()
                .take_while(|byte| **byte == b'#')
                .count()
                >= hashes;
        if closes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    bytes.len()
}

/// The length of a character literal; none for a lifetime.
fn char_end(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        let close = rest[3.min(rest.len())..]
            .iter()
            .position(|byte| *byte == b'\'')?;
        return Some(3 + close + 1);
    }
    let text = std::str::from_utf8(&rest[1..rest.len().min(5)])
        .or_else(|error| std::str::from_utf8(&rest[1..1 + error.valid_up_to()]));
    let first = text.ok()?.chars().next()?;
    (rest.get(1 + first.len_utf8()) == Some(&b'\'')).then(|| 2 + first.len_utf8())
}

#[test]
fn comments_and_literals_are_blanked() {
    let text = "a // crate::x\nb /* crate::y /* in */ */ c \"crate::z \\\" \" d r#\"crate::\"q\"# 'x' '\\'' &'a str";
    let code = code_only(text);
    assert!(!code.contains("crate::"), "{code}");
    for kept in ["a ", "b ", " c ", " d ", "&'a str"] {
        assert!(code.contains(kept), "{kept:?} in {code}");
    }
    assert_eq!(code.lines().count(), text.lines().count());
}

#[test]
fn test_modules_are_left_out() {
    let code = "use crate::a;\n#[cfg(test)]\nmod tests {\n use crate::b; fn f() {}\n}\nuse crate::c;\n#[cfg(test)]\nmod t;\nd";
    let kept = without_tests(code);
    assert!(
        kept.contains("crate::a") && kept.contains("crate::c") && kept.ends_with('d'),
        "{kept}"
    );
    assert!(
        !kept.contains("crate::b") && !kept.contains("mod t"),
        "{kept}"
    );
}
