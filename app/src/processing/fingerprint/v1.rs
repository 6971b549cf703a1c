//! Version 1 of the grouping algorithm. Frozen: a change makes version 2.
//!
//! In this order, the first that says anything: the client's fingerprint; the frames of the program's own code over all chained
//! exceptions, with the exceptions' types (frames of libraries only where there are no others); type and parameterised value;
//! the parameterised message; the transaction.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::frames::{self, Role, Signature};
use super::{Grouped, client};
use crate::domain::{
    Contribution, Contributions, Exception, Fingerprint, Frame, Grouping, NormalEvent, OwnText,
    Stacktrace,
};
use crate::processing::parameterize::{parameterize, readable};

/// The version that its hashes carry.
pub const VERSION: u16 = 1;

/// An explanation lists at most so many parts.
const CONTRIBUTIONS_MAX: usize = 120;

/// Why a text beside a stack does not contribute.
const STACK_SAYS_MORE: &str = "the stack says more";

/// What the event by itself is grouped by, before its client has a say.
#[derive(Clone, Debug)]
pub(super) struct Own {
    method: &'static str,
    hash: String,
    contributions: Arc<[Contribution]>,
    left_out: usize,
}

impl Own {
    /// Looks at everything.
    pub(super) fn of(event: &NormalEvent) -> Own {
        let parts = by_stack(event)
            .or_else(|| by_exception(event))
            .or_else(|| by_message(event))
            .unwrap_or_else(|| by_nothing(event));
        let hash = parts.hash();
        let mut contributions = parts.contributions;
        let left_out = contributions.len().saturating_sub(CONTRIBUTIONS_MAX);
        contributions.truncate(CONTRIBUTIONS_MAX);
        Own {
            method: parts.method,
            hash,
            contributions: contributions.into(),
            left_out,
        }
    }

    /// Whether it is nothing but stacks and what [`contributing`] tells that were grouped by.
    pub(super) fn is_by_stack(&self) -> bool {
        matches!(self.method, "stack" | "system stack")
    }

    /// What it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        let values = self.contributions.iter().map(|part| part.value.capacity());
        self.hash.capacity() + size_of_val(&*self.contributions) + values.sum::<usize>()
    }
}

/// Groups an event by this version.
#[must_use]
pub fn fingerprint(event: &NormalEvent) -> Grouped {
    finish(event, event.crash_frame(), &Own::of(event), Vec::new())
}

/// Groups an event as one that differs from it in nothing that [`Own`] was made of.
pub(super) fn alike<S>(event: &NormalEvent<S>, crash_frame: Option<&Frame>, own: &Own) -> Grouped {
    let mut left = left(event).into_iter();
    let is_left = |part: &Contribution| part.reason == Some(STACK_SAYS_MORE);
    let places = own.contributions.iter().enumerate();
    let texts = places
        .filter(|(_, part)| is_left(part))
        .map_while(|(place, _)| {
            Some(OwnText {
                place,
                text: readable(left.next()?).to_owned(),
                shown: parameterize,
            })
        })
        .collect();
    finish(event, crash_frame, own, texts)
}

/// The texts beside the stacks that do not go into the hash, in the order in which they are explained.
fn left<S>(event: &NormalEvent<S>) -> Vec<&str> {
    let exceptions = event.exceptions.values.iter();
    let values = exceptions
        .filter(|exception| !is_grouped_by_value(exception))
        .filter_map(|exception| exception.value.as_deref());
    let message = event.message();
    values
        .chain(message.filter(|_| !event.exceptions.values.is_empty()))
        .collect()
}

/// Everything beside the stacks that tells how an event is grouped by them, but for the texts that are only explained: of those,
/// that they are there.
pub(super) fn beside_stacks<S>(event: &NormalEvent<S>) -> Vec<Option<&str>> {
    let there = |text: Option<&str>| text.map(|_| "");
    let exceptions = &event.exceptions.values;
    let mut texts = Vec::with_capacity(2 + 3 * exceptions.len());
    texts.push(Some(event.platform.as_str()));
    for exception in exceptions {
        let value = exception.value.as_deref();
        texts.push(exception.kind.as_deref());
        texts.push(exception.is_synthetic().then_some(""));
        texts.push(if is_grouped_by_value(exception) {
            value
        } else {
            there(value)
        });
    }
    texts.push(if exceptions.is_empty() {
        message_of_a_stack(event)
    } else {
        there(event.message())
    });
    texts
}

