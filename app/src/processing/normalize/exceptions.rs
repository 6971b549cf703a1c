//! Exceptions, stack traces, frames and threads in all their shapes.

use serde_json::{Map, Value, json};

use super::bounds::{self, Note, note};
use super::values::{list, take, text, word};

/// Attributes of a frame that are short texts.
const FRAME_NAMES: [&str; 7] = [
    "function",
    "raw_function",
    "module",
    "package",
    "platform",
    "symbol",
    "lang",
];
/// Attributes of a frame that are addresses, kept as they are.
const FRAME_ADDRESSES: [&str; 4] = ["instruction_addr", "symbol_addr", "image_addr", "addr_mode"];

/// `{values}`, a flat list, or one bare object → `{values}`; `None` if nothing is left.
pub(super) fn exceptions(value: Value, notes: &mut Map<String, Value>) -> Option<Value> {
    let mut entries = list(value);
    let mut below = Map::new();
    let cut = bounds::trim_middle(&mut entries, bounds::EXCEPTIONS_MAX);
    let mut values = Vec::with_capacity(entries.len());
    for entry in entries {
        if let Some((entry, entry_note)) = exception(entry) {
            note(&mut below, || values.len().to_string(), entry_note);
            values.push(entry);
        }
    }
    if let Some(mut cut) = cut {
        below.insert(String::new(), cut[""].take());
    }
    if !below.is_empty() {
        notes.insert("exception".to_owned(), json!({ "values": below }));
    }
    (!values.is_empty()).then(|| json!({ "values": values }))
}

fn exception(value: Value) -> Option<(Value, Note)> {
    let mut given = match value {
        Value::Object(given) => given,
        scalar => Map::from_iter([("value".to_owned(), scalar)]),
    };
    let mut out = Map::new();
    let mut notes = Map::new();
    for key in ["type", "module"] {
        if let Some(mut name) = take(&mut given, key).and_then(word) {
            note(
                &mut notes,
                || key.to_owned(),
                bounds::trim_text(&mut name, bounds::NAME_CHARS_MAX),
            );
            out.insert(key.to_owned(), name.into());
        }
    }
    if let Some(value) = take(&mut given, "value").and_then(text) {
        let mut value = Value::from(value);
        note(
            &mut notes,
            || "value".to_owned(),
            bounds::trim(&mut value, message_bounds()),
        );
        out.insert("value".to_owned(), value);
    }
    for key in ["stacktrace", "raw_stacktrace"] {
        if let Some(stack) =
            take(&mut given, key).and_then(|stack| stacktrace(stack, &mut notes, key))
        {
            out.insert(key.to_owned(), stack);
        }
    }
    let says_nothing = out.is_empty();
    for key in ["mechanism", "thread_id"] {
        if let Some(mut value) = take(&mut given, key) {
            if key == "mechanism" {
                value = mechanism(value);
            }
            note(
                &mut notes,
                || key.to_owned(),
                bounds::trim(&mut value, bounds::VARIABLES),
            );
            out.insert(key.to_owned(), value);
        }
    }
    (!says_nothing).then(|| {
        (
            Value::Object(out),
            (!notes.is_empty()).then_some(Value::Object(notes)),
        )
    })
}

/// The bounds of messages and of values of exceptions.
pub(super) fn message_bounds() -> bounds::Bounds {
    bounds::Bounds {
        chars: bounds::MESSAGE_CHARS_MAX,
        ..bounds::DATA
    }
}

fn mechanism(value: Value) -> Value {
    let mut out = match value {
        Value::Object(given) => given,
        Value::String(kind) => Map::from_iter([("type".to_owned(), Value::from(kind))]),
        _ => return json!({}),
    };
    if let Some(kind) = out.remove("type").and_then(word) {
        out.insert("type".to_owned(), kind.into());
    }
    for key in ["handled", "synthetic"] {
        if out.get(key).is_some_and(|claim| !claim.is_boolean()) {
            out.remove(key);
        }
    }
    Value::Object(out)
}

/// A stack trace: an object with frames, or the list of frames itself; `None` if it has no frame.
pub(super) fn stacktrace(value: Value, notes: &mut Map<String, Value>, key: &str) -> Option<Value> {
    let frames = match value {
        Value::Object(mut given) => take(&mut given, "frames")?,
        frames => frames,
    };
    let Value::Array(mut frames) = frames else {
        return None;
    };
    let mut below = Map::new();
    let cut = bounds::trim_middle(&mut frames, bounds::FRAMES_MAX);
    let mut kept = Vec::with_capacity(frames.len());
    for given in frames {
        let Value::Object(given) = given else {
            continue;
        };
        let (frame, frame_note) = frame(given);
        if !frame.is_empty() {
            note(&mut below, || kept.len().to_string(), frame_note);
            kept.push(Value::Object(frame));
        }
    }
    if let Some(mut cut) = cut {
        below.insert(String::new(), cut[""].take());
    }
    if !below.is_empty() {
        notes.insert(key.to_owned(), json!({ "frames": below }));
    }
    (!kept.is_empty()).then(|| json!({ "frames": kept }))
}

