//! What an SDK says it dropped before sending.
//!
//! Source: Sentry, developer docs, "Client reports".

use serde::Deserialize;

/// The largest report that is read, in bytes; Sentry's documented bound.
const BYTES_MAX: usize = 4096;

/// Reasons SDKs give; any other is counted as `other`, so that what is kept stays a closed list.
const REASONS: [&str; 14] = [
    "queue_overflow",
    "cache_overflow",
    "ratelimit_backoff",
    "network_error",
    "sample_rate",
    "before_send",
    "event_processor",
    "send_error",
    "internal_sdk_error",
    "insufficient_data",
    "backpressure",
    "buffer_overflow",
    "ignored",
    "invalid",
];

/// Categories of what is dropped; any other is counted as `other`.
const CATEGORIES: [&str; 14] = [
    "default",
    "error",
    "transaction",
    "monitor",
    "span",
    "log_item",
    "security",
    "attachment",
    "session",
    "profile",
    "replay",
    "feedback",
    "trace_metric",
    "internal",
];

/// Things of one category dropped for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// What they were.
    pub category: &'static str,
    /// Why they were dropped.
    pub reason: &'static str,
    /// How many; a client's claim.
    pub quantity: u64,
}

/// Reads a report; what cannot be read is nothing.
#[must_use]
pub fn read(payload: &[u8]) -> Vec<Dropped> {
    #[derive(Deserialize)]
    struct Report {
        #[serde(default)]
        discarded_events: Vec<Claim>,
    }
    #[derive(Deserialize)]
    struct Claim {
        #[serde(default)]
        reason: String,
        #[serde(default)]
        category: String,
        #[serde(default)]
        quantity: u64,
    }
    if payload.len() > BYTES_MAX {
        return Vec::new();
    }
    let Ok(report) = serde_json::from_slice::<Report>(payload) else {
        return Vec::new();
    };
    let known = |list: &[&'static str], word: &str| {
        let found = list.iter().find(|known| **known == word);
        found.copied().unwrap_or("other")
    };
    let claims = report.discarded_events.into_iter();
    claims
        .filter(|claim| claim.quantity > 0)
        .map(|claim| Dropped {
            category: known(&CATEGORIES, &claim.category),
            reason: known(&REASONS, &claim.reason),
            // More than a program can drop between two reports is no count.
            quantity: claim.quantity.min(1_000_000_000),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Dropped, read};
    use proptest::prelude::{any, prop_assert, proptest};

    #[test]
    fn known_words_stay_and_others_are_other() {
        let report = br#"{"timestamp":1,"discarded_events":[
            {"reason":"before_send","category":"error","quantity":812},
            {"reason":"moon","category":"cheese","quantity":18446744073709551615},
            {"reason":"ignored","category":"error","quantity":0}]}"#;
        let dropped = |category, reason, quantity| Dropped {
            category,
            reason,
            quantity,
        };
        assert_eq!(
            read(report),
            [
                dropped("error", "before_send", 812),
                dropped("other", "other", 1_000_000_000)
            ]
        );
        assert_eq!(read(b"{}"), []);
        assert_eq!(read(b"nonsense"), []);
        assert_eq!(read(&[b' '; 5000]), []);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in any::<Vec<u8>>()) {
            prop_assert!(read(&bytes).is_empty());
        }
    }
}
