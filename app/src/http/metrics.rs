//! `/metrics`: what this server counts, in the text format that Prometheus scrapes.
//!
//! Open to this machine itself, by its own names for itself; anybody else, and whoever comes through a proxy, needs a token or a session.
//!
//! Source: Prometheus, "Exposition formats", text format 0.0.4.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use mesh_runtime::System;
use mesh_runtime::postgres::Pool;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::host::Authority;
use warp::http::{HeaderMap, Response, StatusCode, header};

use crate::api::Api;
use crate::ingestion::Admission;

/// The text format, as scrapers ask for it.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a proxy adds: then the peer's address says nothing of who asks.
const FORWARDED: [&str; 6] = [
    "x-forwarded-for",
    "forwarded",
    "x-real-ip",
    "x-forwarded-host",
    "x-forwarded-proto",
    "via",
];

/// What is asked.
#[derive(Clone, Debug)]
struct Sources {
    system: System,
    pool: Pool,
    admission: Admission,
    api: Api,
}

/// The filter that answers GET and HEAD.
pub(super) fn routes(
    system: &System,
    pool: &Pool,
    admission: &Admission,
    api: &Api,
) -> BoxedFilter<(Response<Bytes>,)> {
    let sources = Sources {
        system: system.clone(),
        pool: pool.clone(),
        admission: admission.clone(),
        api: api.clone(),
    };
    let peer = mesh_runtime::http::peer_address()
        .map(Some)
        .or(warp::any().map(|| None))
        .unify();
    warp::path!("metrics")
        .and(warp::get().or(warp::head()).unify())
        .and(peer)
        .and(authority())
        .and(warp::header::headers_cloned())
        .then(
            move |peer: Option<SocketAddr>, authority: Option<Authority>, headers| {
                let sources = sources.clone();
                async move {
                    if !is_local(peer, authority.as_ref(), &headers)
                        && let Err(error) = sources.api.authorize(&headers).await
                    {
                        return error.into_response();
                    }
                    Response::builder()
                        .status(StatusCode::OK)
                        .header(header::CONTENT_TYPE, CONTENT_TYPE)
                        .header(header::CACHE_CONTROL, "no-store")
                        .body(Bytes::from(sources.text().await))
                        .expect("fixed header names and values")
                }
            },
        )
        .boxed()
}

/// Whom a request is for: HTTP/2 says it in the target, HTTP/1.1 in `Host`. `None` where it says nothing, nothing that can be read, or two
/// things.
fn authority() -> impl Filter<Extract = (Option<Authority>,), Error = Infallible> + Copy {
    warp::host::optional().or(warp::any().map(|| None)).unify()
}

fn is_local(peer: Option<SocketAddr>, authority: Option<&Authority>, headers: &HeaderMap) -> bool {
    peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback())
        && !FORWARDED.iter().any(|name| headers.contains_key(*name))
        && authority.is_some_and(names_this_machine)
        && headers.get_all(header::HOST).iter().all(|host| {
            Authority::try_from(host.as_bytes()).is_ok_and(|host| names_this_machine(&host))
        })
}

/// Whether it is this machine's name for itself, as it is not when a proxy hands on the name people use, or a page has its own name resolve
/// to this machine. Who asks through a proxy chooses what it says, so it keeps out nobody whom the proxy does not.
fn names_this_machine(authority: &Authority) -> bool {
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse()
            .is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback())
}

/// The text as it grows.
#[derive(Debug, Default)]
struct Text(String);

impl Text {
    fn add(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        let written = write!(
            self.0,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
        );
        written.expect("writing to a string never fails");
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.add(name, "gauge", help, value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.add(name, "counter", help, value);
    }
}

impl Sources {
    async fn text(&self) -> String {
        let mut text = Text::default();
        self.intake(&mut text).await;
        self.database(&mut text).await;
        self.runtime(&mut text);
        text.0
    }

    async fn intake(&self, text: &mut Text) {
        text.gauge(
            "mesher_pressure_percent",
            "How full the way to the database is; at 100 events are refused.",
            self.admission.pressure_percent().into(),
        );
        text.counter(
            "mesher_refused_without_key_total",
            "Requests since the start that showed no known key.",
            self.admission.counts().strangers(),
        );
        text.gauge(
            "mesher_payload_dictionaries",
            "Projects whose events are packed with a dictionary of their own.",
            self.admission.payload_dictionaries() as u64,
        );
        // A spool that is just being restarted has nothing to say; scrapers take a gap for what it is.
        let Ok(spool) = self.admission.spool_status().await else {
            return;
        };
        text.counter(
            "mesher_spool_records_total",
            "Events the door has made durable, counted by the spool itself.",
            spool.end,
        );
        // Nor does one that the database has not told yet how far it is: all it holds is not all that waits.
        if let Some((released, waiting)) = spool.released.zip(spool.waiting()) {
            text.counter(
                "mesher_spool_records_ended_total",
                "Of these, the ones whose outcome is in the database.",
                released,
            );
            text.gauge(
                "mesher_spool_records_waiting",
                "Of these, the ones still in the spool.",
                waiting,
            );
        }
        text.gauge(
            "mesher_spool_used_bytes",
            "Bytes of the spool's files that hold something not yet stored.",
            spool.used_bytes,
        );
        text.gauge(
            "mesher_spool_bytes_max",
            "Bytes the spool's files may take.",
            spool.bytes_max,
        );
    }

