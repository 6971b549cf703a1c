//! Tags, messages, the user, the request, breadcrumbs and the client's fingerprint in all their shapes.

use std::collections::HashSet;
use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::bounds::{self, Note, note};
use super::exceptions::message_bounds;
use super::json as lenient_json;
use super::values::{form, list, pairs, take, text, word};
use crate::domain::timestamps;
use crate::processing::scrub;

/// A map or a list of pairs → a list of pairs of texts, keys unique.
pub(super) fn tags(value: Value, notes: &mut Map<String, Value>) -> Option<Value> {
    let mut seen = HashSet::new();
    let mut tags = Vec::new();
    let mut below = Map::new();
    let given = pairs(value);
    let len = given.len();
    for (key, value) in given {
        let Some(mut key) = word(Value::from(key)).map(|key| key.replace(['\n', '\r'], " ")) else {
            continue;
        };
        let Some(value) = word(value) else { continue };
        bounds::trim_text(&mut key, bounds::NAME_CHARS_MAX);
        if tags.len() == bounds::TAGS_MAX || !seen.insert(key.clone()) {
            continue;
        }
        let mut value = Value::from(value.replace(['\n', '\r'], " "));
        let value_note = if scrub::is_secret_key(&key) {
            value = scrub::FILTERED.into();
            Some(bounds::scrub_note())
        } else {
            bounds::trim(
                &mut value,
                bounds::Bounds {
                    chars: bounds::NAME_CHARS_MAX,
                    ..bounds::DATA
                },
            )
        };
        note(&mut below, || tags.len().to_string(), value_note);
        tags.push(json!([key, value]));
    }
    note(
        notes,
        || "tags".to_owned(),
        bounds::with_cut(below, len, bounds::TAGS_MAX),
    );
    (!tags.is_empty()).then_some(Value::Array(tags))
}

/// `logentry`, or a top-level `message` as a text or an object → `{message?, formatted, params?}`.
pub(super) fn logentry(value: Value, notes: &mut Map<String, Value>) -> Option<Value> {
    let mut given = match value {
        Value::Object(given) => given,
        scalar => Map::from_iter([("formatted".to_owned(), scalar)]),
    };
    let template = take(&mut given, "message")
        .and_then(text)
        .filter(|text| !text.trim().is_empty());
    let formatted = take(&mut given, "formatted")
        .and_then(text)
        .filter(|text| !text.trim().is_empty());
    let params = take(&mut given, "params");
    let formatted = match (formatted, &template) {
        (Some(formatted), _) => formatted,
        (None, Some(template)) => interpolate(template, params.as_ref()),
        (None, None) => return None,
    };
    let mut out = Map::new();
    let mut below = Map::new();
    for (key, value) in [
        ("message", template.map(Value::from)),
        ("formatted", Some(formatted.into())),
        ("params", params),
    ] {
        let Some(mut value) = value else { continue };
        note(
            &mut below,
            || key.to_owned(),
            bounds::trim(&mut value, message_bounds()),
        );
        out.insert(key.to_owned(), value);
    }
    note(
        notes,
        || "logentry".to_owned(),
        bounds::with_cut(below, 0, 0),
    );
    Some(Value::Object(out))
}

/// Puts parameters into a template: `%s` and its kin, `{}`, and `%(name)s` or `{name}` where they are named. One pass that
/// stops where a message is cut: what a parameter holds is no template, and no event grows beyond what is kept.
fn interpolate(template: &str, params: Option<&Value>) -> String {
    const BYTES_MAX: usize = 4 * bounds::MESSAGE_CHARS_MAX;
    const NAME_BYTES_MAX: usize = 256;
    const PLACES: [&str; 6] = ["%s", "%d", "%i", "%r", "%f", "{}"];
    let named = params.and_then(Value::as_object);
    let mut list = params.and_then(Value::as_array).into_iter().flatten();
    let mut out = String::new();
    let mut rest = template;
    while let Some(at) = rest.find(['%', '{']).filter(|_| out.len() <= BYTES_MAX) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let near = &rest[..rest.floor_char_boundary(NAME_BYTES_MAX)];
        let name_within = |start: &str, end: &str| {
            let (name, _) = near.strip_prefix(start)?.split_once(end)?;
            let value = named?.get(name)?;
            Some((value, start.len() + name.len() + end.len()))
        };
        let found = if named.is_some() {
            name_within("%(", ")s").or_else(|| name_within("{", "}"))
        } else {
            let place = PLACES.iter().find(|place| rest.starts_with(**place));
            place.and_then(|place| Some((list.next()?, place.len())))
        };
        let len = match found {
            Some((Value::String(text), len)) => {
                out.push_str(text);
                len
            }
            Some((value, len)) => {
                out.push_str(&value.to_string());
                len
            }
            None => {
                out.push_str(&rest[..1]);
                1
            }
        };
        rest = &rest[len..];
    }
    out.push_str(rest);
    out
}

