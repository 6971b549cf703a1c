//! Grouping that remembers stacks is grouping that does not.

use std::sync::LazyLock;

use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};
use serde_json::{Value, json};

use super::tests::context;
use super::{group, group_with};
use crate::processing::fingerprint::Memo;
use crate::processing::normalize::sentry_event;

/// Every event of the samples.
static SAMPLES: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let pairs = [
        include_str!("../../../tests/samples/grouping-pairs.jsonl"),
        include_str!("../../../tests/samples/grouping-pairs-own.jsonl"),
    ];
    let pairs = pairs
        .iter()
        .flat_map(|pairs| pairs.lines())
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let events = [
        include_str!("../../../tests/samples/python-flask-20-frames.json"),
        include_str!("../../../tests/samples/python-chained.json"),
        include_str!("../../../tests/samples/node-capture-message.json"),
        include_str!("../../../tests/samples/node-capture-string.json"),
    ]
    .map(|event| serde_json::from_str(event).unwrap());
    pairs
        .flat_map(|pair| [pair["a"].clone(), pair["b"].clone()])
        .chain(events)
        .collect()
});

/// Says something else in one place, or nothing.
fn edit(event: &mut Value, turn: usize) {
    const PLACES: [&str; 22] = [
        "/platform",
        "/message",
        "/logentry",
        "/transaction",
        "/culprit",
        "/fingerprint",
        "/stacktrace",
        "/exception/values/0/type",
        "/exception/values/0/value",
        "/exception/values/0/mechanism",
        "/exception/values/0/stacktrace",
        "/exception/values/0/stacktrace/frames/0/function",
        "/exception/values/0/stacktrace/frames/0/module",
        "/exception/values/0/stacktrace/frames/1/in_app",
        "/exception/values/0/stacktrace/frames/1/filename",
        "/exception/values/0/stacktrace/frames/1/context_line",
        "/exception/values/1/type",
        "/exception/values/1/value",
        "/exception/values/1/stacktrace",
        "/exception/values/1/stacktrace/frames/0/function",
        "/exception/0/value",
        "/exception/0/stacktrace/frames/0/function",
    ];
    let values = [
        json!(null),
        json!("order 17 at 10.0.0.1"),
        json!("order 18"),
        json!(""),
        json!(true),
        json!(["{{ default }}", "{{ function }}{{ module }}"]),
        json!(["mine"]),
        json!({ "synthetic": true, "type": "x" }),
        json!({ "message": "job %s", "formatted": "job 7" }),
        json!({ "frames": [{ "function": "f", "filename": "/srv/a/b.py", "in_app": true }, { "function": "<lambda>", "module": "m" }] }),
    ];
    let place = PLACES[turn % PLACES.len()];
    let value = values[turn / PLACES.len() % values.len()].clone();
    match (event.pointer_mut(place), place) {
        (Some(old), _) => *old = value,
        (
            None,
            "/message" | "/transaction" | "/culprit" | "/fingerprint" | "/stacktrace" | "/logentry",
        ) => {
            event[&place[1..]] = value;
        }
        (None, _) => {}
    }
}

#[test]
fn a_memo_is_asked_and_its_answers_are_those_of_a_look_at_everything() {
    let mut memo = Memo::default();
    for event in &*SAMPLES {
        let raw = sentry_event(event.to_string().as_bytes(), &context()).unwrap();
        for _ in 0..2 {
            assert_eq!(group_with(&mut memo, &raw), group(&raw), "{event}");
        }
    }
    assert!(memo.hits() > 50, "{memo:?}");
}

/// Each is another case for grouping than the one before it, by one thing that is there or not.
#[test]
fn what_is_not_the_same_is_told_apart() {
    let stack = json!({ "frames": [{ "function": "f", "module": "m", "in_app": true }] });
    let exception = |rest: Value| {
        let mut exception = json!({ "stacktrace": stack });
        for (key, value) in rest.as_object().unwrap() {
            exception[key] = value.clone();
        }
        json!({ "exception": { "values": [exception] } })
    };
    let of_message = |rest: Value| json!({ "stacktrace": stack, "logentry": rest });
    let mut two = exception(json!({ "type": "E" }));
    let values = two["exception"]["values"].as_array_mut().unwrap();
    values.push(json!({ "type": "F", "value": "x" }));
    let events = [
        exception(json!({ "type": "E" })),
        exception(json!({ "type": "F" })),
        exception(json!({ "type": "E", "mechanism": { "type": "m", "synthetic": true } })),
        exception(json!({ "type": "E", "value": "v" })),
        exception(
            json!({ "type": "E", "value": "v", "mechanism": { "type": "m", "synthetic": true } }),
        ),
        exception(json!({ "value": "v" })),
        exception(json!({ "value": "w" })),
        exception(json!({ "type": "E", "value": "" })),
        two,
        of_message(json!({ "message": "m" })),
        of_message(json!({ "message": "n" })),
        of_message(json!({ "message": "m", "formatted": "n" })),
        json!({ "stacktrace": stack }),
        json!({ "stacktrace": stack, "exception": { "values": [{ "type": "E" }] } }),
        json!({ "stacktrace": stack, "exception": { "values": [{ "type": "E" }] }, "message": "m" }),
        json!({ "stacktrace": { "frames": [{ "function": "main.f.func1", "module": "m", "in_app": true }] } }),
        json!({ "stacktrace": { "frames": [{ "function": "main.f.func1", "module": "m", "in_app": true }] }, "platform": "go" }),
    ];
    let raws = events.map(|event| sentry_event(event.to_string().as_bytes(), &context()).unwrap());
    for (first, second) in raws.iter().flat_map(|a| raws.iter().map(move |b| (a, b))) {
        let mut memo = Memo::default();
        for raw in [first, second] {
            assert_eq!(group_with(&mut memo, raw), group(raw));
        }
        assert!(memo.hits() == 1 || first != second, "{first:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Events that are nearly alike, in random order.
    #[test]
    fn a_memo_makes_no_difference(first in any::<usize>(), edits in proptest::collection::vec((any::<bool>(), any::<usize>()), 1..16)) {
        let start = &SAMPLES[first % SAMPLES.len()];
        let (mut memo, mut event) = (Memo::default(), start.clone());
        for (is_anew, turn) in edits {
            if is_anew {
                event = start.clone();
            }
            edit(&mut event, turn);
            let Ok(raw) = sentry_event(event.to_string().as_bytes(), &context()) else {
                continue;
            };
            let (with, without) = (group_with(&mut memo, &raw), group(&raw));
            prop_assert_eq!(with, without, "{}", event);
        }
    }
}
