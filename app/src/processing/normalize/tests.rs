//! Every shape an SDK sends becomes the one shape, bounded and scrubbed.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::select;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{EventContext, InvalidEvent, native_event, sentry_event};
use crate::domain::{NormalEvent, ProjectNumber, RawEvent};

fn context() -> EventContext {
    EventContext {
        project_id: Uuid::from_u128(1).into(),
        project_number: Some(ProjectNumber::new(7)),
        received_at: "2024-05-01T10:00:00.123456789Z".parse().unwrap(),
        sent_at: None,
        event_id: None,
        fresh_event_id: Uuid::from_u128(99).into(),
        remote_address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        dictionary: None,
    }
}

fn payload(raw: &RawEvent) -> Value {
    serde_json::from_slice(&zstd::decode_all(&raw.payload[..]).unwrap()).unwrap()
}

fn normal(event: &Value) -> Value {
    payload(&sentry_event(event.to_string().as_bytes(), &context()).unwrap())
}

fn native(event: &Value) -> Value {
    payload(
        &native_event(event.to_string().as_bytes(), &context())
            .unwrap()
            .1,
    )
}

#[test]
fn an_empty_event_gets_its_defaults() {
    let event = normal(&json!({}));
    assert_eq!(
        event,
        json!({
            "event_id": "00000000000000000000000000000063", "timestamp": "2024-05-01T10:00:00.123456Z",
            "received": "2024-05-01T10:00:00.123456Z", "level": "error", "platform": "other", "environment": "production",
        })
    );
}

/// A few bytes must not become gigabytes, whichever way they name each other.
#[test]
fn parameters_are_put_in_once_and_no_more_than_is_kept() {
    let formatted = |template: String, params: Value| {
        let event =
            normal(&json!({ "logentry": { "message": template.clone(), "params": params } }));
        event["logentry"]["formatted"].as_str().unwrap().to_owned()
    };
    let named = json!({ "a": "{b}", "b": 7, "who": "Ada" });
    let text = "%(who)s: {a} {b} {c} 100% {".to_owned();
    assert_eq!(formatted(text, named), "Ada: {b} 7 {c} 100% {");
    let list = json!(["%s", 2]);
    assert_eq!(formatted("%s of {} %s".to_owned(), list), "%s of 2 %s");
    let long = "x".repeat(100_000);
    for (template, params) in [
        ("{a}".repeat(100_000), json!({ "a": long })),
        ("{}".repeat(100_000), json!(vec![1; 100_000])),
        ("{}".repeat(100_000), json!(vec![""; 100_000])),
        ("{".repeat(100_000), json!({ "a": 1 })),
    ] {
        assert!(formatted(template, params).chars().count() <= 8192);
    }
}

#[test]
fn the_header_id_wins_and_ids_lose_their_dashes() {
    let body = json!({ "event_id": "9EC79C33-EC99-42AB-8353-589FCB2E04DC" });
    assert_eq!(
        normal(&body)["event_id"],
        "9ec79c33ec9942ab8353589fcb2e04dc"
    );
    let with_header = EventContext {
        event_id: Some(Uuid::from_u128(5).into()),
        ..context()
    };
    let raw = sentry_event(body.to_string().as_bytes(), &with_header).unwrap();
    assert_eq!(raw.event_id.into_uuid(), Uuid::from_u128(5));
    assert_eq!(payload(&raw)["event_id"], raw.event_id.to_simple());
}

#[test]
fn exceptions_in_three_shapes_are_one() {
    let one = json!({ "type": "E", "value": "v" });
    let expected = json!({ "values": [one] });
    for shape in [
        json!({ "values": [one] }),
        json!([one]),
        one.clone(),
        json!([null, one]),
        json!({ "values": [null, one, {}] }),
    ] {
        assert_eq!(
            normal(&json!({ "exception": shape }))["exception"],
            expected,
            "{shape}"
        );
    }
    for nothing in [
        json!(null),
        json!([]),
        json!({ "values": null }),
        json!({}),
        json!({ "values": [] }),
    ] {
        assert_eq!(
            normal(&json!({ "exception": nothing })).get("exception"),
            None
        );
    }
    assert_eq!(
        normal(&json!({ "exception": [{ "type": 5, "value": { "a": 1 } }] }))["exception"]["values"]
            [0],
        json!({ "type": "5", "value": "{\"a\":1}" })
    );
}

