//! The live stream: who may open it, and what a page sees of an event on its topics.

use dogfood_tests::Fault;
use dogfood_tests::api_probe::Probe;
use dogfood_tests::server::Mesher;
use dogfood_tests::web_socket::WebSocket;

use crate::{Ground, data, event, store};

const PATH: &str = "/api/v1/live";

pub(crate) fn run(mesher: &Mesher, probe: &mut Probe<'_>, ground: &Ground) -> Result<(), Fault> {
    let address = mesher.address();
    let bearer = format!("Bearer {}", ground.token);
    let authorization = ("authorization", bearer.as_str());
    let (own, foreign) = (format!("http://{address}"), "http://evil.example");

    for (headers, status) in [
        (&[][..], 401),
        (&[("authorization", "Bearer msh_of-nobody")], 401),
        (&[("cookie", "mesher_session=of-nobody")], 401),
        (&[authorization, ("origin", foreign)], 403),
        (&[authorization, ("origin", "null")], 403),
        (&[authorization, ("origin", &own)], 101),
        (&[authorization], 101),
    ] {
        let (got, _) = WebSocket::open(address, PATH, headers)?;
        probe.check(got == status, || {
            format!(
                "an upgrade with {} headers: expected {status}, got {got}",
                headers.len()
            )
        });
    }
    for (headers, status) in [
        (
            &[
                ("origin", foreign),
                ("sec-websocket-version", "13"),
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ][..],
            403,
        ),
        (
            &[
                ("sec-websocket-version", "13"),
                ("sec-websocket-key", "short"),
            ],
            400,
        ),
        (
            &[
                ("sec-websocket-version", "8"),
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ],
            426,
        ),
    ] {
        let upgrade = [
            &[("connection", "upgrade"), ("upgrade", "websocket")][..],
            headers,
        ]
        .concat();
        let answer = probe.ask_with(&ground.token(), "GET", PATH, &upgrade, b"")?;
        probe.judge(status, "a refused upgrade", &answer);
    }

    let project = probe
        .expect(200, &ground.token(), "GET", "/api/v1/projects/default", b"")?
        .json()?;
    let id = project["id"].as_str().unwrap_or_default().to_owned();
    let mut pages = Vec::new();
    for name in ["default", &id] {
        let (_, page) = WebSocket::open(address, PATH, &[authorization])?;
        let mut page = page.ok_or("no connection")?;
        page.send(&format!(r#"{{"subscribe":"project:{name}"}}"#))?;
        let snapshot = page.receive_kind("snapshot")?;
        let topic = format!("project:{id}");
        probe.check(
            snapshot["topic"] == topic && snapshot["issues"].is_array(),
            || format!("{name}: {snapshot}"),
        );
        pages.push((page, topic));
    }

    store(mesher, probe, ground, &[event("LiveFirst")])?;
    let listed = probe.expect(
        200,
        &ground.token(),
        "GET",
        "/api/v1/projects/default/issues?query=LiveFirst",
        b"",
    )?;
    let listed = data(&listed).pop().unwrap_or_default();
    for (page, topic) in &mut pages {
        let issue = page.receive_kind("issue")?;
        probe.check(issue["kind"] == "new" && issue["topic"] == *topic, || {
            format!("a new issue: {issue}")
        });
        probe.check(issue["issue"] == listed, || {
            format!("live {} and listed {listed} differ", issue["issue"])
        });
        let event = page.receive_kind("event")?;
        let same =
            event["event"]["issue_id"] == listed["id"] && event["event"]["project_id"] == *id;
        probe.check(same && event["topic"] == *topic, || {
            format!("its event: {event}")
        });
    }
    store(mesher, probe, ground, &[event("LiveFirst")])?;
    let issue = listed["id"].as_str().unwrap_or_default();
    for (page, _) in &mut pages {
        let counted = page.receive_kind("issue")?;
        probe.check(
            counted["kind"] == "counted" && counted["issue"]["event_count"] == 2,
            || format!("a second: {counted}"),
        );
    }
    probe.expect(
        200,
        &ground.token(),
        "POST",
        &format!("/api/v1/issues/{issue}/resolve"),
        b"",
    )?;
    for (page, _) in &mut pages {
        let changed = page.receive_kind("issue")?;
        probe.check(
            changed["kind"] == "changed" && changed["issue"]["status"] == "resolved",
            || format!("resolved: {changed}"),
        );
    }
    manners(probe, &mut pages[0].0)?;

    // After leaving the topic, nothing of it comes any more: the next frame is the answer to the next question.
    let (page, topic) = &mut pages[1];
    page.send(&format!(r#"{{"unsubscribe":"{topic}"}}"#))?;
    page.send(r#"{"subscribe":"nonsense"}"#)?;
    page.receive_kind("error")?;
    store(mesher, probe, ground, &[event("LiveSecond")])?;
    page.send(r#"{"subscribe":"nonsense"}"#)?;
    let next = page.receive()?.unwrap_or_default();
    probe.check(next["type"] == "error", || format!("after leaving: {next}"));
    Ok(())
}

/// What is not understood gets an error frame, and the connection lives.
fn manners(probe: &mut Probe<'_>, page: &mut WebSocket) -> Result<(), Fault> {
    for text in [
        "",
        "{",
        "[]",
        r#"{"subscribe":1}"#,
        r#"{"subscribe":"project:nowhere"}"#,
        r#"{"subscribe":"project:\u0000"}"#,
        r#"{"subscribe":"issue:42"}"#,
        r#"{"subscribe":"organisation:1"}"#,
        r#"{"shout":"project:default"}"#,
    ] {
        page.send(text)?;
        let answer = page.receive_kind("error")?;
        probe.check(answer["message"].is_string(), || {
            format!("{text}: {answer}")
        });
    }
    Ok(())
}
