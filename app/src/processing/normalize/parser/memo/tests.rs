//! With the memo every event is read as without it, and the memo keeps its bounds.

use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert_eq, proptest};
use proptest::sample::{Index, select};

use super::{BYTES_MAX, HEAD_BYTES, Memo, ONCE, PIECE_BYTES_MAX, SETS, WAYS};
use crate::processing::normalize::parser::parse_at;
use crate::processing::normalize::parser::place::Place;

const SAMPLES: [&str; 4] = [
    include_str!("../../../../../tests/samples/python-flask-20-frames.json"),
    include_str!("../../../../../tests/samples/python-chained.json"),
    include_str!("../../../../../tests/samples/node-capture-message.json"),
    include_str!("../../../../../tests/samples/node-capture-string.json"),
];

impl Memo {
    /// How many pieces it holds, having looked whether it knows what they take.
    fn len(&self) -> usize {
        let pieces = || self.places.iter().flatten();
        assert_eq!(self.bytes, pieces().map(super::Piece::bytes).sum::<usize>());
        assert!(self.bytes <= BYTES_MAX);
        assert_eq!(self.places.len(), SETS * WAYS);
        assert_eq!(self.once.len(), ONCE);
        pieces().count()
    }
}

/// A frame with enough source in front of its variables.
fn frame(line: &str, rest: &str) -> String {
    let source = format!("    # {}", "why this is so ".repeat(24));
    format!(
        r#"{{"filename": "cart.py", "function": "add", "pre_context": ["{source}"], "lineno": {line}{rest}}}"#
    )
}

