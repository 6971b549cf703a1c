//! Exceptions, stack traces, frames and threads in all their shapes.

use serde_json::json;

use super::bounds::{self, Note, Notes, joined, note};
use super::value::{Map, Value};
use super::values::{list, take, text, word};

/// `{values}`, a flat list, or one bare object → `{values}`; `None` if nothing is left.
pub(super) fn exceptions<'a>(value: Value<'a>, notes: &mut Notes) -> Option<Value<'a>> {
    let mut entries = list(value);
    let mut below = Notes::new();
    let cut = bounds::trim_middle(&mut entries, bounds::EXCEPTIONS_MAX);
    let frames_max = frames_max(&entries);
    let mut values = Vec::with_capacity(entries.len());
    for entry in entries {
        if let Some((entry, entry_note)) = exception(entry, frames_max) {
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
    (!values.is_empty()).then(|| Value::wrapped("values", values))
}

/// How many frames each stack of these exceptions or threads may keep.
fn frames_max(entries: &[Value<'_>]) -> usize {
    let lens = || {
        let stacks = |entry: &Value<'_>| STACKS.map(|key| entry.get(key).map_or(0, frames_len));
        let lens = entries.iter().flat_map(stacks);
        lens.map(|len| len.min(bounds::FRAMES_MAX))
            .filter(|len| *len > 0)
    };
    if lens().sum::<usize>() <= bounds::FRAMES_ALL_MAX {
        bounds::FRAMES_MAX
    } else {
        bounds::FRAMES_ALL_MAX / lens().count()
    }
}

fn frames_len(stack: &Value<'_>) -> usize {
    let frames = stack.get("frames").unwrap_or(stack);
    frames.as_array().map_or(0, <[_]>::len)
}

/// Where an exception may carry a stack.
const STACKS: [&str; 2] = ["stacktrace", "raw_stacktrace"];

fn exception(value: Value<'_>, frames_max: usize) -> Option<(Value<'_>, Note)> {
    let mut given = match value {
        Value::Object(given) => given,
        scalar => {
            let mut given = Map::new();
            given.push("value", scalar);
            given
        }
    };
    let mut out = Map::new();
    let mut notes = Notes::new();
    for key in ["type", "module"] {
        if let Some(mut name) = take(&mut given, key).and_then(word) {
            note(
                &mut notes,
                || key.to_owned(),
                bounds::trim_text(&mut name, bounds::NAME_CHARS_MAX),
            );
            out.push(key, name);
        }
    }
    if let Some(value) = take(&mut given, "value").and_then(text) {
        let mut value = Value::from(value);
        note(
            &mut notes,
            || "value".to_owned(),
            bounds::trim(&mut value, message_bounds()),
        );
        out.push("value", value);
    }
    for key in STACKS {
        if let Some(stack) =
            take(&mut given, key).and_then(|stack| stacktrace(stack, frames_max, &mut notes, key))
        {
            out.push(key, stack);
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
            out.push(key, value);
        }
    }
    (!says_nothing).then(|| (Value::Object(out), joined(notes)))
}

/// The bounds of messages and of values of exceptions.
pub(super) fn message_bounds() -> bounds::Bounds {
    bounds::Bounds {
        chars: bounds::MESSAGE_CHARS_MAX,
        ..bounds::DATA
    }
}

fn mechanism(value: Value<'_>) -> Value<'_> {
    let mut out = match value {
        Value::Object(given) => given,
        Value::String(kind) => return Value::wrapped("type", kind),
        _ => Map::new(),
    };
    if let Some(kind) = out.remove("type").and_then(word) {
        out.push("type", kind);
    }
    for key in ["handled", "synthetic"] {
        if out.get(key).is_some_and(|claim| !claim.is_bool()) {
            out.remove(key);
        }
    }
    Value::Object(out)
}

/// A stack trace: an object with frames, or the list of frames itself; `None` if it has no frame.
pub(super) fn stacktrace<'a>(
    value: Value<'a>,
    frames_max: usize,
    notes: &mut Notes,
    key: &str,
) -> Option<Value<'a>> {
    let frames = match value {
        Value::Object(mut given) => take(&mut given, "frames")?,
        frames => frames,
    };
    let Value::Array(mut frames) = frames else {
        return None;
    };
    let mut below = Notes::new();
    let cut = bounds::trim_middle(&mut frames, frames_max);
    let mut kept = Vec::with_capacity(frames.len());
    for given in frames {
        let mut given = match given {
            Value::Object(given) => given,
            Value::Frame(_) => {
                kept.push(given);
                continue;
            }
            _ => continue,
        };
        let frame_note = frame(&mut given);
        if !given.is_empty() {
            note(&mut below, || kept.len().to_string(), frame_note);
            kept.push(Value::Object(given));
        }
    }
    if let Some(mut cut) = cut {
        below.insert(String::new(), cut[""].take());
    }
    if !below.is_empty() {
        notes.insert(key.to_owned(), json!({ "frames": below }));
    }
    (!kept.is_empty()).then(|| Value::wrapped("frames", kept))
}

/// Keeps what a frame may say, each attribute in its bounds.
fn frame(frame: &mut Map<'_>) -> Note {
    let mut notes = Notes::new();
    frame.retain(|key, value| match key {
        "function" | "raw_function" | "module" | "package" | "platform" | "symbol" | "lang" => {
            is_word(value, bounds::NAME_CHARS_MAX)
        }
        "filename" | "abs_path" => is_word(value, bounds::PATH_CHARS_MAX),
        "instruction_addr" | "symbol_addr" | "image_addr" | "addr_mode" => {
            is_word(value, usize::MAX)
        }
        "lineno" | "colno" => replace(value, |value| whole_number(value).map(Value::from)),
        "context_line" => !value.is_null() && replace(value, source_line),
        "pre_context" | "post_context" => {
            matches!(value, Value::Clean(_)) || replace(value, source_lines)
        }
        "in_app" => value.is_bool(),
        "vars" => {
            let is_kept = value.is_object() || value.is_array() || matches!(value, Value::Clean(_));
            if is_kept {
                let trimmed = bounds::trim(value, bounds::VARIABLES);
                note(&mut notes, || "vars".to_owned(), trimmed);
            }
            is_kept
        }
        _ => false,
    });
    joined(notes)
}

/// Makes a value the word it is, cut to so many characters; `false` if it is none.
fn is_word(value: &mut Value<'_>, chars_max: usize) -> bool {
    replace(value, |value| {
        let mut word = word(value)?;
        bounds::trim_text(&mut word, chars_max);
        Some(word.into())
    })
}

/// Replaces a value by what becomes of it; `false` if nothing does.
fn replace<'a>(value: &mut Value<'a>, change: impl FnOnce(Value<'a>) -> Option<Value<'a>>) -> bool {
    match change(std::mem::take(value)) {
        Some(changed) => {
            *value = changed;
            true
        }
        None => false,
    }
}

fn source_line(line: Value<'_>) -> Option<Value<'_>> {
    let mut line = text(line)?;
    bounds::trim_text(&mut line, bounds::LINE_CHARS_MAX);
    Some(line.into())
}

fn source_lines(lines: Value<'_>) -> Option<Value<'_>> {
    let Value::Array(lines) = lines else {
        return None;
    };
    let lines = lines.into_iter().take(bounds::LINES_MAX);
    let lines: Vec<Value<'_>> = lines.filter_map(source_line).collect();
    (!lines.is_empty()).then_some(lines.into())
}

fn whole_number(value: Value<'_>) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Threads, and the stack of the one that crashed, or else the current one.
pub(super) fn threads<'a>(
    value: Value<'a>,
    notes: &mut Notes,
) -> (Option<Value<'a>>, Option<Value<'a>>) {
    let mut below = Notes::new();
    let mut values: Vec<Value<'_>> = Vec::new();
    let mut entries = list(value);
    bounds::trim_middle(&mut entries, bounds::THREADS_MAX);
    let frames_max = frames_max(&entries);
    for entry in entries {
        let Value::Object(mut given) = entry else {
            continue;
        };
        let mut thread_notes = Notes::new();
        let stack = take(&mut given, "stacktrace")
            .and_then(|stack| stacktrace(stack, frames_max, &mut thread_notes, "stacktrace"));
        let mut out = Map::new();
        for key in ["id", "name", "state"] {
            if let Some(mut name) = take(&mut given, key).and_then(word) {
                bounds::trim_text(&mut name, bounds::NAME_CHARS_MAX);
                out.push(key, name);
            }
        }
        for key in ["crashed", "current", "main"] {
            if let Some(Value::Bool(claim)) = given.remove(key) {
                out.push(key, claim);
            }
        }
        if let Some(stack) = stack {
            out.push("stacktrace", stack);
        }
        note(
            &mut below,
            || values.len().to_string(),
            joined(thread_notes),
        );
        values.push(Value::Object(out));
    }
    if !below.is_empty() {
        notes.insert("threads".to_owned(), json!({ "values": below }));
    }
    let is = |thread: &&Value<'_>, claim: &str| {
        thread.get(claim) == Some(&Value::Bool(true)) && thread.get("stacktrace").is_some()
    };
    let chosen = values
        .iter()
        .find(|thread| is(thread, "crashed"))
        .or_else(|| values.iter().find(|thread| is(thread, "current")));
    let stack = chosen.and_then(|thread| thread.get("stacktrace")).cloned();
    (
        (!values.is_empty()).then(|| Value::wrapped("values", values)),
        stack,
    )
}
