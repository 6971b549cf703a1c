//! What users write: the item `user_report`, and its successor `feedback`, which is shaped like an event.
//!
//! Source: Sentry, developer docs, "User Feedback" and "Envelope items"; getsentry/relay `protocol/user_report.rs`.

use serde::{Deserialize, Deserializer};

use crate::domain::EventId;
use crate::domain::user_report::UserReport;

/// Takes the secrets out of a text; `None` if it holds none.
pub type Scrub = fn(&str) -> Option<String>;

/// The longest message kept, in characters; Sentry's documented bound.
const MESSAGE_CHARACTERS_MAX: usize = 4096;

/// The longest other text kept, in characters.
const TEXT_CHARACTERS_MAX: usize = 200;

/// The longest address of a page kept, in characters.
const URL_CHARACTERS_MAX: usize = 2048;

/// The largest item that is read, in bytes.
const BYTES_MAX: usize = 256 * 1024;

/// A text, or whatever stands in its place, which is none.
#[derive(Default)]
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Text, D::Error> {
        Ok(match serde_json::Value::deserialize(from)? {
            serde_json::Value::String(text) => Text(text),
            _ => Text::default(),
        })
    }
}

impl Text {
    /// What is kept of a text that is as its writer wants to be called or answered: trimmed, bounded, and without NUL, which the
    /// database takes in no text.
    fn kept(&self, characters_max: usize) -> String {
        kept(&self.0, characters_max)
    }

    /// What is kept of a text that may hold secrets: they go before it is cut, since of half a secret nobody could tell what it is.
    fn scrubbed(&self, scrub: Scrub, characters_max: usize) -> String {
        match scrub(&self.0) {
            Some(clean) => kept(&clean, characters_max),
            None => kept(&self.0, characters_max),
        }
    }

    fn id(&self) -> Option<EventId> {
        let id = self.0.trim().parse().ok();
        id.filter(|id: &EventId| !id.as_uuid().is_nil())
    }
}

fn kept(text: &str, characters_max: usize) -> String {
    let kept = text.trim().chars().take(characters_max);
    kept.map(|c| if c == '\0' { '\u{fffd}' } else { c })
        .collect()
}

/// Reads a `user_report`, which names its event; `None` if it names none or says nothing.
#[must_use]
pub fn read_user_report(payload: &[u8], scrub: Scrub) -> Option<UserReport> {
    #[derive(Deserialize)]
    struct Item {
        #[serde(default)]
        event_id: Text,
        #[serde(default)]
        name: Text,
        #[serde(default)]
        email: Text,
        #[serde(default)]
        comments: Text,
    }
    let item: Item = read(payload)?;
    let event_id = item.event_id.id()?;
    let report = UserReport {
        id: UserReport::derive_id(event_id, "user_report", 0),
        event_id: Some(event_id),
        name: item.name.kept(TEXT_CHARACTERS_MAX),
        email: item.email.kept(TEXT_CHARACTERS_MAX),
        message: item.comments.scrubbed(scrub, MESSAGE_CHARACTERS_MAX),
        url: String::new(),
    };
    says_something(report)
}

/// Reads a `feedback`, the `nth` item of an envelope with this id, from which its own is derived if it has none. `None` if neither has an id, or
/// it says nothing.
#[must_use]
pub fn read_feedback(
    payload: &[u8],
    envelope_id: Option<EventId>,
    nth: usize,
    scrub: Scrub,
) -> Option<UserReport> {
    #[derive(Deserialize)]
    struct Item {
        #[serde(default)]
        event_id: Text,
        contexts: Contexts,
    }
    #[derive(Deserialize)]
    struct Contexts {
        feedback: Feedback,
    }
    #[derive(Deserialize)]
    struct Feedback {
        #[serde(default)]
        message: Text,
        #[serde(default)]
        name: Text,
        #[serde(default)]
        contact_email: Text,
        #[serde(default)]
        url: Text,
        #[serde(default)]
        associated_event_id: Text,
    }
    let item: Item = read(payload)?;
    let feedback = item.contexts.feedback;
    let report = UserReport {
        id: match item.event_id.id() {
            Some(id) => id,
            None => UserReport::derive_id(envelope_id?, "feedback", nth),
        },
        event_id: feedback.associated_event_id.id(),
        name: feedback.name.kept(TEXT_CHARACTERS_MAX),
        email: feedback.contact_email.kept(TEXT_CHARACTERS_MAX),
        message: feedback.message.scrubbed(scrub, MESSAGE_CHARACTERS_MAX),
        url: feedback.url.scrubbed(scrub, URL_CHARACTERS_MAX),
    };
    says_something(report)
}

fn read<'p, T: Deserialize<'p>>(payload: &'p [u8]) -> Option<T> {
    if payload.len() > BYTES_MAX {
        return None;
    }
    serde_json::from_slice(payload).ok()
}

