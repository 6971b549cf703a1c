//! Our own body for those without an SDK → Sentry's shape.

use std::borrow::Cow;

use super::value::{Map, Value};
use super::values::{list, take, text, word};
use super::{EventContext, InvalidEvent, stack_text};

/// Attributes that are Sentry's as well.
const SHARED: [&str; 19] = [
    "event_id",
    "level",
    "tags",
    "timestamp",
    "fingerprint",
    "environment",
    "release",
    "dist",
    "extra",
    "platform",
    "logger",
    "transaction",
    "culprit",
    "server_name",
    "contexts",
    "breadcrumbs",
    "request",
    "modules",
    "logentry",
];

/// Turns a native body into Sentry's shape. Shorthands: `exception` may be a text (`Type: value`), `stacktrace` the text a program printed, `user` an id.
///
/// # Errors
/// If `project_id` names another project than the key's.
pub(super) fn to_sentry<'a>(
    mut given: Map<'a>,
    context: &EventContext,
) -> Result<Map<'a>, InvalidEvent> {
    check_project(&mut given, context)?;
    let mut out = Map::with_capacity(given.len() + 2);
    for key in SHARED {
        if let Some(value) = take(&mut given, key) {
            out.push(key, value);
        }
    }
    let mut stack = None;
    match take(&mut given, "stacktrace") {
        Some(Value::String(printed)) => {
            stack = printed_stack(&printed);
            out.insert_missing("extra", Map::new());
            if let Some(extra) = out.get_mut("extra") {
                extra.open();
            }
            if let Some(Value::Object(extra)) = out.get_mut("extra") {
                extra.insert_missing("stacktrace", printed);
            }
        }
        Some(Value::Array(frames)) => stack = Some(Value::wrapped("frames", frames)),
        other => stack = other.or(stack),
    }
    if let Some(exception) = take(&mut given, "exception") {
        let mut values: Vec<Value<'_>> = list(exception).into_iter().map(exception_of).collect();
        if let Some(Value::Object(last)) = values.last_mut()
            && !last.contains_key("stacktrace")
            && let Some(stack) = stack.take()
        {
            last.push("stacktrace", stack);
        }
        out.push("exception", values);
    }
    if let Some(stack) = stack {
        out.push("stacktrace", stack);
    }
    if let Some(message) = take(&mut given, "message") {
        out.push("message", message);
    }
    match take(&mut given, "user") {
        Some(user @ Value::Object(_)) => out.push("user", user),
        Some(id) => out.push("user", Value::wrapped("id", id)),
        None => {}
    }
    let sdk = match take(&mut given, "sdk") {
        Some(Value::Object(sdk)) => sdk,
        _ => sdk_of(&mut given),
    };
    out.push("sdk", sdk);
    Ok(out)
}

fn sdk_of<'a>(given: &mut Map<'a>) -> Map<'a> {
    let name = take(given, "sdk_name").and_then(text);
    let mut sdk = Map::new();
    sdk.push("name", name.unwrap_or(Cow::Borrowed("mesher.native")));
    if let Some(version) = take(given, "sdk_version").and_then(text) {
        sdk.push("version", version);
    }
    sdk
}

/// The stack that a program printed.
fn printed_stack<'a>(printed: &str) -> Option<Value<'a>> {
    let frames = stack_text::parse(printed)?;
    Some(Value::wrapped(
        "frames",
        Value::from(serde_json::Value::from(frames)),
    ))
}

fn check_project(given: &mut Map<'_>, context: &EventContext) -> Result<(), InvalidEvent> {
    let Some(claim) = take(given, "project_id").and_then(word) else {
        return Ok(());
    };
    let is_id = claim.parse() == Ok(context.project_id);
    let is_number = context
        .project_number
        .is_some_and(|number| claim.parse() == Ok(number));
    if is_id || is_number {
        Ok(())
    } else {
        Err(InvalidEvent::ForeignProject)
    }
}

/// `Type: value` as a text, or an object whose `stacktrace` may be a text or a list and whose value may be called `message`.
fn exception_of(value: Value<'_>) -> Value<'_> {
    let mut out = match value {
        Value::Object(given) => given,
        other => {
            let text = text(other).unwrap_or_default();
            let mut out = Map::new();
            match text.split_once(": ") {
                Some((kind, value)) if !kind.is_empty() && !kind.contains(char::is_whitespace) => {
                    out.push("type", kind.to_owned());
                    out.push("value", value.to_owned());
                }
                _ => out.push("value", text),
            }
            return Value::Object(out);
        }
    };
    if !out.contains_key("value")
        && let Some(message) = out.remove("message")
    {
        out.push("value", message);
    }
    if let Some(Value::String(printed)) = out.get("stacktrace") {
        match printed_stack(printed) {
            Some(stack) => out.insert("stacktrace", stack),
            None => drop(out.remove("stacktrace")),
        }
    }
    Value::Object(out)
}