#[test]
fn messages_in_four_shapes_are_one() {
    for shape in [
        json!({ "message": "hi" }),
        json!({ "message": { "formatted": "hi" } }),
        json!({ "logentry": { "formatted": "hi" } }),
        json!({ "sentry.interfaces.Message": { "formatted": "hi" }, "message": "" }),
    ] {
        assert_eq!(
            normal(&shape)["logentry"],
            json!({ "formatted": "hi" }),
            "{shape}"
        );
    }
    let with_params = normal(&json!({ "logentry": { "message": "User %s", "params": ["17"] } }));
    assert_eq!(with_params["logentry"]["formatted"], "User 17");
    assert_eq!(with_params["logentry"]["message"], "User %s");
}

#[test]
fn tags_in_three_shapes_are_pairs() {
    let expected = json!([["a", "1"], ["b", "True"]]);
    for shape in [
        json!({ "a": 1, "b": true, "c": null, "": "x" }),
        json!([["a", "1"], ["b", true], null, ["c", null], ["a", "again"]]),
        json!([{ "key": "a", "value": "1" }, { "key": "b", "value": true }]),
    ] {
        assert_eq!(
            normal(&json!({ "tags": shape }))["tags"],
            expected,
            "{shape}"
        );
    }
    let many: Map<String, Value> = (0..500)
        .map(|number| (format!("k{number}"), "v".into()))
        .collect();
    let event = normal(&json!({ "tags": many }));
    assert_eq!(event["tags"].as_array().unwrap().len(), 200);
    assert_eq!(event["_meta"]["tags"][""]["len"], 500);
}

#[test]
fn long_stacks_keep_both_ends_and_say_so() {
    let frames: Vec<Value> = (0..1000)
        .map(|number| json!({ "function": format!("f{number}"), "lineno": number }))
        .collect();
    let event =
        normal(&json!({ "exception": { "type": "E", "stacktrace": { "frames": frames } } }));
    let kept = event["exception"]["values"][0]["stacktrace"]["frames"]
        .as_array()
        .unwrap();
    assert_eq!(
        (kept.len(), &kept[0]["function"], &kept[249]["function"]),
        (250, &json!("f0"), &json!("f999"))
    );
    assert_eq!(
        event["_meta"]["exception"]["values"]["0"]["stacktrace"]["frames"][""]["len"],
        1000
    );
}

/// Fifty exceptions of 250 frames each took a second to group.
#[test]
fn all_stacks_together_are_bounded() {
    let frames = |len: usize| -> Vec<Value> {
        (0..len)
            .map(|number| json!({ "function": format!("f{number}") }))
            .collect()
    };
    let kept = |entries: Vec<Value>, what: &str| -> Vec<usize> {
        let event = normal(&json!({ what: entries }));
        let values = event[what]["values"].as_array().unwrap().iter();
        values
            .map(|entry| entry["stacktrace"]["frames"].as_array().unwrap().len())
            .collect()
    };
    let exception = |len| json!({ "type": "E", "stacktrace": { "frames": frames(len) } });
    assert_eq!(kept(vec![exception(250); 50], "exception"), [20; 50]);
    assert_eq!(kept(vec![exception(300); 4], "exception"), [250; 4]);
    assert_eq!(
        kept(vec![exception(200), exception(3)], "exception"),
        [200, 3]
    );
    assert_eq!(kept(vec![exception(250); 100], "threads"), [10; 100]);
}

