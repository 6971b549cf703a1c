//! The fingerprint a client asks for: its parts, with `{{ default }}` and other variables filled in.
//!
//! Source: Sentry, docs, "SDK fingerprinting" and "Fingerprint rules: variables".

use crate::domain::{Frame, NormalEvent};

/// The longest a part becomes, in bytes, give or take one variable: a message, however often it is asked for.
const PART_BYTES_MAX: usize = 64 * 1024;

/// Whether the client leaves grouping to us.
pub(super) fn is_default(parts: &[String]) -> bool {
    parts.is_empty() || matches!(parts, [part] if variable(part) == Some("default"))
}

/// The parts with every variable filled in; `frame` is where it happened, and `default` stands for our own hash.
pub(super) fn fill<S>(event: &NormalEvent<S>, frame: Option<&Frame>, default: &str) -> Vec<String> {
    event
        .fingerprint
        .iter()
        .map(|part| fill_part(part, event, frame, default))
        .collect()
}

/// The name within `{{ name }}`, if a part is nothing else.
fn variable(part: &str) -> Option<&str> {
    Some(part.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim())
}

fn fill_part<S>(
    part: &str,
    event: &NormalEvent<S>,
    frame: Option<&Frame>,
    default: &str,
) -> String {
    let mut out = String::with_capacity(part.len());
    let mut rest = part;
    while let Some((before, after)) = rest.split_once("{{") {
        if out.len() > PART_BYTES_MAX {
            break;
        }
        let Some((name, after)) = after.split_once("}}") else {
            break;
        };
        out.push_str(before);
        out.push_str(&value(name.trim(), event, frame, default));
        rest = after;
    }
    out.push_str(rest);
    out
}

fn value<S>(name: &str, event: &NormalEvent<S>, frame: Option<&Frame>, default: &str) -> String {
    let exception = event.exceptions.values.last();
    let known = match name {
        "default" => Some(default.to_owned()),
        "message" => event
            .message()
            .or_else(|| exception?.value.as_deref())
            .map(str::to_owned),
        "type" | "error.type" => exception.and_then(|exception| exception.kind.clone()),
        "value" | "error.value" => exception.and_then(|exception| exception.value.clone()),
        "function" | "stack.function" => frame.and_then(|frame| frame.function.clone()),
        "module" | "stack.module" => frame.and_then(|frame| frame.module.clone()),
        "package" | "stack.package" => frame.and_then(|frame| frame.package.clone()),
        "path" | "stack.abs_path" => {
            frame.and_then(|frame| frame.abs_path.clone().or_else(|| frame.filename.clone()))
        }
        "transaction" => event.transaction.clone(),
        "level" => Some(event.level.to_string()),
        "logger" => event.logger.clone(),
        "environment" => Some(event.environment.clone()),
        "release" => event.release.clone(),
        _ => name.strip_prefix("tags.").and_then(|key| {
            event
                .tags
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value.clone())
        }),
    };
    known.unwrap_or_else(|| format!("<no-{name}>"))
}

#[cfg(test)]
mod tests {
    use super::{PART_BYTES_MAX, fill};
    use crate::domain::NormalEvent;
    use serde_json::{Value, json};

    fn event(message: &str, part: &str) -> NormalEvent {
        let event: Value = json!({
            "event_id": "9ec79c33ec9942ab8353589fcb2e04dc", "timestamp": "2024-05-01T10:00:00Z",
            "received": "2024-05-01T10:00:00Z", "level": "error", "platform": "other", "environment": "production",
            "logentry": { "formatted": message }, "fingerprint": [part],
        });
        serde_json::from_value(event).unwrap()
    }

    #[test]
    fn a_message_asked_for_again_and_again_fills_so_much_and_no_more() {
        let filled = fill(
            &event("m", "{{ message }}-{{message}}-{{ nothing }}"),
            None,
            "own",
        );
        assert_eq!(filled, ["m-m-<no-nothing>"]);
        let message = "x".repeat(8192);
        let filled = fill(&event(&message, &"{{message}}".repeat(90)), None, "own");
        assert!(filled[0].len() <= PART_BYTES_MAX + message.len() + 90 * 11);
    }
}
