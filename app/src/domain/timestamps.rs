//! Times as clients write them, and how far we believe their clocks.
//!
//! Source: Sentry, developer docs, "Event payloads"; limits from getsentry/sentry `constants.py`, drift from getsentry/relay `clock_drift.rs`.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// An event from further in the future happened when it was received.
pub const FUTURE_MAX: SignedDuration = SignedDuration::from_secs(60);

/// An event from further in the past happened when it was received.
pub const PAST_MAX: SignedDuration = SignedDuration::from_secs(30 * 24 * 3600);

/// A client's clock that is wrong by less is believed: less is what networks and queues cost.
pub const DRIFT_MIN: SignedDuration = SignedDuration::from_mins(55);

/// Reads a time: RFC 3339 with `T` or a space, UTC where no offset is given; or seconds since 1970 as a number or a text. Whole microseconds.
#[must_use]
pub fn parse(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Number(number) => from_seconds(number.as_f64()?),
        Value::String(text) => parse_text(text),
        _ => None,
    }
}

/// Reads a time from a text, as [`parse`] does.
#[must_use]
pub fn parse_text(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return from_seconds(seconds);
    }
    let time = match text.parse::<Timestamp>() {
        Ok(time) => time,
        Err(_) => text
            .parse::<DateTime>()
            .ok()?
            .to_zoned(TimeZone::UTC)
            .ok()?
            .timestamp(),
    };
    Timestamp::from_microsecond(time.as_microsecond()).ok()
}

/// A time from seconds since 1970; `None` beyond the times there are.
#[must_use]
pub fn from_seconds(seconds: f64) -> Option<Timestamp> {
    if !seconds.is_finite() {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a cast of a float saturates, and the ends are refused as times"
    )]
    let micros = (seconds * 1e6).round() as i64;
    Timestamp::from_microsecond(micros).ok()
}

/// When an event happened, by our reckoning: shifted by the client's drift if its clock is badly off, and `received_at` if it is still impossible.
#[must_use]
pub fn believe(
    occurred_at: Option<Timestamp>,
    sent_at: Option<Timestamp>,
    received_at: Timestamp,
) -> Timestamp {
    let Some(occurred_at) = occurred_at else {
        return received_at;
    };
    let drift = sent_at.map_or(SignedDuration::ZERO, |sent_at| {
        received_at.duration_since(sent_at)
    });
    let shifted = if drift.abs() >= DRIFT_MIN {
        occurred_at.checked_add(drift).unwrap_or(received_at)
    } else {
        occurred_at
    };
    let age = received_at.duration_since(shifted);
    if age > PAST_MAX || age < -FUTURE_MAX {
        received_at
    } else {
        shifted
    }
}

#[cfg(test)]
mod tests {
    use super::{believe, parse};
    use jiff::Timestamp;
    use proptest::prelude::{any, prop_assert, proptest};
    use serde_json::{Value, json};

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn reads_every_form() {
        let expected = time("2024-05-01T10:20:30.5Z");
        for value in [
            json!("2024-05-01T10:20:30.5Z"),
            json!("2024-05-01 10:20:30.5"),
            json!("2024-05-01T10:20:30.500000"),
            json!("2024-05-01T12:20:30.5+02:00"),
            json!("2024-05-01 10:20:30.5+00:00"),
            json!(1_714_558_830.5),
            json!("1714558830.5"),
        ] {
            assert_eq!(parse(&value), Some(expected), "{value}");
        }
        for value in [
            json!("yesterday"),
            json!(1e300),
            json!("NaN"),
            json!(null),
            json!([1]),
            json!(""),
        ] {
            assert_eq!(parse(&value), None, "{value}");
        }
    }

    #[test]
    fn a_badly_wrong_clock_is_shifted() {
        let received = time("2024-05-01T10:00:00Z");
        let occurred = Some(time("2030-05-01T09:59:50Z"));
        let sent = Some(time("2030-05-01T10:00:00Z"));
        assert_eq!(
            believe(occurred, sent, received),
            time("2024-05-01T09:59:50Z")
        );
        assert_eq!(believe(occurred, None, received), received);
    }

    #[test]
    fn small_drift_is_believed_and_old_events_are_not() {
        let received = time("2024-05-01T10:00:00Z");
        let near = time("2024-05-01T09:59:00Z");
        assert_eq!(believe(Some(near), Some(near), received), near);
        assert_eq!(
            believe(Some(time("2024-03-01T10:00:00Z")), None, received),
            received
        );
        assert_eq!(
            believe(Some(time("2024-05-01T10:01:01Z")), None, received),
            received
        );
        assert_eq!(believe(None, None, received), received);
    }

    proptest! {
        #[test]
        fn any_number_and_text_is_read_without_panic(number in any::<f64>(), text in ".{0,40}") {
            let _ = parse(&json!(number));
            let _ = parse(&Value::String(text));
        }

        #[test]
        fn what_is_believed_is_possible(occurred in any::<i32>(), sent in any::<i32>(), received in any::<i32>()) {
            let at = |second: i32| Timestamp::from_second(i64::from(second)).unwrap();
            let age = at(received).duration_since(believe(Some(at(occurred)), Some(at(sent)), at(received)));
            prop_assert!(age <= super::PAST_MAX && age >= -super::FUTURE_MAX);
        }
    }
}
