//! The top level of an event: which attributes there are, and what each becomes.

use std::borrow::Cow;

use super::bounds::{self, Notes, note};
use super::value::{Map, Value};
use super::values::{replaced, take, text, time, word};
use super::{EventContext, attributes, exceptions};
use crate::domain::{EventId, Severity, timestamps};

/// Names of attributes in the interfaces of old clients.
const OLD_NAMES: [(&str, &str); 6] = [
    ("sentry.interfaces.Exception", "exception"),
    ("sentry.interfaces.Message", "logentry"),
    ("sentry.interfaces.Stacktrace", "stacktrace"),
    ("sentry.interfaces.Http", "request"),
    ("sentry.interfaces.User", "user"),
    ("sentry.interfaces.Breadcrumbs", "breadcrumbs"),
];

/// Attributes that are short texts.
const NAMES: [&str; 6] = [
    "logger",
    "transaction",
    "culprit",
    "server_name",
    "release",
    "platform",
];

/// Attributes of free shape.
const FREE: [&str; 6] = [
    "extra",
    "modules",
    "transaction_info",
    "debug_meta",
    "errors",
    "sdk",
];

/// Normalises an event of any shape; returns it with its id.
pub(super) fn normalize<'a>(mut given: Map<'a>, context: &EventContext) -> (EventId, Map<'a>) {
    for (old, new) in OLD_NAMES {
        if let Some(value) = given.remove(old) {
            given.insert_missing(new, value);
        }
    }
    let mut out = Map::with_capacity(given.len() + 8);
    let mut notes = match given.remove("_meta").map(serde_json::Value::from) {
        Some(serde_json::Value::Object(notes)) => notes,
        _ => Notes::new(),
    };
    let event_id = identity(&mut given, context, &mut out);
    names(&mut given, &mut out, &mut notes);
    stacks(&mut given, &mut out, &mut notes);
    if let Some(entry) = take(&mut given, "logentry")
        .and_then(|entry| attributes::logentry(entry, &mut notes))
        .or_else(|| {
            take(&mut given, "message")
                .and_then(|message| attributes::logentry(message, &mut notes))
        })
    {
        out.push("logentry", entry);
    }
    let mut put = |key: &'static str, value: Option<Value<'a>>| {
        if let Some(value) = value {
            out.push(key, value);
        }
    };
    put(
        "tags",
        take(&mut given, "tags").and_then(|tags| attributes::tags(tags, &mut notes)),
    );
    put(
        "fingerprint",
        take(&mut given, "fingerprint").and_then(attributes::fingerprint),
    );
    put(
        "user",
        take(&mut given, "user")
            .and_then(|user| attributes::user(user, context.remote_address, &mut notes)),
    );
    put(
        "request",
        take(&mut given, "request").and_then(|request| attributes::request(request, &mut notes)),
    );
    put(
        "breadcrumbs",
        take(&mut given, "breadcrumbs")
            .and_then(|crumbs| attributes::breadcrumbs(crumbs, &mut notes)),
    );
    put(
        "contexts",
        take(&mut given, "contexts").and_then(|contexts| contexts_of(contexts, &mut notes)),
    );
    for key in FREE {
        let mut map = match take(&mut given, key) {
            Some(Value::Object(map)) => map,
            Some(clean @ Value::Clean(_)) => {
                out.push(key, clean);
                continue;
            }
            _ => continue,
        };
        if key == "sdk" {
            map = sdk(map);
        }
        let below = bounds::trim_object(&mut map, bounds::DATA);
        note(&mut notes, || key.to_owned(), below);
        if !map.is_empty() {
            out.push(key, map);
        }
    }
    if !notes.is_empty() {
        out.push("_meta", serde_json::Value::from(notes));
    }
    (event_id, out)
}

