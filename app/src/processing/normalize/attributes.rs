//! Tags, messages, the user, the request, breadcrumbs and the client's fingerprint in all their shapes.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::IpAddr;

use serde_json::json;

use super::bounds::{self, Note, Notes, note};
use super::exceptions::message_bounds;
use super::json as lenient_json;
use super::value::{Map, Text, Value};
use super::values::{form, list, pairs, replaced, take, text, time, word};
use crate::processing::scrub;

/// A map or a list of pairs → a list of pairs of texts, keys unique.
pub(super) fn tags<'a>(value: Value<'a>, notes: &mut Notes) -> Option<Value<'a>> {
    let mut seen = HashSet::new();
    let mut tags = Vec::new();
    let mut below = Notes::new();
    let given = pairs(value);
    let len = given.len();
    for (key, value) in given {
        let Some(key) = word(Value::from(key)) else {
            continue;
        };
        let mut key = replaced(key, &['\n', '\r'], " ");
        let Some(value) = word(value) else { continue };
        bounds::trim_text(&mut key, bounds::NAME_CHARS_MAX);
        if tags.len() == bounds::TAGS_MAX || !seen.insert(key.clone()) {
            continue;
        }
        let mut value = Value::from(replaced(value, &['\n', '\r'], " "));
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
        tags.push(Value::Array(vec![key.into(), value]));
    }
    note(
        notes,
        || "tags".to_owned(),
        bounds::with_cut(below, len, bounds::TAGS_MAX),
    );
    (!tags.is_empty()).then_some(Value::Array(tags))
}

/// `logentry`, or a top-level `message` as a text or an object → `{message?, formatted, params?}`.
pub(super) fn logentry<'a>(value: Value<'a>, notes: &mut Notes) -> Option<Value<'a>> {
    let mut given = match value {
        Value::Object(given) => given,
        scalar => {
            let mut given = Map::new();
            given.push("formatted", scalar);
            given
        }
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
        (None, Some(template)) => Cow::Owned(interpolate(template, params.as_ref())),
        (None, None) => return None,
    };
    let mut out = Map::new();
    let mut below = Notes::new();
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
        out.push(key, value);
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
fn interpolate(template: &str, params: Option<&Value<'_>>) -> String {
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
pub(super) fn fingerprint(value: Value<'_>) -> Option<Value<'_>> {
    let parts: Vec<Value<'_>> = match value {
        Value::Array(parts) => parts,
        Value::String(part) => vec![part.into()],
        _ => return None,
    };
    let parts: Vec<Value<'_>> = parts
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
pub(super) fn user<'a>(
    value: Value<'a>,
    remote: Option<IpAddr>,
    notes: &mut Notes,
) -> Option<Value<'a>> {
    let Value::Object(mut given) = value else {
        return None;
    };
    let mut out = Map::new();
    for key in ["id", "email", "username", "name"] {
        if let Some(mut property) = take(&mut given, key).and_then(word) {
            bounds::trim_text(&mut property, bounds::NAME_CHARS_MAX);
            out.push(key, property);
        }
    }
    let address = match take(&mut given, "ip_address").and_then(word).as_deref() {
        Some("{{auto}}") => remote,
        Some(address) => address.parse().ok(),
        None => None,
    };
    if let Some(address) = address {
        out.push("ip_address", address.to_string());
    }
    given.remove("ip_address");
    given.retain(|_, value| !value.is_null());
    let below = bounds::trim_object(&mut given, bounds::VARIABLES);
    note(notes, || "user".to_owned(), below);
    for (key, value) in given {
        out.insert_missing(key, value);
    }
    (!out.is_empty()).then_some(Value::Object(out))
}

/// The HTTP request: headers, query and cookies become lists of pairs; secrets and cookies are taken out.
pub(super) fn request<'a>(value: Value<'a>, notes: &mut Notes) -> Option<Value<'a>> {
    let Value::Object(mut given) = value else {
        return None;
    };
    let mut out = Map::new();
    let mut below = Notes::new();
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
            out.push(key, text);
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
            out.push(key, list);
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
        out.push(key, value);
    }
    note(
        notes,
        || "request".to_owned(),
        bounds::with_cut(below, 0, 0),
    );
    (!out.is_empty()).then_some(Value::Object(out))
}

/// A body given as a text is read as JSON where it is JSON, so that its secrets are seen.
fn body(value: Value<'_>) -> Value<'_> {
    match value {
        Value::String(text) if text.trim_start().starts_with(['{', '[']) => {
            match lenient_json::parse_text(&text) {
                // The text may be one that was put together from escapes; what is read of it must not end with it.
                Ok(value) => value.into_owned(),
                Err(_) => Value::String(text),
            }
        }
        other => other,
    }
}

fn secret_pairs<'a>(given: Vec<(Text<'a>, Value<'a>)>, all_secret: bool) -> (Vec<Value<'a>>, Note) {
    let mut list = Vec::new();
    let mut notes = Notes::new();
    let len = given.len();
    for (mut key, value) in given.into_iter().take(bounds::DATA.entries) {
        bounds::trim_text(&mut key, bounds::NAME_CHARS_MAX);
        let mut value = match value {
            Value::Array(mut values) if values.len() == 1 => {
                Value::from(values.pop().and_then(text).unwrap_or_default())
            }
            value => Value::from(text(value).unwrap_or_default()),
        };
        let is_blank = matches!(&value, Value::String(text) if text.is_empty());
        let value_note = if !is_blank && (all_secret || scrub::is_secret_key(&key)) {
            value = scrub::FILTERED.into();
            Some(bounds::scrub_note())
        } else {
            bounds::trim(&mut value, bounds::BREADCRUMB)
        };
        note(&mut notes, || list.len().to_string(), value_note);
        list.push(Value::Array(vec![key.into(), value]));
    }
    (list, bounds::with_cut(notes, len, bounds::DATA.entries))
}

/// `{values}` or a list → `{values}`: the latest ones, times as RFC 3339.
pub(super) fn breadcrumbs<'a>(value: Value<'a>, notes: &mut Notes) -> Option<Value<'a>> {
    let mut entries = list(value);
    let len = entries.len();
    entries.drain(..len.saturating_sub(bounds::BREADCRUMBS_MAX));
    let mut values = Vec::with_capacity(entries.len());
    let mut below = Notes::new();
    for entry in entries {
        let mut given = match entry {
            Value::Object(given) => given,
            scalar => {
                let mut given = Map::new();
                given.push("message", scalar);
                given
            }
        };
        let mut out = Map::new();
        if let Some(time) = take(&mut given, "timestamp").and_then(time) {
            out.push("timestamp", time.to_string());
        }
        for key in ["type", "category", "message", "level", "event_id"] {
            if let Some(text) = take(&mut given, key).and_then(text) {
                out.push(key, text);
            }
        }
        if let Some(data) = take(&mut given, "data") {
            out.push("data", data);
        }
        let entry_note = bounds::trim_object(&mut out, bounds::BREADCRUMB);
        note(&mut below, || values.len().to_string(), entry_note);
        values.push(Value::Object(out));
    }
    if let Some(below) = bounds::with_cut(below, len, bounds::BREADCRUMBS_MAX) {
        notes.insert("breadcrumbs".to_owned(), json!({ "values": below }));
    }
    (!values.is_empty()).then(|| Value::wrapped("values", values))
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
            assert_eq!(interpolate(template, Some(&params.into())), expected);
        }
    }
}