#[test]
fn the_crashed_thread_lends_its_stack() {
    let stack = json!({ "frames": [{ "function": "f" }] });
    let threads = json!([{ "id": 1, "stacktrace": { "frames": [{ "function": "other" }] } }, { "id": 2, "crashed": true, "stacktrace": stack }]);
    assert_eq!(normal(&json!({ "threads": threads }))["stacktrace"], stack);
    let own = json!({ "threads": threads, "exception": { "type": "E", "stacktrace": stack } });
    assert_eq!(normal(&own).get("stacktrace"), None);
}

#[test]
fn secrets_are_gone_wherever_they_were() {
    let event = json!({
        "message": "postgres://app:hunter2@db/x",
        "extra": { "password": "hunter2", "nested": { "list": [{ "api_key": "hunter2" }] } },
        "tags": { "token": "hunter2" },
        "contexts": { "app": { "secret": "hunter2" } },
        "user": { "id": 1, "data": { "passwd": "hunter2" } },
        "request": {
            "url": "http://x/?password=hunter2", "headers": { "Authorization": "hunter2", "Cookie": ["hunter2"], "Host": "h" },
            "query_string": "a=1&token=hunter2", "cookies": "sid=hunter2; theme=hunter2", "data": "{\"password\":\"hunter2\"}",
            "env": { "SECRET_KEY": "hunter2" },
        },
        "breadcrumbs": [{ "message": "password=hunter2", "data": { "token": "hunter2" } }],
        "exception": { "type": "E", "value": "password=hunter2", "stacktrace": { "frames": [{ "function": "f", "vars": { "password": "'hunter2'", "kw": "{'token': 'hunter2'}" } }] } },
    });
    let event = normal(&event);
    assert!(!event.to_string().contains("hunter2"), "{event:#}");
    assert_eq!(
        event["request"]["headers"],
        json!([
            ["Authorization", "[Filtered]"],
            ["Cookie", "[Filtered]"],
            ["Host", "h"]
        ])
    );
    assert_eq!(
        event["_meta"]["extra"]["password"][""]["rem"][0][0],
        "@secret"
    );
}

/// Beside a key that tells of a secret nothing is let through as it stands; where none does, the texts themselves must be searched.
#[test]
fn secrets_that_no_key_tells_of_are_gone() {
    for text in [
        "postgres://app:hunter2@db/x",
        "{'token': 'hunter2'}",
        "{\"password\": \"hunter2\"}",
        "Authorization: Bearer hunter2hunter2hunter2",
    ] {
        let event = normal(&json!({
            "extra": { "a": text }, "contexts": { "app": { "a": [text] } }, "modules": { "a": text },
            "stacktrace": { "frames": [{ "function": "f", "vars": { "a": { "b": text } } }] },
        }));
        assert!(!event.to_string().contains("hunter2"), "{event:#}");
    }
}

#[test]
fn the_address_of_the_connection_is_the_users_if_asked_for() {
    assert_eq!(
        normal(&json!({ "user": { "ip_address": "{{auto}}" } }))["user"],
        json!({ "ip_address": "127.0.0.1" })
    );
    assert_eq!(
        normal(&json!({ "user": { "id": 5, "ip_address": "nonsense" } }))["user"],
        json!({ "id": "5" })
    );
}

#[test]
fn odd_scalars_are_cast_or_dropped() {
    let event = normal(&json!({
        "release": 1.5, "environment": "a/b", "dist": 7, "level": "WARN", "fingerprint": ["a", 1, null, [], {}, true],
        "timestamp": 1_714_557_600.5, "sdk": { "name": "x", "version": 2 }, "platform": null, "tags": 5, "user": "x", "contexts": [],
    }));
    assert_eq!(event["release"], "1.5");
    assert_eq!(event["environment"], "a-b");
    assert_eq!(event["level"], "warning");
    assert_eq!(event["fingerprint"], json!(["a", "1", "True"]));
    assert_eq!(event["timestamp"], "2024-05-01T10:00:00.5Z");
    assert_eq!(event["sdk"], json!({ "name": "x", "version": "2" }));
    assert_eq!(
        normal(&json!({ "fingerprint": [] })).get("fingerprint"),
        None
    );
    assert_eq!(normal(&json!({ "level": 40 }))["level"], "error");
}

