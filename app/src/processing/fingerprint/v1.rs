//! Version 1 of the grouping algorithm. Frozen: a change makes version 2.
//!
//! In this order, the first that says anything: the client's fingerprint; the frames of the program's own code over all chained
//! exceptions, with the exceptions' types (frames of libraries only where there are no others); type and parameterised value;
//! the parameterised message; the transaction.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::frames::{self, Role, Signature};
use super::{Grouped, client};
use crate::domain::event::Contribution;
use crate::domain::{Exception, Fingerprint, Frame, NormalEvent, Stacktrace};
use crate::processing::parameterize::parameterize;

/// The version that its hashes carry.
pub const VERSION: u16 = 1;

/// An explanation lists at most so many parts.
const CONTRIBUTIONS_MAX: usize = 120;

/// Groups an event by this version.
#[must_use]
pub fn fingerprint(event: &NormalEvent) -> Grouped {
    let own = by_stack(event)
        .or_else(|| by_exception(event))
        .or_else(|| by_message(event))
        .unwrap_or_else(|| by_nothing(event));
    let own_hash = hash(own.method, &own.parts);
    let (method, hash) = if client::is_default(&event.fingerprint) {
        (own.method, own_hash)
    } else {
        ("client", hash("client", &client::fill(event, &own_hash)))
    };
    let is_replaced = method == "client"
        && !event
            .fingerprint
            .iter()
            .any(|part| part.contains("default"));
    let mut contributions = own.contributions;
    if is_replaced {
        for contribution in contributions
            .iter_mut()
            .filter(|contribution| contribution.contributes)
        {
            contribution.contributes = false;
            contribution.reason = Some("the client's fingerprint replaces it");
        }
    }
    let left_out = contributions.len().saturating_sub(CONTRIBUTIONS_MAX);
    contributions.truncate(CONTRIBUTIONS_MAX);
    let explanation = json!({
        "version": VERSION,
        "method": method,
        "summary": summary(method),
        "fingerprint": event.fingerprint,
        "contributions": contributions,
        "left_out": left_out,
    });
    Grouped {
        fingerprint: Fingerprint {
            version: VERSION,
            hash,
        },
        explanation,
    }
}

fn summary(method: &str) -> &'static str {
    match method {
        "client" => "grouped by the fingerprint the client set",
        "stack" => "grouped by the calls of the program's own code and the types of the exceptions",
        "system stack" => {
            "grouped by the calls of libraries, for there are none of the program's own, and the types of the exceptions"
        }
        "exception" => "grouped by type and text of the exceptions, for there is no stack",
        "message" => "grouped by the message, with what varies in it taken out",
        _ => "the event says nothing to group by but its transaction",
    }
}

/// What one method makes of an event.
struct Parts {
    method: &'static str,
    parts: Vec<String>,
    contributions: Vec<Contribution>,
}

impl Parts {
    fn new(method: &'static str) -> Self {
        Self {
            method,
            parts: Vec::new(),
            contributions: Vec::new(),
        }
    }

    fn add(&mut self, part: &'static str, value: String, reason: Option<&'static str>) {
        self.parts.push(format!("{part}:{value}"));
        self.contributions.push(Contribution {
            part,
            value,
            contributes: true,
            reason,
        });
    }

    fn leave(&mut self, part: &'static str, value: String, reason: &'static str) {
        self.contributions.push(Contribution {
            part,
            value,
            contributes: false,
            reason: Some(reason),
        });
    }

    fn add_text(&mut self, part: &'static str, text: &str) {
        let general = parameterize(text.trim());
        let reason = (general != text.trim()).then_some("what varies was taken out");
        self.add(part, general, reason);
    }
}

/// 32 hex digits over parts, each with its length so that none can pass for two.
fn hash(method: &str, parts: &[String]) -> String {
    let mut digest = Sha256::new();
    // Which frames were used is no property of the problem: only what they say is.
    let method = if method == "system stack" {
        "stack"
    } else {
        method
    };
    for part in std::iter::once(method).chain(parts.iter().map(String::as_str)) {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part.as_bytes());
    }
    digest.finalize()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The exceptions, each with its stack; the event's own stack belongs to the last, or to the message.
fn stacks(event: &NormalEvent) -> Vec<(Option<&Exception>, Option<&Stacktrace>)> {
    let exceptions = &event.exceptions.values;
    if exceptions.is_empty() {
        return vec![(None, event.stacktrace.as_ref())];
    }
    let has_own = exceptions
        .iter()
        .any(|exception| exception.stacktrace.is_some());
    let last = exceptions.len() - 1;
    exceptions
        .iter()
        .enumerate()
        .map(|(index, exception)| {
            let lent = event
                .stacktrace
                .as_ref()
                .filter(|_| !has_own && index == last);
            (Some(exception), exception.stacktrace.as_ref().or(lent))
        })
        .collect()
}