fn says_something(report: UserReport) -> Option<UserReport> {
    (!report.message.is_empty()).then_some(report)
}

#[cfg(test)]
mod tests {
    use super::{read_feedback, read_user_report};
    use crate::domain::EventId;
    use proptest::prelude::{any, prop_assert, proptest};
    use std::collections::HashSet;

    const ID: &str = "7f7aaadfa00642179ed55fbf8585c6c0";

    fn none(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn secrets_go_before_the_cut_and_contacts_stay() {
        fn scrub(text: &str) -> Option<String> {
            text.contains("secret").then(|| text.replace("secret", "*"))
        }
        let words = |before: usize| format!("{}secret", "x".repeat(before));
        let item = format!(
            r#"{{"event_id":"{ID}","name":"secret","email":"secret@b.example","comments":"{}"}}"#,
            words(4093)
        );
        let report = read_user_report(item.as_bytes(), scrub).unwrap();
        assert_eq!(report.message, format!("{}*", "x".repeat(4093)));
        assert_eq!(report.name, "secret");
        assert_eq!(report.email, "secret@b.example");
        let item = format!(
            r#"{{"event_id":"{ID}","contexts":{{"feedback":{{"message":"{}","name":"secret",
            "contact_email":"secret@b.example","url":"{}"}}}}}}"#,
            words(4093),
            words(2045)
        );
        let report = read_feedback(item.as_bytes(), None, 0, scrub).unwrap();
        assert_eq!(report.message, format!("{}*", "x".repeat(4093)));
        assert_eq!(report.url, format!("{}*", "x".repeat(2045)));
        assert_eq!(report.name, "secret");
        assert_eq!(report.email, "secret@b.example");
    }

    #[test]
    fn a_report_belongs_to_its_event_and_is_bounded() {
        let long = "x".repeat(10_000);
        let item = format!(
            r#"{{"event_id":"{ID}","name":" Ada ","email":null,"comments":"it \u0000 broke {long}"}}"#
        );
        let report = read_user_report(item.as_bytes(), none).unwrap();
        assert_eq!(report.event_id, Some(ID.parse().unwrap()));
        assert_eq!((report.name.as_str(), report.email.as_str()), ("Ada", ""));
        assert!(report.message.starts_with("it \u{fffd} broke x"));
        assert_eq!(report.message.chars().count(), 4096);
        for nothing in [
            r#"{"comments":"whose?"}"#.to_owned(),
            format!(r#"{{"event_id":"{ID}","comments":"  "}}"#),
            format!(r#"{{"event_id":"{ID}"}}"#),
            "[]".to_owned(),
            "x".repeat(1 << 20),
        ] {
            assert_eq!(
                read_user_report(nothing.as_bytes(), none),
                None,
                "{nothing:.40}"
            );
        }
    }

    #[test]
    fn feedback_has_an_id_of_its_own_and_may_name_an_event() {
        let item = format!(
            r#"{{"event_id":"{ID}","contexts":{{"feedback":{{"message":"slow","contact_email":"a@b.example",
            "url":"https://shop.example/","associated_event_id":"{}"}},"other":7}}}}"#,
            ID.replace('7', "8")
        );
        let report = read_feedback(item.as_bytes(), None, 0, none).unwrap();
        assert_eq!(report.id, ID.parse().unwrap());
        assert_eq!(report.event_id, Some(ID.replace('7', "8").parse().unwrap()));
        assert_eq!(report.url, "https://shop.example/");
        let other = ID.replace('f', "e").parse().unwrap();
        let with_other = read_feedback(item.as_bytes(), Some(other), 0, none);
        assert_eq!(with_other.unwrap().id, report.id);
        assert_eq!(read_feedback(b"{}", Some(other), 0, none), None);
    }

    #[test]
    fn what_came_with_one_id_has_ids_that_differ_and_do_not_change() {
        let comments = format!(r#"{{"event_id":"{ID}","comments":"it broke"}}"#);
        let words = br#"{"contexts":{"feedback":{"message":"slow"}}}"#;
        let envelope_id: EventId = ID.parse().unwrap();
        let read = || {
            let report = read_user_report(comments.as_bytes(), none).unwrap();
            let feedbacks =
                [0, 1].map(|nth| read_feedback(words, Some(envelope_id), nth, none).unwrap());
            [envelope_id, report.id, feedbacks[0].id, feedbacks[1].id]
        };
        let ids = read();
        assert_eq!(ids, read());
        assert_eq!(HashSet::from(ids).len(), 4);
        assert_eq!(read_feedback(words, None, 0, none), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in any::<Vec<u8>>()) {
            prop_assert!(read_user_report(&bytes, none).is_none());
            prop_assert!(read_feedback(&bytes, None, 0, none).is_none());
        }
    }
}