#[test]
fn broken_json_is_mended_or_refused() {
    let raw = sentry_event(
        br#"{"extra":{"ratio":NaN,"nul":"a\u0000b"},"message":"say \"hi\""}"#,
        &context(),
    )
    .unwrap();
    assert_eq!(
        payload(&raw)["extra"],
        json!({ "ratio": null, "nul": "a\u{fffd}b" })
    );
    assert_eq!(payload(&raw)["logentry"]["formatted"], "say \"hi\"");
    assert!(matches!(
        sentry_event(b"{", &context()),
        Err(InvalidEvent::Json(_))
    ));
    assert_eq!(
        sentry_event(b"[]", &context()),
        Err(InvalidEvent::NotAnObject)
    );
}

#[test]
fn native_bodies_take_sentrys_shape() {
    let event = native(&json!({
        "message": "boom", "level": "fatal", "exception": "TypeError: x is undefined", "user": 17, "project_id": 7,
        "stacktrace": "TypeError: x\n  at total (cart.js:12:3)\n  at main (app.js:1:1)", "sdk_name": "curl", "sdk_version": "8",
    }));
    let exception = &event["exception"]["values"][0];
    assert_eq!(
        (&exception["type"], &exception["value"]),
        (&json!("TypeError"), &json!("x is undefined"))
    );
    assert_eq!(
        exception["stacktrace"]["frames"][1],
        json!({ "function": "total", "filename": "cart.js", "lineno": 12 })
    );
    assert_eq!(event["user"], json!({ "id": "17" }));
    assert_eq!(event["sdk"], json!({ "name": "curl", "version": "8" }));
    assert!(event["extra"]["stacktrace"].is_string());
    let framed = native(
        &json!({ "message": "m", "stacktrace": [{ "function": "f" }], "exception": { "type": "E", "message": "v" } }),
    );
    assert_eq!(
        framed["exception"]["values"][0]["stacktrace"]["frames"][0]["function"],
        "f"
    );
    assert_eq!(framed["exception"]["values"][0]["value"], "v");
}

