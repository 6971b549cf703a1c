//! The top level of an event: which attributes there are, and what each becomes.

use serde_json::{Map, Value, json};

use super::bounds::{self, note};
use super::values::{take, text, word};
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
pub(super) fn normalize(
    mut given: Map<String, Value>,
    context: &EventContext,
) -> (EventId, Map<String, Value>) {
    for (old, new) in OLD_NAMES {
        if let Some(value) = given.remove(old) {
            given.entry(new).or_insert(value);
        }
    }
    let mut out = Map::new();
    let mut notes = match given.remove("_meta") {
        Some(Value::Object(notes)) => notes,
        _ => Map::new(),
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
        out.insert("logentry".to_owned(), entry);
    }
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            out.insert(key.to_owned(), value);
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
        let Some(Value::Object(mut map)) = take(&mut given, key) else {
            continue;
        };
        if key == "sdk" {
            map = sdk(map);
        }
        let below = bounds::trim_object(&mut map, bounds::DATA);
        note(&mut notes, || key.to_owned(), below);
        if !map.is_empty() {
            out.insert(key.to_owned(), map.into());
        }
    }
    if !notes.is_empty() {
        out.insert("_meta".to_owned(), notes.into());
    }
    (event_id, out)
}

/// Id, times and level: what every event has.
fn identity(
    given: &mut Map<String, Value>,
    context: &EventContext,
    out: &mut Map<String, Value>,
) -> EventId {
    let own = take(given, "event_id")
        .and_then(word)
        .and_then(|id| id.parse::<EventId>().ok())
        .filter(|id| !id.as_uuid().is_nil());
    let event_id = context.event_id.or(own).unwrap_or(context.fresh_event_id);
    let occurred_at = take(given, "timestamp").and_then(|time| timestamps::parse(&time));
    let occurred_at = timestamps::believe(occurred_at, context.sent_at, context.received_at);
    let level = match take(given, "level") {
        Some(Value::Number(number)) => number.as_i64().and_then(Severity::from_number),
        Some(Value::String(level)) => level.parse().ok(),
        _ => None,
    };
    out.insert("event_id".to_owned(), event_id.to_simple().into());
    out.insert("timestamp".to_owned(), occurred_at.to_string().into());
    out.insert(
        "received".to_owned(),
        context.received_at.to_string().into(),
    );
    out.insert(
        "level".to_owned(),
        level.unwrap_or_default().as_str().into(),
    );
    event_id
}

fn names(
    given: &mut Map<String, Value>,
    out: &mut Map<String, Value>,
    notes: &mut Map<String, Value>,
) {
    for key in NAMES {
        if let Some(name) = take(given, key).and_then(word) {
            let mut name = name.replace(['\n', '\r'], " ");
            note(
                notes,
                || key.to_owned(),
                bounds::trim_text(&mut name, bounds::NAME_CHARS_MAX),
            );
            out.insert(key.to_owned(), name.into());
        }
    }
    out.entry("platform").or_insert_with(|| "other".into());
    if let Some(mut dist) = take(given, "dist").and_then(word) {
        bounds::trim_text(&mut dist, bounds::ENVIRONMENT_CHARS_MAX);
        out.insert("dist".to_owned(), dist.into());
    }
    let environment = take(given, "environment").and_then(word).map_or_else(
        || "production".to_owned(),
        |environment| environment.replace(['/', '\n', '\r'], "-"),
    );
    let mut environment = environment;
    note(
        notes,
        || "environment".to_owned(),
        bounds::trim_text(&mut environment, bounds::ENVIRONMENT_CHARS_MAX),
    );
    out.insert("environment".to_owned(), environment.into());
}

/// Exceptions, threads and the stack of a message.
fn stacks(
    given: &mut Map<String, Value>,
    out: &mut Map<String, Value>,
    notes: &mut Map<String, Value>,
) {
    if let Some(exceptions) =
        take(given, "exception").and_then(|value| exceptions::exceptions(value, notes))
    {
        out.insert("exception".to_owned(), exceptions);
    }
    let mut stack = take(given, "stacktrace")
        .and_then(|stack| exceptions::stacktrace(stack, notes, "stacktrace"));
    if let Some(threads) = take(given, "threads") {
        let (threads, crashed) = exceptions::threads(threads, notes);
        let has_stack = |exception: &Value| exception.get("stacktrace").is_some();
        let exceptions = out
            .get("exception")
            .and_then(|exception| exception["values"].as_array());
        if !exceptions.is_some_and(|exceptions| exceptions.iter().any(has_stack)) {
            stack = stack.or(crashed);
        }
        if let Some(threads) = threads {
            out.insert("threads".to_owned(), threads);
        }
    }
    if let Some(stack) = stack {
        out.insert("stacktrace".to_owned(), stack);
    }
}

fn contexts_of(value: Value, notes: &mut Map<String, Value>) -> Option<Value> {
    let Value::Object(mut contexts) = value else {
        return None;
    };
    contexts.retain(|_, context| context.is_object());
    let below = bounds::trim_object(&mut contexts, bounds::DATA);
    // A context whose own name is secret has become a text.
    contexts.retain(|_, context| context.is_object());
    note(notes, || "contexts".to_owned(), below);
    (!contexts.is_empty()).then_some(Value::Object(contexts))
}

fn sdk(mut given: Map<String, Value>) -> Map<String, Value> {
    let mut out = Map::new();
    for key in ["name", "version"] {
        if let Some(mut name) = take(&mut given, key).and_then(text) {
            bounds::trim_text(&mut name, bounds::NAME_CHARS_MAX);
            out.insert(key.to_owned(), name.into());
        }
    }
    for key in ["integrations", "packages", "features"] {
        if let Some(list) = take(&mut given, key).filter(Value::is_array) {
            out.insert(key.to_owned(), list);
        }
    }
    if let Some(settings) = take(&mut given, "settings") {
        out.insert("settings".to_owned(), json!(settings));
    }
    out
}
