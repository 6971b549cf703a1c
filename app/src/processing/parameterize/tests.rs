//! What each kind becomes, what stays, and that twice is once.

use proptest::prelude::{prop_assert_eq, proptest};

use super::parameterize;

#[track_caller]
fn becomes(text: &str, expected: &str) {
    assert_eq!(parameterize(text), expected, "for {text:?}");
    assert_eq!(parameterize(expected), expected, "a second time");
}

#[test]
fn every_kind_is_named() {
    becomes(
        "job 7f7aaadf-a006-4217-9ed5-5fbf8585c6c0 failed",
        "job <uuid> failed",
    );
    becomes(
        "<Foo object at 0x7f1c2a3b4c50> is not callable",
        "<Foo object at <hex>> is not callable",
    );
    becomes("md5 d41d8cd98f00b204e9800998ecf8427e", "md5 <md5>");
    becomes(
        "commit da39a3ee5e6b4b0d3255bfef95601890afd80709.",
        "commit <sha1>.",
    );
    becomes(
        "from 10.0.0.1:8080 and 203.0.113.7, and ::1 or fe80::1ff:fe23:4567:890a",
        "from <ip> and <ip>, and ::<int> or <ip>",
    );
    becomes(
        "mail to jane.doe+x@example.com bounced",
        "mail to <email> bounced",
    );
    becomes(
        "GET https://api.example.com/v1/users/17?x=1: 500",
        "GET <url>: <int>",
    );
    becomes("cannot reach db.internal:5432", "cannot reach <hostname>");
    becomes("no such file: /var/lib/app/17.dat", "no such file: <path>");
    becomes("open C:\\Users\\jane\\x.txt failed", "open <path> failed");
    becomes(
        "at 2024-05-01T10:20:30.123Z and 2024-05-01 10:20:30,123 and 10:20:30",
        "at <date> and <date> and <date>",
    );
    becomes(
        "took 1.5s, then 200ms, then 3h2m",
        "took <duration>, then <duration>, then <duration>",
    );
    becomes("ratio 0.73 or -1.5e-7", "ratio <float> or <float>");
    becomes("User 17 not found", "User <int> not found");
    becomes(
        "key 'user:17' and \"a b\" missing",
        "key <quoted_str> and <quoted_str> missing",
    );
    becomes(
        "retry=true verbose=False limit=10",
        "retry=<bool> verbose=<bool> limit=<int>",
    );
    becomes(
        "Card declined for order 8841: card_declined (request req_9f31c2)",
        "Card declined for order <int>: card_declined (request req_<hex>)",
    );
    becomes("charge ch_3MqLiJLkdIwHu7ix0snN0B15", "charge ch_<token>");
    becomes(
        "order-8841/line-3 of 512MB",
        "order-<int>/line-<int> of <int>MB",
    );
    becomes(
        "list index 5 out of range [0, 3)",
        "list index <int> out of range [<int>, <int>)",
    );
}

#[test]
fn words_stay_words() {
    for text in [
        "can't do that, don't ask",
        "User %s not found",
        "TypeError: shop.cart.total is not a function",
        "the facade decade is true",
        "std::io::Error in v2 of s3 worker1",
        "Überlauf in größe",
        "",
    ] {
        becomes(text, text);
    }
}

#[test]
fn long_texts_are_cut_between_characters() {
    let long = "é".repeat(5_000);
    assert_eq!(parameterize(&long).len(), 4096);
}

proptest! {
    #[test]
    fn twice_is_once(text in "[a-f0-9x.:/@=<>'\" _-]{0,40}|.{0,60}|(user|id|at|[0-9]{1,4}|0x[0-9a-f]{4}|'[a-z]{0,3}'|a@b.co|[ =:,./<>-]){0,12}") {
        let once = parameterize(&text);
        prop_assert_eq!(parameterize(&once), once);
    }
}

#[test]
fn keys_of_keys_are_looked_at_so_far_and_no_further() {
    becomes("a=b=c=true", "a=b=c=<bool>");
    becomes(&"7=".repeat(20), &"<int>=".repeat(20));
}