/// A list whose parts are texts; other scalars are written out, the rest dropped; nothing if empty.
pub(super) fn fingerprint(value: Value) -> Option<Value> {
    let parts: Vec<Value> = match value {
        Value::Array(parts) => parts,
        Value::String(part) => vec![part.into()],
        _ => return None,
    };
    let parts: Vec<Value> = parts
        .into_iter()
        .filter(|part| !part.is_array() && !part.is_object())
        .filter_map(text)
        .take(bounds::FINGERPRINT_PARTS_MAX)
        .map(|mut part| {
            bounds::trim_text(&mut part, bounds::PATH_CHARS_MAX);
            part.into()
        })
        .collect();
    (!parts.is_empty()).then(|| parts.into())
}

/// The user: known properties as texts, `{{auto}}` as the connection's address.
pub(super) fn user(
    value: Value,
    remote: Option<IpAddr>,
    notes: &mut Map<String, Value>,
) -> Option<Value> {
    let Value::Object(mut given) = value else {
        return None;
    };
    let mut out = Map::new();
    for key in ["id", "email", "username", "name"] {
        if let Some(mut property) = take(&mut given, key).and_then(word) {
            bounds::trim_text(&mut property, bounds::NAME_CHARS_MAX);
            out.insert(key.to_owned(), property.into());
        }
    }
    let address = match take(&mut given, "ip_address").and_then(word).as_deref() {
        Some("{{auto}}") => remote,
        Some(address) => address.parse().ok(),
        None => None,
    };
    if let Some(address) = address {
        out.insert("ip_address".to_owned(), address.to_string().into());
    }
    given.remove("ip_address");
    given.retain(|_, value| !value.is_null());
    let below = bounds::trim_object(&mut given, bounds::VARIABLES);
    note(notes, || "user".to_owned(), below);
    for (key, value) in given {
        out.entry(key).or_insert(value);
    }
    (!out.is_empty()).then_some(Value::Object(out))
}

/// The HTTP request: headers, query and cookies become lists of pairs; secrets and cookies are taken out.
pub(super) fn request(value: Value, notes: &mut Map<String, Value>) -> Option<Value> {
    let Value::Object(mut given) = value else {
        return None;
    };
    let mut out = Map::new();
    let mut below = Map::new();
    for key in [
        "url",
        "method",
        "fragment",
        "inferred_content_type",
        "api_target",
    ] {
        if let Some(text) = take(&mut given, key).and_then(word) {
            let mut text = Value::from(text);
            let bounds = bounds::Bounds {
                chars: bounds::PATH_CHARS_MAX,
                ..bounds::DATA
            };
            note(
                &mut below,
                || key.to_owned(),
                bounds::trim(&mut text, bounds),
            );
            out.insert(key.to_owned(), text);
        }
    }
    for key in ["headers", "query_string", "cookies"] {
        let given = match take(&mut given, key) {
            Some(Value::String(text)) if key == "query_string" => form(&text),
            Some(Value::String(text)) if key == "cookies" => {
                form(&text.replace("; ", "&").replace(';', "&"))
            }
            Some(value) => pairs(value),
            None => continue,
        };
        let (list, list_note) = secret_pairs(given, key == "cookies");
        note(&mut below, || key.to_owned(), list_note);
        if !list.is_empty() {
            out.insert(key.to_owned(), list.into());
        }
    }
    for key in ["data", "env"] {
        let Some(mut value) = take(&mut given, key) else {
            continue;
        };
        if key == "data" {
            value = body(value);
        }
        note(
            &mut below,
            || key.to_owned(),
            bounds::trim(&mut value, bounds::DATA),
        );
        out.insert(key.to_owned(), value);
    }
    note(
        notes,
        || "request".to_owned(),
        bounds::with_cut(below, 0, 0),
    );
    (!out.is_empty()).then_some(Value::Object(out))
}