/// Id, times and level: what every event has.
fn identity(given: &mut Map<'_>, context: &EventContext, out: &mut Map<'_>) -> EventId {
    let own = take(given, "event_id")
        .and_then(word)
        .and_then(|id| id.parse::<EventId>().ok())
        .filter(|id| !id.as_uuid().is_nil());
    let event_id = context.event_id.or(own).unwrap_or(context.fresh_event_id);
    let occurred_at = take(given, "timestamp").and_then(time);
    let occurred_at = timestamps::believe(occurred_at, context.sent_at, context.received_at);
    let level = match take(given, "level") {
        Some(Value::Number(number)) => number.as_i64().and_then(Severity::from_number),
        Some(Value::String(level)) => level.parse().ok(),
        _ => None,
    };
    out.push("event_id", event_id.to_simple());
    out.push("timestamp", occurred_at.to_string());
    out.push("received", context.received_at.to_string());
    out.push("level", level.unwrap_or_default().as_str());
    event_id
}

fn names<'a>(given: &mut Map<'a>, out: &mut Map<'a>, notes: &mut Notes) {
    for key in NAMES {
        if let Some(name) = take(given, key).and_then(word) {
            let mut name = replaced(name, &['\n', '\r'], " ");
            note(
                notes,
                || key.to_owned(),
                bounds::trim_text(&mut name, bounds::NAME_CHARS_MAX),
            );
            out.push(key, name);
        }
    }
    out.insert_missing("platform", "other");
    if let Some(mut dist) = take(given, "dist").and_then(word) {
        bounds::trim_text(&mut dist, bounds::ENVIRONMENT_CHARS_MAX);
        out.push("dist", dist);
    }
    let mut environment = take(given, "environment")
        .and_then(word)
        .map_or(Cow::Borrowed("production"), |environment| {
            replaced(environment, &['/', '\n', '\r'], "-")
        });
    note(
        notes,
        || "environment".to_owned(),
        bounds::trim_text(&mut environment, bounds::ENVIRONMENT_CHARS_MAX),
    );
    out.push("environment", environment);
}

/// Exceptions, threads and the stack of a message.
fn stacks<'a>(given: &mut Map<'a>, out: &mut Map<'a>, notes: &mut Notes) {
    if let Some(exceptions) =
        take(given, "exception").and_then(|value| exceptions::exceptions(value, notes))
    {
        out.push("exception", exceptions);
    }
    let mut stack = take(given, "stacktrace")
        .and_then(|stack| exceptions::stacktrace(stack, bounds::FRAMES_MAX, notes, "stacktrace"));
    if let Some(threads) = take(given, "threads") {
        let (threads, crashed) = exceptions::threads(threads, notes);
        let has_stack = |exception: &Value<'_>| exception.get("stacktrace").is_some();
        let exceptions = out
            .get("exception")
            .and_then(|exception| exception.get("values")?.as_array());
        if !exceptions.is_some_and(|exceptions| exceptions.iter().any(has_stack)) {
            stack = stack.or(crashed);
        }
        if let Some(threads) = threads {
            out.push("threads", threads);
        }
    }
    if let Some(stack) = stack {
        out.push("stacktrace", stack);
    }
}

fn contexts_of<'a>(value: Value<'a>, notes: &mut Notes) -> Option<Value<'a>> {
    let mut contexts = match value {
        Value::Object(contexts) => contexts,
        Value::Clean(_) => return Some(value),
        _ => return None,
    };
    contexts.retain(|_, context| context.is_object());
    let below = bounds::trim_object(&mut contexts, bounds::DATA);
    // A context whose own name is secret has become a text.
    contexts.retain(|_, context| context.is_object());
    note(notes, || "contexts".to_owned(), below);
    (!contexts.is_empty()).then_some(Value::Object(contexts))
}

fn sdk(mut given: Map<'_>) -> Map<'_> {
    let mut out = Map::new();
    for key in ["name", "version"] {
        if let Some(mut name) = take(&mut given, key).and_then(text) {
            bounds::trim_text(&mut name, bounds::NAME_CHARS_MAX);
            out.push(key, name);
        }
    }
    for key in ["integrations", "packages", "features"] {
        if let Some(list) = take(&mut given, key).filter(is_list) {
            out.push(key, list);
        }
    }
    if let Some(settings) = take(&mut given, "settings") {
        out.push("settings", settings);
    }
    out
}

fn is_list(value: &Value<'_>) -> bool {
    matches!(value, Value::Array(_) | Value::Clean(_))
}