    async fn database(&self, text: &mut Text) {
        // Before the database has answered once there is no pool.
        let pool = self.pool.state().await.ok();
        text.gauge(
            "mesher_database_up",
            "Whether the database answers.",
            u64::from(pool.as_ref().is_some_and(|pool| pool.healthy)),
        );
        let Some(pool) = pool else {
            return;
        };
        for (name, help, value) in [
            (
                "mesher_pool_connections",
                "Connections to the database.",
                pool.size,
            ),
            (
                "mesher_pool_connections_idle",
                "Of these, the ones that nobody uses.",
                pool.idle,
            ),
            (
                "mesher_pool_waiting",
                "Callers that wait for a connection.",
                pool.waiting,
            ),
        ] {
            text.gauge(name, help, value as u64);
        }
    }

    fn runtime(&self, text: &mut Text) {
        let seen = self.system.inspect();
        let waiting = seen.processes.iter().map(|process| process.mailbox_len);
        text.gauge(
            "mesher_uptime_seconds",
            "Seconds since the start.",
            seen.uptime_ms / 1000,
        );
        text.gauge(
            "mesher_processes",
            "Processes of the runtime.",
            seen.processes.len() as u64,
        );
        text.gauge(
            "mesher_mailbox_messages",
            "Messages that wait in all mailboxes.",
            waiting.sum::<usize>() as u64,
        );
        for (name, help, value) in [
            (
                "mesher_restarts_total",
                "Processes restarted by their supervisors.",
                seen.counts.restarts,
            ),
            (
                "mesher_panics_total",
                "Processes ended by a panic.",
                seen.counts.panicked,
            ),
            (
                "mesher_dead_letters_total",
                "Messages that nobody will handle.",
                seen.counts.dead_letters,
            ),
            (
                "mesher_live_frames_missed_total",
                "Frames that dashboards were too slow for.",
                seen.counts.room_frames_missed,
            ),
        ] {
            text.counter(name, help, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Text, authority, is_local};
    use warp::host::Authority;
    use warp::http::HeaderMap;

    #[test]
    fn the_format_is_help_type_and_value() {
        let mut text = Text::default();
        text.gauge("a_b", "What it is.", 7);
        assert_eq!(text.0, "# HELP a_b What it is.\n# TYPE a_b gauge\na_b 7\n");
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_this_machine_asks_without_a_token_and_no_proxy_does() {
        let peer = |text: &str| Some(text.parse().unwrap());
        let localhost = Authority::from_static("localhost");
        let is_open = |peer, headers: &HeaderMap| is_local(peer, Some(&localhost), headers);
        assert!(is_open(peer("127.0.0.1:5"), &headers(&[])));
        assert!(is_open(peer("[::ffff:127.0.0.1]:5"), &headers(&[])));
        assert!(!is_open(peer("10.0.0.1:5"), &headers(&[])));
        assert!(!is_open(None, &headers(&[])));
        for name in super::FORWARDED {
            let forwarded = headers(&[(name, "127.0.0.1")]);
            assert!(!is_open(peer("127.0.0.1:5"), &forwarded), "{name}");
        }
    }

    #[tokio::test]
    async fn it_has_to_be_asked_for_by_its_own_name_for_itself() {
        let names = [
            ("localhost", true),
            ("Localhost:8080", true),
            ("127.0.0.1:8080", true),
            ("127.3.4.5", true),
            ("[::1]:8080", true),
            ("errors.example.com", false),
            ("errors.example.com:8080", false),
            ("localhost.example.com", false),
            ("10.0.0.1:8080", false),
            ("", false),
            ("a b", false),
        ];
        let mut asked = vec![
            ("/metrics".to_owned(), vec![], false),
            (
                "https://localhost/metrics".to_owned(),
                vec![("host", "errors.example.com")],
                false,
            ),
            (
                "/metrics".to_owned(),
                vec![("host", "localhost"), ("host", "errors.example.com")],
                false,
            ),
        ];
        for (name, is_ours) in names {
            asked.push(("/metrics".to_owned(), vec![("host", name)], is_ours));
            // As HTTP/2 has it.
            if let Ok(authority) = Authority::try_from(name) {
                asked.push((format!("https://{authority}/metrics"), vec![], is_ours));
            }
        }
        assert!(asked.len() > 20);
        for (target, fields, is_ours) in asked {
            let mut request = warp::test::request().path(&target);
            for (name, value) in &fields {
                request = request.header(*name, *value);
            }
            let authority = request.filter(&authority()).await.unwrap();
            let peer = Some("127.0.0.1:5".parse().unwrap());
            assert_eq!(
                is_local(peer, authority.as_ref(), &headers(&fields)),
                is_ours,
                "{target} with {fields:?}"
            );
        }
    }
}
