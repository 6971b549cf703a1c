//! Events over a WebSocket: who may, and that each frame has its answer, in order.

use dogfood_tests::Fault;
use dogfood_tests::api_probe::Probe;
use dogfood_tests::server::Mesher;
use dogfood_tests::wait::{self, PATIENCE};
use dogfood_tests::web_socket::WebSocket;

use crate::{Ground, event};

const PATH: &str = "/api/v1/ingest";

pub(crate) fn run(mesher: &Mesher, probe: &mut Probe<'_>, ground: &Ground) -> Result<(), Fault> {
    let address = mesher.address();
    let with_key = format!("{PATH}?sentry_key={}", ground.dsn.key);
    let strange = format!("{PATH}?sentry_key={}", "0".repeat(32));
    for (path, status) in [(PATH, 401), (&strange, 403)] {
        let (got, _) = WebSocket::open(address, path, &[])?;
        probe.check(got == status, || {
            format!("{path}: expected {status}, got {got}")
        });
    }
    probe.expect(426, &ground.key(), "GET", PATH, b"")?;
    let (status, socket) =
        WebSocket::open(address, &with_key, &[("origin", "http://shop.example")])?;
    let Some(mut socket) = socket else {
        return Err(format!("the upgrade was answered {status}").into());
    };
    let frames = [
        event("Socket").to_string(),
        "7".to_owned(),
        event("Socket").to_string(),
    ];
    for frame in &frames {
        socket.send(frame)?;
    }
    let mut ids = Vec::new();
    for number in 0..frames.len() {
        let answer = socket.receive()?.ok_or("the server closed the socket")?;
        probe.check(answer["frame"] == number, || {
            format!("answer {number} is {answer}")
        });
        match answer["id"].as_str() {
            Some(id) => ids.push(id.to_owned()),
            None => probe.check(number == 1 && answer["error"]["code"] == "invalid", || {
                format!("answer {number} is {answer}")
            }),
        }
    }
    probe.check(ids.len() == 2, || format!("acknowledged: {ids:?}"));
    wait::until("the acknowledged events to be stored", PATIENCE, || {
        let rows = mesher
            .query(&format!(
                "SELECT count(*) FROM events WHERE id::text IN ('{}')",
                ids.join("','")
            ))
            .map_err(|fault| fault.to_string())?;
        if rows[0][0] == ids.len().to_string() {
            Ok(())
        } else {
            Err(format!("{rows:?}"))
        }
    })?;
    Ok(())
}