#[test]
fn a_native_body_for_another_project_is_refused() {
    for (claim, fits) in [
        (json!(7), true),
        (json!("7"), true),
        (json!(Uuid::from_u128(1).to_string()), true),
        (json!(8), false),
        (json!("web"), false),
    ] {
        let body = json!({ "message": "x", "project_id": claim }).to_string();
        let outcome = native_event(body.as_bytes(), &context());
        assert_eq!(outcome.is_ok(), fits, "{claim}");
        assert!(fits || outcome == Err(InvalidEvent::ForeignProject));
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    const KEYS: &str = "(values|frames|message|formatted|params|type|value|stacktrace|vars|key|password|id|ip_address|headers|data|function|in_app|lineno|[a-z]{0,3})";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(KEYS, inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_event() -> impl Strategy<Value = Value> {
    const KEYS: &str = "(exception|message|logentry|stacktrace|threads|tags|user|request|breadcrumbs|contexts|extra|fingerprint|level|timestamp|event_id|platform|release|environment|sdk|_meta|project_id)";
    proptest::collection::btree_map(KEYS, any_json(), 0..6)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

/// A frame of which mostly nothing needs a change, and sometimes something.
fn any_frame() -> impl Strategy<Value = Value> {
    const LINE: &str = "  total = carts[\"é\"]\t# \\n";
    let usual = json!({
        "function": "f", "module": "shop.cart", "filename": "cart.py", "abs_path": "/srv/cart.py", "package": "shop", "symbol": "s",
        "lineno": 7, "colno": 0, "context_line": LINE, "pre_context": [LINE, ""], "post_context": [LINE], "in_app": true,
        "instruction_addr": "0x1f", "vars": { "a": [1, LINE, { "b": null, "c": "<C 'x: y' at 0x1>" }], "d": {} },
    });
    let usual: Vec<(String, Value)> = usual.as_object().unwrap().clone().into_iter().collect();
    let odd = json!([
        " f ", "", "\n", "a\"b", "\u{1}", "password=hunter2", "4242424242424242", "x".repeat(1500), -1, 1.5, 12_345_678_901_u64, "7",
        true, null, [], {}, ["a", 1], ["a", null], [["a"]], { "password": "hunter2" }, { "token": null }, { "a": "x\n'token': 'hunter2'" },
        { "a": ["Authorization: Bearer abcdefghijklmnop1234"] }, { "a": "http://u:hunter2@h/" }, { "a": { "b": { "c": { "d": { "e": {} } } } } },
    ]);
    let odd: Vec<Value> = odd.as_array().unwrap().clone();
    let attribute =
        (select(usual), 0..10_usize, select(odd)).prop_map(|((key, usual), n, odd)| match n {
            0 => (key, odd),
            1 => ("other".to_owned(), odd),
            _ => (key, usual),
        });
    let attributes = proptest::collection::vec(attribute, 0..7);
    attributes.prop_map(|attributes| Value::Object(attributes.into_iter().collect()))
}

/// What becomes of an event of which nothing is let through as it stands.
fn taken_apart(json: &str) -> RawEvent {
    let Some(super::Value::Object(event)) = super::parser::parse(json) else {
        panic!("an event is an object: {json}")
    };
    super::finish(event, &context()).unwrap()
}

/// Of an attribute that comes twice the last counts, and grouping reads none twice.
#[test]
fn a_frame_that_says_something_twice_says_the_last() {
    let json = r#"{"stacktrace":[{"function":"f","lineno":1,"function":"g"}]}"#;
    let raw = sentry_event(json.as_bytes(), &context()).unwrap();
    let frames = json!([{ "lineno": 1, "function": "g" }]);
    assert_eq!(payload(&raw)["stacktrace"]["frames"], frames);
    let facts: NormalEvent = serde_json::from_slice(&raw.facts).unwrap();
    let frame = &facts.stacktrace.unwrap().frames[0];
    assert_eq!(frame.function.as_deref(), Some("g"));
}

proptest! {
    /// What needs no change and is let through as it stands is what it would be if it were taken apart, and so are its facts.
    #[test]
    fn what_is_let_through_is_as_if_it_were_taken_apart(event in any_event(), frames in proptest::collection::vec(any_frame(), 0..4), extra in any_frame()) {
        let mut event = event;
        event["exception"] = json!([{ "type": "E", "stacktrace": { "frames": frames } }]);
        event["extra"] = extra.clone();
        event["contexts"] = json!({ "app": extra });
        let json = event.to_string();
        let (through, apart) = (sentry_event(json.as_bytes(), &context()).unwrap(), taken_apart(&json));
        prop_assert_eq!(payload(&through), payload(&apart));
        let facts = |raw: &RawEvent| serde_json::from_slice::<Value>(&raw.facts).unwrap();
        prop_assert_eq!(facts(&through), facts(&apart));
    }

    /// Whatever the JSON: no panic, no NUL, the typed event reads it, and normalising the result changes nothing but order.
    #[test]
    fn any_event_normalises_to_what_grouping_reads(event in any_event()) {
        let raw = sentry_event(event.to_string().as_bytes(), &context()).unwrap();
        let json = zstd::decode_all(&raw.payload[..]).unwrap();
        prop_assert!(!json.windows(6).any(|window| window == b"\\u0000"));
        let typed: NormalEvent = serde_json::from_slice(&json).unwrap();
        prop_assert_eq!(typed.event_id, raw.event_id);
        let again = sentry_event(&json, &context()).unwrap();
        let (mut once, mut twice) = (payload(&raw), payload(&again));
        for event in [&mut once, &mut twice] {
            event.as_object_mut().unwrap().remove("_meta");
        }
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn any_native_body_is_read_without_panic(event in any_event(), noise in any::<Vec<u8>>()) {
        let _ = native_event(event.to_string().as_bytes(), &context());
        let _ = native_event(&noise, &context());
    }
}
