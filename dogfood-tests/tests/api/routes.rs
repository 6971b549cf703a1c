//! Which path answers whom, to which method, and what becomes of bodies and parameters that are wrong.

use std::net::SocketAddr;

use dogfood_tests::Fault;
use dogfood_tests::api_probe::{Probe, Who};
use dogfood_tests::http::Client;
use dogfood_tests::proxy::Proxy;
use dogfood_tests::server::Mesher;

use crate::Ground;

const NOWHERE: &str = "00000000-0000-0000-0000-000000000000";

/// Paths that need a log-in, each with its method.
fn closed() -> Vec<(&'static str, String)> {
    let issue = format!("/api/v1/issues/{NOWHERE}");
    let mut closed: Vec<(&str, String)> = [
        "me",
        "projects",
        "projects/default",
        "projects/default/issues",
        "projects/default/limits",
        "projects/default/outcomes",
        "projects/default/quarantine",
        "projects/default/user-reports",
        "projects/default/events/latest",
        "runtime",
        "live",
    ]
    .map(|path| ("GET", format!("/api/v1/{path}")))
    .to_vec();
    closed.extend([
        ("GET", format!("/api/v1/projects/default/events/{NOWHERE}")),
        ("GET", issue.clone()),
        ("GET", format!("{issue}/events")),
        ("GET", format!("{issue}/user-reports")),
        ("PUT", "/api/v1/projects/default/limits".to_owned()),
        (
            "POST",
            "/api/v1/projects/default/quarantine/1/replay".to_owned(),
        ),
        ("POST", "/api/v1/runtime/kill".to_owned()),
        ("POST", "/api/v1/runtime/clock".to_owned()),
    ]);
    let actions = ["resolve", "unresolve", "archive"];
    closed.extend(actions.map(|action| ("POST", format!("{issue}/{action}"))));
    closed
}

pub(crate) fn run(mesher: &Mesher, probe: &mut Probe<'_>, ground: &Ground) -> Result<(), Fault> {
    doors(probe, ground)?;
    metrics(probe, &ground.token())?;
    metrics_through_a_proxy(mesher, probe, &ground.token())?;
    methods(probe)?;
    bodies(probe)?;
    parameters(probe, &ground.token())
}

fn doors(probe: &mut Probe<'_>, ground: &Ground) -> Result<(), Fault> {
    for path in [
        "/healthz",
        "/readyz",
        "/readyz/events",
        "/",
        "/index.html",
        "/issues/anything",
        "/api/v1/session",
    ] {
        probe.expect(200, &Who::Nobody, "GET", path, b"")?;
    }
    let strangers = [
        Who::Nobody,
        Who::Bearer("msh_of-nobody".to_owned()),
        Who::Bearer(ground.dsn.key.clone()),
        Who::Session("of-nobody".to_owned()),
        Who::Session(ground.token.clone()),
    ];
    for (method, path) in closed() {
        for stranger in &strangers {
            probe.expect(401, stranger, method, &path, b"")?;
        }
    }
    let token = ground.token();
    for (method, path) in closed() {
        let status = match path.as_str() {
            // Neither the hook nor what was asked for exists.
            path if path.contains(NOWHERE)
                || path.ends_with("/kill")
                || path.ends_with("/clock")
                || path.ends_with("/replay") =>
            {
                404
            }
            path if path.ends_with("/latest") => 400,
            path if path.ends_with("/live") => 426,
            _ => 200,
        };
        let body: &[u8] = match method {
            "PUT" => br#"{"rate_limit":null,"key_rate_limit":null,"sample_rate":1}"#,
            _ if path.ends_with("/kill") => br#"{"name":"spool"}"#,
            _ => b"",
        };
        probe.expect(status, &token, method, &path, body)?;
    }
    for path in [
        "/api",
        "/api/",
        "/api/v1",
        "/api/v1/nothing",
        "/api/v1/projects/nowhere",
        "/api/v1/projects/%00",
        "/api/v1/projects/default/nothing",
        "/api/v1/issues/42",
        "/api/v2/projects",
        "/assets/nothing.js",
        "/favicon.nothing",
        "/../../etc/passwd.txt",
    ] {
        probe.expect(404, &token, "GET", path, b"")?;
    }
    Ok(())
}

