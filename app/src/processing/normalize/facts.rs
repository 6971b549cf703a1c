//! The part of a normalised event that grouping reads, as JSON beside the payload, so that nobody has to unpack and read the whole event again.

use super::value::{Map, Value};

/// Which keys of an object grouping reads, and what below them.
struct Part(&'static [(&'static str, Below)]);

/// What of a value is read.
enum Below {
    /// All of it.
    All,
    /// Some keys; of a list, those of each entry.
    Some(&'static Part),
}

/// The attributes of [`crate::domain::NormalEvent`].
const EVENT: Part = Part(&[
    ("event_id", Below::All),
    ("timestamp", Below::All),
    ("received", Below::All),
    ("level", Below::All),
    ("platform", Below::All),
    ("logger", Below::All),
    ("logentry", Below::Some(&LOG_ENTRY)),
    ("exception", Below::Some(&EXCEPTIONS)),
    ("stacktrace", Below::Some(&STACK)),
    ("transaction", Below::All),
    ("culprit", Below::All),
    ("environment", Below::All),
    ("release", Below::All),
    ("dist", Below::All),
    ("server_name", Below::All),
    ("user", Below::Some(&USER)),
    ("tags", Below::All),
    ("fingerprint", Below::All),
    ("sdk", Below::Some(&SDK)),
]);

const LOG_ENTRY: Part = Part(&[("message", Below::All), ("formatted", Below::All)]);

const EXCEPTIONS: Part = Part(&[("values", Below::Some(&EXCEPTION))]);

const EXCEPTION: Part = Part(&[
    ("type", Below::All),
    ("value", Below::All),
    ("module", Below::All),
    ("mechanism", Below::Some(&MECHANISM)),
    ("stacktrace", Below::Some(&STACK)),
]);

const MECHANISM: Part = Part(&[
    ("type", Below::All),
    ("handled", Below::All),
    ("synthetic", Below::All),
]);

const STACK: Part = Part(&[("frames", Below::Some(&FRAME))]);

const FRAME: Part = Part(&[
    ("function", Below::All),
    ("module", Below::All),
    ("filename", Below::All),
    ("abs_path", Below::All),
    ("package", Below::All),
    ("platform", Below::All),
    ("context_line", Below::All),
    ("lineno", Below::All),
    ("in_app", Below::All),
]);

const USER: Part = Part(&[
    ("id", Below::All),
    ("email", Below::All),
    ("username", Below::All),
    ("ip_address", Below::All),
]);

const SDK: Part = Part(&[("name", Below::All), ("version", Below::All)]);

/// Appends the facts of a normalised event.
pub(super) fn write(event: &Map<'_>, out: &mut Vec<u8>) {
    write_part(event, &EVENT, out);
}

fn write_part(map: &Map<'_>, part: &Part, out: &mut Vec<u8>) {
    let mut mark = b'{';
    for (key, value) in map.iter() {
        let Some((name, below)) = part.0.iter().find(|(name, _)| name == key) else {
            continue;
        };
        out.push(mark);
        mark = b',';
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        match below {
            Below::All => value.write(out),
            Below::Some(part) => write_value(value, part, out),
        }
    }
    if mark == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
}

fn write_value(value: &Value<'_>, part: &Part, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => write_part(map, part, out),
        Value::Frame(frame) => out.extend_from_slice(frame.facts.as_bytes()),
        Value::Array(list) => {
            out.push(b'[');
            for (at, entry) in list.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_value(entry, part, out);
            }
            out.push(b']');
        }
        other => other.write(out),
    }
}
