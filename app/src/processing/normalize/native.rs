//! Our own body for those without an SDK → Sentry's shape.

use serde_json::{Map, Value, json};

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
pub(super) fn to_sentry(
    mut given: Map<String, Value>,
    context: &EventContext,
) -> Result<Map<String, Value>, InvalidEvent> {
    check_project(&mut given, context)?;
    let mut out = Map::new();
    for key in SHARED {
        if let Some(value) = take(&mut given, key) {
            out.insert(key.to_owned(), value);
        }
    }
    let mut stack = None;
    match take(&mut given, "stacktrace") {
        Some(Value::String(printed)) => {
            stack = stack_text::parse(&printed).map(|frames| json!({ "frames": frames }));
            let extra = out.entry("extra").or_insert_with(|| json!({}));
            if let Some(extra) = extra.as_object_mut() {
                extra.entry("stacktrace").or_insert(printed.into());
            }
        }
        Some(Value::Array(frames)) => stack = Some(json!({ "frames": frames })),
        other => stack = other.or(stack),
    }
    if let Some(exception) = take(&mut given, "exception") {
        let mut values: Vec<Value> = list(exception).into_iter().map(exception_of).collect();
        if let Some(Value::Object(last)) = values.last_mut()
            && !last.contains_key("stacktrace")
            && let Some(stack) = stack.take()
        {
            last.insert("stacktrace".to_owned(), stack);
        }
        out.insert("exception".to_owned(), values.into());
    }
    if let Some(stack) = stack {
        out.insert("stacktrace".to_owned(), stack);
    }
    if let Some(message) = take(&mut given, "message") {
        out.insert("message".to_owned(), message);
    }
    match take(&mut given, "user") {
        Some(user @ Value::Object(_)) => drop(out.insert("user".to_owned(), user)),
        Some(id) => drop(out.insert("user".to_owned(), json!({ "id": id }))),
        None => {}
    }
    let sdk = match take(&mut given, "sdk") {
        Some(sdk @ Value::Object(_)) => sdk,
        _ => json!({
            "name": take(&mut given, "sdk_name").and_then(text).unwrap_or_else(|| "mesher.native".to_owned()),
            "version": take(&mut given, "sdk_version").and_then(text),
        }),
    };
    out.insert("sdk".to_owned(), sdk);
    Ok(out)
}

fn check_project(
    given: &mut Map<String, Value>,
    context: &EventContext,
) -> Result<(), InvalidEvent> {
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
fn exception_of(value: Value) -> Value {
    let mut out = match value {
        Value::Object(given) => given,
        other => {
            let text = text(other).unwrap_or_default();
            return match text.split_once(": ") {
                Some((kind, value)) if !kind.is_empty() && !kind.contains(char::is_whitespace) => {
                    json!({ "type": kind, "value": value })
                }
                _ => json!({ "value": text }),
            };
        }
    };
    if !out.contains_key("value")
        && let Some(message) = out.remove("message")
    {
        out.insert("value".to_owned(), message);
    }
    if let Some(Value::String(printed)) = out.get("stacktrace") {
        match stack_text::parse(printed) {
            Some(frames) => drop(out.insert("stacktrace".to_owned(), json!({ "frames": frames }))),
            None => drop(out.remove("stacktrace")),
        }
    }
    Value::Object(out)
}