/// Counters for this machine's own scraper; whoever comes through a proxy shows who he is.
fn metrics(probe: &mut Probe<'_>, token: &Who) -> Result<(), Fault> {
    let proxied = [("x-forwarded-for", "203.0.113.7")];
    for (who, headers, status) in [
        (&Who::Nobody, &[][..], 200),
        (&Who::Nobody, &proxied, 401),
        (token, &proxied, 200),
    ] {
        let answer = probe.ask_with(who, "GET", "/metrics", headers, b"")?;
        probe.judge(status, "GET /metrics", &answer);
        if status == 200 {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            let is_text = answer
                .header("content-type")
                .is_some_and(|kind| kind.starts_with("text/plain; version=0.0.4"));
            let counts = text.contains("\nmesher_spool_records_total ")
                && text.contains("\nmesher_database_up 1\n");
            probe.check(is_text && counts, || format!("the metrics are {text}"));
        }
    }
    Ok(())
}

/// A proxy on this very machine that hands on every byte as it is: who asks comes by the name that people use.
fn metrics_through_a_proxy(
    mesher: &Mesher,
    probe: &mut Probe<'_>,
    token: &Who,
) -> Result<(), Fault> {
    let proxy = Proxy::before(mesher.address())?;
    let here = SocketAddr::from(([127, 0, 0, 1], proxy.port()));
    for (who, host, status) in [
        (&Who::Nobody, "errors.example.com", 401),
        (token, "errors.example.com", 200),
        (&Who::Nobody, "localhost", 200),
    ] {
        let (name, value) = who.header();
        let mut client = Client::new(here).calling_it(host);
        let answer = client.send("GET", "/metrics", &[(name, &value)], b"")?;
        probe.judge(status, &format!("GET /metrics of {host}"), &answer);
    }
    Ok(())
}

fn methods(probe: &mut Probe<'_>) -> Result<(), Fault> {
    for (method, path, allow) in [
        ("POST", "/healthz", "GET, HEAD"),
        ("DELETE", "/readyz", "GET, HEAD"),
        ("POST", "/readyz/events", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
        ("PUT", "/index.html", "GET, HEAD"),
        ("DELETE", "/api/v1/session", "GET"),
        ("GET", "/api/v1/setup", "POST"),
        ("GET", "/api/v1/login", "POST"),
        ("GET", "/api/v1/logout", "POST"),
        ("POST", "/api/v1/projects", "GET"),
        ("PATCH", "/api/v1/projects/default", "GET"),
        ("POST", "/api/v1/live", "GET"),
        (
            "DELETE",
            "/api/v1/projects/default/limits",
            "GET, HEAD, PUT",
        ),
        ("PUT", "/api/v1/projects/default/outcomes", "GET"),
        ("GET", "/api/v1/events/bulk", "POST, OPTIONS"),
        ("POST", "/api/v1/runtime", "GET"),
        ("GET", "/api/v1/events", "POST, OPTIONS"),
        ("GET", "/api/1/envelope/", "POST, OPTIONS"),
        ("PUT", "/api/1/store/", "POST, OPTIONS"),
    ] {
        let answer = probe.expect(405, &Who::Nobody, method, path, b"")?;
        probe.check(answer.header("allow") == Some(allow), || {
            format!("{method} {path}: allow is {:?}", answer.header("allow"))
        });
    }
    Ok(())
}

fn bodies(probe: &mut Probe<'_>) -> Result<(), Fault> {
    for path in ["/api/v1/login", "/api/v1/setup"] {
        for body in [
            &b""[..],
            b"{",
            b"[]",
            b"null",
            b"\xff\xfe",
            b"{\"email\":1}",
            b"{}",
        ] {
            probe.expect(400, &Who::Nobody, "POST", path, body)?;
        }
        for length in [70_000, 3_000_000] {
            probe.expect(413, &Who::Nobody, "POST", path, &vec![b' '; length])?;
        }
    }
    Ok(())
}

fn parameters(probe: &mut Probe<'_>, token: &Who) -> Result<(), Fault> {
    let issues = "/api/v1/projects/default/issues";
    for query in [
        "cursor=x",
        "cursor=AAAA",
        // Cursors of the right length that name a year no database knows, and the last one there is.
        "cursor=-sIfSFY5RcCbeOqlfe1Acoim9AA4t4Vn",
        "cursor=wAAAAAAAAABorhVwZ6hM6Y1tlDK7hrWB",
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=ten",
        "limit=99999999999999999999",
        "status=open",
        "status=%00",
    ] {
        probe.expect(400, token, "GET", &format!("{issues}?{query}"), b"")?;
    }
    for query in [
        "",
        "limit=100",
        "status=all",
        "status=unresolved",
        "query=%00",
        "query=%25%27%22%5C",
        "unknown=1",
        "%zz",
    ] {
        probe.expect(200, token, "GET", &format!("{issues}?{query}"), b"")?;
    }
    for query in ["", "issue=42", "issue="] {
        probe.expect(
            400,
            token,
            "GET",
            &format!("/api/v1/projects/default/events/latest?{query}"),
            b"",
        )?;
    }
    Ok(())
}