fn by_stack(event: &NormalEvent) -> Option<Parts> {
    let stacks = stacks(event);
    let usable = |in_app: bool| {
        stacks
            .iter()
            .filter_map(|(_, stack)| *stack)
            .flat_map(|stack| &stack.frames)
            .any(|frame| {
                (!in_app || frame.is_in_app())
                    && matches!(
                        frames::role(frame, &event.platform),
                        Role::Named(_) | Role::Anonymous(_)
                    )
            })
    };
    let in_app_only = usable(true);
    if !in_app_only && !usable(false) {
        return None;
    }
    let mut parts = Parts::new(if in_app_only { "stack" } else { "system stack" });
    for (exception, stack) in stacks {
        match exception {
            Some(exception) => add_exception(&mut parts, exception),
            None => add_message(&mut parts, event),
        }
        if let Some(stack) = stack {
            add_frames(&mut parts, stack, &event.platform, in_app_only);
        }
    }
    if !event.exceptions.values.is_empty()
        && let Some(message) = event.message()
    {
        parts.leave("message", parameterize(message), "the stack says more");
    }
    Some(parts)
}

/// The type; the value only where the type says nothing, as in `captureMessage` and `captureException("text")` of the Node SDK.
fn add_exception(parts: &mut Parts, exception: &Exception) {
    let is_synthetic = exception
        .mechanism
        .as_ref()
        .and_then(|mechanism| mechanism.synthetic)
        == Some(true);
    match &exception.kind {
        Some(kind) if !is_synthetic => parts.add("exception type", kind.clone(), None),
        Some(kind) => parts.leave("exception type", kind.clone(), "the SDK made it up"),
        None => {}
    }
    let Some(value) = &exception.value else {
        return;
    };
    if is_synthetic || exception.kind.is_none() {
        parts.add_text("exception value", value);
    } else {
        parts.leave(
            "exception value",
            parameterize(value),
            "the stack says more",
        );
    }
}

fn add_message(parts: &mut Parts, event: &NormalEvent) {
    if let Some(message) = event.message_template().or_else(|| event.message()) {
        parts.add_text("message", message);
    }
}

fn add_frames(parts: &mut Parts, stack: &Stacktrace, platform: &str, in_app_only: bool) {
    let roles: Vec<Role> = stack
        .frames
        .iter()
        .map(|frame| frames::role(frame, platform))
        .collect();
    let is_ours = |frame: &Frame| !in_app_only || frame.is_in_app();
    // A function without a name counts only where it happened: callbacks on the way come and go.
    let last = roles.iter().zip(&stack.frames).rposition(|(role, frame)| {
        is_ours(frame) && matches!(role, Role::Named(_) | Role::Anonymous(_))
    });
    let mut candidates: Vec<(usize, &Signature)> = Vec::new();
    let mut reasons: Vec<&'static str> = vec![""; roles.len()];
    for (index, role) in roles.iter().enumerate() {
        match role {
            _ if !is_ours(&stack.frames[index]) => reasons[index] = "not the program's own code",
            Role::Named(signature) => candidates.push((index, signature)),
            Role::Anonymous(signature) if Some(index) == last => {
                candidates.push((index, signature))
            }
            Role::Anonymous(_) => reasons[index] = "a function without a name",
            Role::Generated => reasons[index] = "made by a compiler",
            Role::Empty => reasons[index] = "says nothing",
        }
    }
    let signatures: Vec<&Signature> = candidates.iter().map(|(_, signature)| *signature).collect();
    let mut kept = vec![false; roles.len()];
    for position in frames::fold(&signatures) {
        kept[candidates[position].0] = true;
    }
    for (index, role) in roles.iter().enumerate() {
        let text = match role {
            Role::Named(signature) | Role::Anonymous(signature) => shown(signature),
            Role::Generated | Role::Empty => {
                stack.frames[index].function.clone().unwrap_or_default()
            }
        };
        match (kept[index], reasons[index]) {
            (true, _) => parts.add("frame", text, None),
            (false, "") => parts.leave("frame", text, "recursion counts once"),
            (false, reason) => parts.leave("frame", text, reason),
        }
    }
}

fn shown(signature: &Signature) -> String {
    let what = signature
        .function
        .as_deref()
        .or(signature.line.as_deref())
        .unwrap_or("<anonymous>");
    format!("{} {what}", signature.place)
}

fn by_exception(event: &NormalEvent) -> Option<Parts> {
    let mut parts = Parts::new("exception");
    for exception in &event.exceptions.values {
        if let Some(kind) = &exception.kind {
            parts.add("exception type", kind.clone(), None);
        }
        if let Some(value) = exception
            .value
            .as_deref()
            .filter(|value| !value.trim().is_empty())
        {
            parts.add_text("exception value", value);
        }
    }
    (!parts.parts.is_empty()).then_some(parts)
}

fn by_message(event: &NormalEvent) -> Option<Parts> {
    let mut parts = Parts::new("message");
    add_message(&mut parts, event);
    (!parts.parts.is_empty()).then_some(parts)
}

fn by_nothing(event: &NormalEvent) -> Parts {
    let mut parts = Parts::new("fallback");
    let name = event
        .transaction
        .as_deref()
        .or(event.culprit.as_deref())
        .unwrap_or_default();
    parts.add("transaction", parameterize(name), None);
    parts
}