/// A body given as a text is read as JSON where it is JSON, so that its secrets are seen.
fn body(value: Value) -> Value {
    match value {
        Value::String(text) if text.trim_start().starts_with(['{', '[']) => {
            lenient_json::parse(text.as_bytes()).unwrap_or(Value::String(text))
        }
        other => other,
    }
}

fn secret_pairs(given: Vec<(String, Value)>, all_secret: bool) -> (Vec<Value>, Note) {
    let mut list = Vec::new();
    let mut notes = Map::new();
    let len = given.len();
    for (mut key, value) in given.into_iter().take(bounds::DATA.entries) {
        bounds::trim_text(&mut key, bounds::NAME_CHARS_MAX);
        let mut value = match value {
            Value::Array(mut values) if values.len() == 1 => {
                values.pop().and_then(text).unwrap_or_default().into()
            }
            value => Value::from(text(value).unwrap_or_default()),
        };
        let value_note = if value != "" && (all_secret || scrub::is_secret_key(&key)) {
            value = scrub::FILTERED.into();
            Some(bounds::scrub_note())
        } else {
            bounds::trim(&mut value, bounds::BREADCRUMB)
        };
        note(&mut notes, || list.len().to_string(), value_note);
        list.push(json!([key, value]));
    }
    (list, bounds::with_cut(notes, len, bounds::DATA.entries))
}

/// `{values}` or a list → `{values}`: the latest ones, times as RFC 3339.
pub(super) fn breadcrumbs(value: Value, notes: &mut Map<String, Value>) -> Option<Value> {
    let mut entries = list(value);
    let len = entries.len();
    entries.drain(..len.saturating_sub(bounds::BREADCRUMBS_MAX));
    let mut values = Vec::with_capacity(entries.len());
    let mut below = Map::new();
    for entry in entries {
        let mut given = match entry {
            Value::Object(given) => given,
            scalar => Map::from_iter([("message".to_owned(), scalar)]),
        };
        let mut out = Map::new();
        if let Some(time) = take(&mut given, "timestamp").and_then(|time| timestamps::parse(&time))
        {
            out.insert("timestamp".to_owned(), time.to_string().into());
        }
        for key in ["type", "category", "message", "level", "event_id"] {
            if let Some(text) = take(&mut given, key).and_then(text) {
                out.insert(key.to_owned(), text.into());
            }
        }
        if let Some(data) = take(&mut given, "data") {
            out.insert("data".to_owned(), data);
        }
        let entry_note = bounds::trim_object(&mut out, bounds::BREADCRUMB);
        note(&mut below, || values.len().to_string(), entry_note);
        values.push(Value::Object(out));
    }
    if let Some(below) = bounds::with_cut(below, len, bounds::BREADCRUMBS_MAX) {
        notes.insert("breadcrumbs".to_owned(), json!({ "values": below }));
    }
    (!values.is_empty()).then(|| json!({ "values": values }))
}

#[cfg(test)]
mod tests {
    use super::interpolate;
    use serde_json::json;

    #[test]
    fn templates_take_their_parameters() {
        for (template, params, expected) in [
            (
                "User %s not found in %d",
                json!(["a", 3]),
                "User a not found in 3",
            ),
            ("{} of {}", json!([1]), "1 of {}"),
            (
                "%(who)s and {what}",
                json!({ "who": "x", "what": 2 }),
                "x and 2",
            ),
            ("100%", json!(["a"]), "100%"),
        ] {
            assert_eq!(interpolate(template, Some(&params)), expected);
        }
    }
}