fn frame(mut given: Map<String, Value>) -> (Map<String, Value>, Note) {
    let mut out = Map::new();
    let mut notes = Map::new();
    for key in FRAME_NAMES {
        if let Some(mut name) = take(&mut given, key).and_then(word) {
            bounds::trim_text(&mut name, bounds::NAME_CHARS_MAX);
            out.insert(key.to_owned(), name.into());
        }
    }
    for key in ["filename", "abs_path"] {
        if let Some(mut path) = take(&mut given, key).and_then(word) {
            bounds::trim_text(&mut path, bounds::PATH_CHARS_MAX);
            out.insert(key.to_owned(), path.into());
        }
    }
    for key in ["lineno", "colno"] {
        if let Some(number) = take(&mut given, key).and_then(whole_number) {
            out.insert(key.to_owned(), number.into());
        }
    }
    for key in FRAME_ADDRESSES {
        if let Some(address) = take(&mut given, key).and_then(word) {
            out.insert(key.to_owned(), address.into());
        }
    }
    if let Some(line) = take(&mut given, "context_line").and_then(source_line) {
        out.insert("context_line".to_owned(), line);
    }
    for key in ["pre_context", "post_context"] {
        if let Some(Value::Array(lines)) = take(&mut given, key) {
            let lines: Vec<Value> = lines.into_iter().take(20).filter_map(source_line).collect();
            if !lines.is_empty() {
                out.insert(key.to_owned(), lines.into());
            }
        }
    }
    if let Some(Value::Bool(claim)) = given.remove("in_app") {
        out.insert("in_app".to_owned(), claim.into());
    }
    if let Some(mut vars) =
        take(&mut given, "vars").filter(|vars| vars.is_object() || vars.is_array())
    {
        note(
            &mut notes,
            || "vars".to_owned(),
            bounds::trim(&mut vars, bounds::VARIABLES),
        );
        out.insert("vars".to_owned(), vars);
    }
    (out, (!notes.is_empty()).then_some(Value::Object(notes)))
}

fn source_line(line: Value) -> Option<Value> {
    let mut line = text(line)?;
    bounds::trim_text(&mut line, bounds::LINE_CHARS_MAX);
    Some(line.into())
}

fn whole_number(value: Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Threads, and the stack of the one that crashed, or else the current one.
pub(super) fn threads(
    value: Value,
    notes: &mut Map<String, Value>,
) -> (Option<Value>, Option<Value>) {
    let mut below = Map::new();
    let mut values: Vec<Value> = Vec::new();
    let mut entries = list(value);
    bounds::trim_middle(&mut entries, bounds::THREADS_MAX);
    for entry in entries {
        let Value::Object(mut given) = entry else {
            continue;
        };
        let mut thread_notes = Map::new();
        let stack = take(&mut given, "stacktrace")
            .and_then(|stack| stacktrace(stack, &mut thread_notes, "stacktrace"));
        let mut out = Map::new();
        for key in ["id", "name", "state"] {
            if let Some(mut name) = take(&mut given, key).and_then(word) {
                bounds::trim_text(&mut name, bounds::NAME_CHARS_MAX);
                out.insert(key.to_owned(), name.into());
            }
        }
        for key in ["crashed", "current", "main"] {
            if let Some(Value::Bool(claim)) = given.remove(key) {
                out.insert(key.to_owned(), claim.into());
            }
        }
        if let Some(stack) = stack {
            out.insert("stacktrace".to_owned(), stack);
        }
        note(
            &mut below,
            || values.len().to_string(),
            (!thread_notes.is_empty()).then_some(Value::Object(thread_notes)),
        );
        values.push(Value::Object(out));
    }
    if !below.is_empty() {
        notes.insert("threads".to_owned(), json!({ "values": below }));
    }
    let is =
        |thread: &&Value, claim: &str| thread[claim] == true && thread.get("stacktrace").is_some();
    let chosen = values
        .iter()
        .find(|thread| is(thread, "crashed"))
        .or_else(|| values.iter().find(|thread| is(thread, "current")));
    let stack = chosen.map(|thread| thread["stacktrace"].clone());
    (
        (!values.is_empty()).then(|| json!({ "values": values })),
        stack,
    )
}