/// An event with one frame.
fn event(frame: &str) -> String {
    format!(r#"{{"exception": [{{"stacktrace": {{"frames": [{frame}]}}}}]}}"#)
}

/// Whether an event is read with the memo as without it.
fn is_read_alike(memo: &mut Memo, event: &str) -> bool {
    parse_at(event, Place::Event, Some(memo)) == parse_at(event, Place::Event, None)
}

#[test]
fn what_came_twice_is_known_and_nothing_else() {
    let mut memo = Memo::new();
    let one = frame("12", r#", "vars": {"a": 1}"#);
    let hash = Memo::hash(&one).unwrap();
    for times in 1..=3 {
        let event = event(&frame("12", &format!(r#", "vars": {{"a": {times}}}"#)));
        assert!(is_read_alike(&mut memo, &event));
        assert_eq!(memo.len(), usize::from(times > 1), "{times}");
    }
    let piece = memo.find(hash, &one).unwrap();
    assert_eq!(
        &*piece.facts,
        r#""filename": "cart.py","function": "add","lineno": 12"#
    );
    // The number goes on where the piece ended.
    for other in ["123", "1", "12.5", "12e3", "12 "] {
        let other = frame(other, r#", "vars": {"a": 1}"#);
        assert_eq!(Memo::hash(&other), Some(hash));
        assert!(memo.find(hash, &other).is_none(), "{other}");
        assert!(is_read_alike(&mut memo, &event(&other)));
    }
}

#[test]
fn behind_what_is_known_everything_is_judged() {
    let mut memo = Memo::new();
    let known = frame("7", "");
    for _ in 0..3 {
        assert!(is_read_alike(&mut memo, &event(&known)));
    }
    assert_eq!(memo.len(), 1);
    let known = frame("7", r#", "vars": {}"#);
    for _ in 0..3 {
        assert!(is_read_alike(&mut memo, &event(&known)));
    }
    assert_eq!(memo.len(), 2);
    for rest in [
        r#", "vars": {"password": "hunter2"}"#,
        r#", "vars": {}, "lineno": 8"#,
        r#", "vars": {}, "in_app": true"#,
        r#", "vars": {}, "post_context": ["x"]"#,
        r#", "vars": {}, "other": 1"#,
        r#", "vars": {}, "#,
        r#", "vars": {}]"#,
        r#", "vars": 7"#,
        r#", "vars""#,
        "]",
        ", ",
        "é",
    ] {
        let other = event(&frame("7", rest));
        assert!(is_read_alike(&mut memo, &other), "{other}");
        let whole = &other[..other.find(rest).unwrap() + rest.len()];
        assert!(is_read_alike(&mut memo, whole), "{whole}");
    }
}

#[test]
fn bytes_and_pieces_are_bounded() {
    let mut memo = Memo::new();
    for nth in 0..3_000 {
        let len = HEAD_BYTES + nth * 7 % PIECE_BYTES_MAX;
        let frame = format!(
            r#"{{"lineno": {nth}, "context_line": "{}", "pre_context": ["{}"], "post_context": ["{}"]}}"#,
            "a".repeat(len.min(500)),
            vec!["b".repeat(500); len / 500].join("\",\""),
            nth
        );
        for _ in 0..3 {
            assert!(is_read_alike(&mut memo, &event(&frame)));
        }
        assert!(memo.len() <= SETS * WAYS);
    }
    assert!(memo.bytes > BYTES_MAX / 2);
    let lines = vec!["x".repeat(500); PIECE_BYTES_MAX / 500 + 1].join("\",\"");
    let too_long = frame("1", &format!(r#", "post_context": ["{lines}"]"#));
    let before = memo.len();
    for _ in 0..3 {
        assert!(is_read_alike(&mut memo, &event(&too_long)));
    }
    assert_eq!(memo.len(), before);
}

#[test]
fn what_is_used_stays_while_others_come() {
    let mut memo = Memo::new();
    let used = frame("1", "");
    let hash = Memo::hash(&used).unwrap();
    for _ in 0..2 {
        is_read_alike(&mut memo, &event(&used));
    }
    for nth in 0..2_000 {
        assert!(memo.find(hash, &used).is_some(), "{nth}");
        let other = frame("2", "").replace("cart.py", &format!("{nth}.py"));
        for _ in 0..2 {
            is_read_alike(&mut memo, &event(&other));
        }
    }
}

/// An edit of a text: at a place, or at most so far behind the start of the quoted names where a piece ends, so many bytes go, and
/// something else comes.
type Edit = (Index, Option<usize>, usize, String);

fn any_edit() -> impl Strategy<Value = Edit> {
    const PARTS: [&str; 18] = [
        "",
        "\"",
        "\\",
        ",",
        ":",
        "{",
        "}",
        "[",
        "]",
        "0",
        " ",
        "é",
        "\\n",
        "\"vars\":",
        "\"a\":1,",
        "\"lineno\":7,",
        "password=x",
        "@",
    ];
    let part = select(&PARTS[..]).prop_map(str::to_owned);
    let ends = proptest::option::of(0..24_usize);
    (any::<Index>(), ends, 0..4_usize, part)
}

fn edited(text: &str, (at, near_end, len, new): &Edit) -> String {
    let ends: Vec<usize> = ["\"vars\"", "\"lineno\"", "}, {"]
        .into_iter()
        .flat_map(|end| text.match_indices(end))
        .map(|(end, _)| end)
        .collect();
    let at = match near_end {
        Some(offset) if !ends.is_empty() => (at.get(&ends) + offset).saturating_sub(6),
        _ => at.index(text.len()),
    };
    let start = text.floor_char_boundary(at.min(text.len()));
    let end = text.floor_char_boundary((start + len).min(text.len()));
    format!("{}{new}{}", &text[..start], &text[end.max(start)..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// One memo sees an event, and then the event edited, again and again.
    #[test]
    fn with_the_memo_all_is_as_without(sample in 0..SAMPLES.len(), edits in proptest::collection::vec(proptest::collection::vec(any_edit(), 1..3), 1..8)) {
        let (sample, mut memo) = (SAMPLES[sample], Memo::new());
        for _ in 0..2 {
            assert!(is_read_alike(&mut memo, sample));
        }
        for edits in edits {
            let text = edits.iter().fold(sample.to_owned(), |text, edit| edited(&text, edit));
            for _ in 0..3 {
                let with = parse_at(&text, Place::Event, Some(&mut memo));
                prop_assert_eq!(with, parse_at(&text, Place::Event, None));
            }
            memo.len();
        }
    }
}