fn finish<S>(
    event: &NormalEvent<S>,
    crash_frame: Option<&Frame>,
    own: &Own,
    texts: Vec<OwnText>,
) -> Grouped {
    let (method, hash) = if client::is_default(&event.fingerprint) {
        (own.method, own.hash.clone())
    } else {
        let mut digest = PartsDigest::new("client");
        for part in client::fill(event, crash_frame, &own.hash) {
            digest.add(&[&part]);
        }
        ("client", digest.finish())
    };
    let is_replaced = method == "client"
        && !event
            .fingerprint
            .iter()
            .any(|part| part.contains("default"));
    let replaced = is_replaced.then_some("the client's fingerprint replaces it");
    Grouped {
        fingerprint: Fingerprint {
            version: VERSION,
            hash,
        },
        explanation: Grouping {
            version: VERSION,
            method,
            summary: summary(method),
            fingerprint: event.fingerprint.clone(),
            contributions: Contributions::new(own.contributions.clone(), texts, replaced),
            left_out: own.left_out,
        },
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
    contributions: Vec<Contribution>,
}

impl Parts {
    fn new(method: &'static str) -> Self {
        Self {
            method,
            contributions: Vec::new(),
        }
    }

    fn add(&mut self, part: &'static str, value: String, reason: Option<&'static str>) {
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

    /// The hash over all that contributes.
    fn hash(&self) -> String {
        let mut digest = PartsDigest::new(self.method);
        for contribution in self.contributions.iter().filter(|part| part.contributes) {
            digest.add(&[contribution.part, ":", &contribution.value]);
        }
        digest.finish()
    }

    /// Whether nothing contributes.
    fn is_empty(&self) -> bool {
        !self.contributions.iter().any(|part| part.contributes)
    }

    fn add_text(&mut self, part: &'static str, text: &str) {
        let general = parameterize(text.trim());
        let reason = (general != text.trim()).then_some("what varies was taken out");
        self.add(part, general, reason);
    }
}

/// 32 hex digits over parts, each with its length so that none can pass for two.
struct PartsDigest(Sha256);

impl PartsDigest {
    fn new(method: &str) -> Self {
        // Which frames were used is no property of the problem: only what they say is.
        let method = if method == "system stack" {
            "stack"
        } else {
            method
        };
        let mut digest = Self(Sha256::new());
        digest.add(&[method]);
        digest
    }

    /// Adds one part, given in pieces.
    fn add(&mut self, pieces: &[&str]) {
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        self.0.update((len as u64).to_le_bytes());
        for piece in pieces {
            self.0.update(piece.as_bytes());
        }
    }

    fn finish(self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = String::with_capacity(32);
        for byte in &self.0.finalize()[..16] {
            hex.push(char::from(DIGITS[usize::from(byte >> 4)]));
            hex.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        hex
    }
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
    let stacks: Vec<_> = stacks(event)
        .into_iter()
        .map(|(exception, stack)| (exception, stack.map(|stack| Calls::of(stack, event))))
        .collect();
    let usable = |in_app: bool| {
        stacks
            .iter()
            .filter_map(|(_, calls)| calls.as_ref())
            .flat_map(|calls| &calls.list)
            .any(|call| {
                (!in_app || call.is_in_app)
                    && matches!(call.role, Role::Named(_) | Role::Anonymous(_))
            })
    };
    let in_app_only = usable(true);
    if !in_app_only && !usable(false) {
        return None;
    }
    let mut parts = Parts::new(if in_app_only { "stack" } else { "system stack" });
    for (exception, calls) in stacks {
        match exception {
            Some(exception) => add_exception(&mut parts, exception),
            None => add_message(&mut parts, event),
        }
        if let Some(calls) = calls {
            add_frames(&mut parts, calls, in_app_only);
        }
    }
    if !event.exceptions.values.is_empty()
        && let Some(message) = event.message()
    {
        parts.leave("message", parameterize(message), STACK_SAYS_MORE);
    }
    Some(parts)
}

/// The frames of one stack, each looked at once.
struct Calls<'a> {
    list: Vec<Call<'a>>,
}

struct Call<'a> {
    frame: &'a Frame,
    role: Role,
    is_in_app: bool,
}

impl<'a> Calls<'a> {
    fn of(stack: &'a Stacktrace, event: &NormalEvent) -> Self {
        let call = |frame: &'a Frame| Call {
            frame,
            role: frames::role(frame, &event.platform),
            is_in_app: frame.is_in_app(),
        };
        Self {
            list: stack.frames.iter().map(call).collect(),
        }
    }
}

/// The type; the value only where the type says nothing, as in `captureMessage` and `captureException("text")` of the Node SDK.
fn add_exception(parts: &mut Parts, exception: &Exception) {
    match &exception.kind {
        Some(kind) if !exception.is_synthetic() => parts.add("exception type", kind.clone(), None),
        Some(kind) => parts.leave("exception type", kind.clone(), "the SDK made it up"),
        None => {}
    }
    let Some(value) = &exception.value else {
        return;
    };
    if is_grouped_by_value(exception) {
        parts.add_text("exception value", value);
    } else {
        parts.leave("exception value", parameterize(value), STACK_SAYS_MORE);
    }
}

fn is_grouped_by_value<S>(exception: &Exception<S>) -> bool {
    exception.is_synthetic() || exception.kind.is_none()
}

fn add_message(parts: &mut Parts, event: &NormalEvent) {
    if let Some(message) = message_of_a_stack(event) {
        parts.add_text("message", message);
    }
}

fn message_of_a_stack<S>(event: &NormalEvent<S>) -> Option<&str> {
    event.message_template().or_else(|| event.message())
}

fn add_frames(parts: &mut Parts, calls: Calls<'_>, in_app_only: bool) {
    let calls = calls.list;
    let is_ours = |call: &Call<'_>| !in_app_only || call.is_in_app;
    // A function without a name counts only where it happened: callbacks on the way come and go.
    let last = calls.iter().rposition(|call| {
        is_ours(call) && matches!(call.role, Role::Named(_) | Role::Anonymous(_))
    });
    let mut candidates: Vec<(usize, &Signature)> = Vec::new();
    let mut reasons: Vec<&'static str> = vec![""; calls.len()];
    for (index, call) in calls.iter().enumerate() {
        match &call.role {
            _ if !is_ours(call) => reasons[index] = "not the program's own code",
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
    let mut kept = vec![false; calls.len()];
    for position in frames::fold(&signatures) {
        kept[candidates[position].0] = true;
    }
    for (index, call) in calls.iter().enumerate() {
        let text = match &call.role {
            Role::Named(signature) | Role::Anonymous(signature) => shown(signature),
            Role::Generated | Role::Empty => call.frame.function.clone().unwrap_or_default(),
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
    (!parts.is_empty()).then_some(parts)
}

fn by_message(event: &NormalEvent) -> Option<Parts> {
    let mut parts = Parts::new("message");
    add_message(&mut parts, event);
    (!parts.is_empty()).then_some(parts)
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
