//! What people read of an event: its title, and where it happened.
//!
//! Source: getsentry/sentry `eventtypes/error.py` and `culprit.py`.

use crate::domain::{Frame, NormalEvent};

/// The longest title or culprit, in characters.
const LINE_CHARS_MAX: usize = 200;

/// One line that names the problem: `Type: value`, the value of an exception without type, or the message.
pub(super) fn title<S>(event: &NormalEvent<S>, crash_frame: Option<&Frame>) -> String {
    let title = match event.exceptions.values.last() {
        Some(exception) => {
            let value = exception
                .value
                .as_deref()
                .map(first_line)
                .unwrap_or_default();
            match (exception.kind.as_deref(), value) {
                (Some(kind), "") => kind.to_owned(),
                (Some(kind), value) => format!("{kind}: {value}"),
                (None, "") => crash_frame
                    .and_then(|frame| frame.function.clone())
                    .unwrap_or_default(),
                (None, value) => value.to_owned(),
            }
        }
        None => event
            .message()
            .map(first_line)
            .unwrap_or_default()
            .to_owned(),
    };
    if title.is_empty() {
        "<unlabeled event>".to_owned()
    } else {
        shorten(title)
    }
}

/// Where it happened: what the SDK said, the transaction, or the innermost frame of the program's own code.
pub(super) fn culprit<S>(event: &NormalEvent<S>, crash_frame: Option<&Frame>) -> String {
    let said = event.culprit.clone().or_else(|| event.transaction.clone());
    let culprit = said.or_else(|| {
        let frame = crash_frame?;
        let place = frame
            .module
            .as_deref()
            .or(frame.filename.as_deref())
            .unwrap_or_default();
        let is_named = |name: &&str| !name.ends_with('?') && !name.ends_with("<anonymous>");
        Some(match (place, frame.function.as_deref().filter(is_named)) {
            ("", function) => function.unwrap_or_default().to_owned(),
            (place, None) => place.to_owned(),
            (place, Some(function)) => format!("{place} in {function}"),
        })
    });
    shorten(culprit.unwrap_or_default())
}

fn first_line(text: &str) -> &str {
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default()
}

fn shorten(text: String) -> String {
    match text.char_indices().nth(LINE_CHARS_MAX) {
        None => text,
        Some(_) => text.chars().take(LINE_CHARS_MAX - 1).chain(['…']).collect(),
    }
}
