//! Secrets are found in any spelling, and prose stays.

use super::{find_cards, find_cards_within, is_secret_key, scrub_text};
use proptest::prelude::{prop_assert_eq, proptest};

#[test]
fn secret_keys_in_any_spelling() {
    for key in [
        "password",
        "userPassword",
        "X-Api-Key",
        "API_KEY",
        "authorization",
        "Cookie",
        "Set-Cookie",
        "csrftoken",
        "client_secret",
        "accessToken",
        "auth",
        "X-Auth-Token",
        "credit_card",
    ] {
        assert!(is_secret_key(key), "{key}");
    }
    for word in super::SECRET_WORDS.into_iter().chain(super::SECRET_PARTS) {
        assert!(is_secret_key(word), "{word}");
    }
    for key in [
        "author",
        "passenger",
        "message",
        "assid",
        "url",
        "key",
        "",
        "authenticated",
        "compass",
    ] {
        assert!(!is_secret_key(key), "{key}");
    }
    assert!(!is_secret_key(&"password".repeat(20)));
}

#[test]
fn secrets_in_texts() {
    for (text, expected) in [
        (
            "card 4242 4242 4242 4242 declined",
            "card [Filtered] declined",
        ),
        ("card 4242424242424242!", "card [Filtered]!"),
        (
            "postgres://app:hunter2@db/x?password=y&z=1",
            "postgres://app:[Filtered]@db/x?password=[Filtered]&z=1",
        ),
        (
            "Authorization: Bearer abcdefghijklmnop1234",
            "Authorization: Bearer [Filtered]",
        ),
        ("Bearer abcdefghijklmnop", "Bearer [Filtered]"),
        ("4222222222222", "[Filtered]"),
        (
            "{'password': 'hunter2', 'a': 1}",
            "{'password': '[Filtered]', 'a': 1}",
        ),
        ("{\"token\":\"abc\"}", "{\"token\":\"[Filtered]\"}"),
    ] {
        assert_eq!(scrub_text(text).as_deref().unwrap_or(text), expected);
    }
}

/// A key a secret's value holds is no reason to read the rest of the text once more.
#[test]
fn a_megabyte_of_secrets_is_read_once() {
    let text = "token=".repeat(170_000);
    assert_eq!(scrub_text(&text).unwrap(), "token=[Filtered]");
}

#[test]
fn prose_stays() {
    for text in [
        "Unexpected token: } in JSON",
        "order 4242424242424241 failed",
        "invalid password: too short",
        "http://localhost:9000/@x",
        "id 9ec79c33ec9942ab8353589fcb2e04dc",
    ] {
        assert_eq!(scrub_text(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_scrubbed_once(text in ".{0,60}|(password|token|=|:|'|\"| |://|@|[0-9]{12,17}|Bearer |é){0,12}") {
        if let Some(once) = scrub_text(&text) {
            prop_assert_eq!(scrub_text(&once), None);
        }
    }

    /// Looking at one byte of thirteen misses no card that a look at each byte finds.
    #[test]
    fn no_card_is_stepped_over(text in "([0-9 -]{0,14}|4222222222222|4242424242424242|4242 4242-4242 4242|[a-z_.é]{0,13}){0,8}") {
        let (mut stepped, mut seen) = (Vec::new(), Vec::new());
        find_cards(text.as_bytes(), &mut stepped);
        find_cards_within(text.as_bytes(), 0, text.len(), &mut seen);
        prop_assert_eq!(stepped, seen);
    }
}
