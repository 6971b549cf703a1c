//! Every named process of the supervision tree killed in turn under load: each comes back, and no promise is broken.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::Fault;
use crate::load::{self, Ledger, Shape};
use crate::seed::Seed;
use crate::server::{Dsn, Mesher};
use crate::verify::{self, Found};
use crate::wait::{self, PATIENCE};

/// Turns on the route that kills a process by name; without it the server has no such route.
const HOOK: &str = "MESHER_TEST_HOOKS";
const SHAPE: Shape = Shape {
    senders: 4,
    rate_per_second: Some(200),
};

/// Starts a server with the test hook, kills each named process once and checks the end; `report` gets a line a process.
///
/// # Errors
/// When a process does not come back within a minute, the server dies, or a promise is broken.
pub fn run(mut seed: Seed, mut report: impl FnMut(&str)) -> Result<(usize, Found), Fault> {
    report(&format!("seed {}", seed.number()));
    let mut mesher = Mesher::new()?.with_env(HOOK, "1");
    mesher.start()?;
    let (dsn, token) = (mesher.dsn()?, mesher.token("kill-processes")?);
    let ledger = Mutex::new(Ledger::default());
    let killed = kill_each(&mesher, &dsn, &token, &mut seed, &ledger, &mut report)?;
    mesher.wait_ready()?;
    load::resend_open(mesher.address(), std::slice::from_ref(&dsn), &ledger);
    let ledger = ledger
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    report(&format!("answers by status: {:?}", ledger.answers));
    let found = verify::equality(&mesher, &ledger)
        .map_err(|fault| format!("{fault}\n{}", mesher.log_end()))?;
    mesher.stop()?;
    Ok((killed, found))
}

fn kill_each(
    mesher: &Mesher,
    dsn: &Dsn,
    token: &str,
    seed: &mut Seed,
    ledger: &Mutex<Ledger>,
    report: &mut impl FnMut(&str),
) -> Result<usize, Fault> {
    let stop = AtomicBool::new(false);
    let mut load_seed = seed.split();
    thread::scope(|scope| {
        scope.spawn(|| {
            load::drive(
                mesher.address(),
                std::slice::from_ref(dsn),
                SHAPE,
                &mut load_seed,
                ledger,
                &stop,
            )
        });
        let outcome = (|| {
            load::wait_for_acknowledged(ledger, 20)?;
            let names: Vec<String> = processes(mesher, token)?
                .into_iter()
                .map(|(name, _)| name)
                .collect();
            if names.is_empty() {
                return Err("the runtime lists no named process".into());
            }
            for name in &names {
                let new_pid = kill_and_wait(mesher, token, name)?;
                let acknowledged = load::lock(ledger).with(load::Promise::Acknowledged).len();
                // The next one only dies once events flow again: each kill meets a working server under load.
                load::wait_for_acknowledged(ledger, acknowledged + 20)?;
                report(&format!("{name} killed, back as {new_pid}"));
            }
            Ok(names.len())
        })();
        stop.store(true, Ordering::Relaxed);
        outcome.map_err(|fault: Fault| format!("{fault}\n{}", mesher.log_end()).into())
    })
}

fn kill_and_wait(mesher: &Mesher, token: &str, name: &str) -> Result<String, Fault> {
    let old_pid = pid_of(mesher, token, name)?;
    let authorization = format!("Bearer {token}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
    ];
    let body = json!({ "name": name }).to_string();
    // The killed process may be the one that carries this answer: a cut connection is an expected end.
    if let Ok(response) =
        mesher
            .client()
            .send("POST", "/api/v1/runtime/kill", &headers, body.as_bytes())
        && response.status >= 400
        && response.status != 500
    {
        let text = String::from_utf8_lossy(&response.body);
        return Err(format!("killing {name}: status {}: {text}", response.status).into());
    }
    let back = wait::until(&format!("{name} to come back"), PATIENCE, || {
        match pid_of(mesher, token, name) {
            Ok(pid) if pid == old_pid => Err(format!("still {old_pid}")),
            Ok(pid) => Ok(pid),
            Err(fault) => Err(fault.to_string()),
        }
    })?;
    Ok(back)
}

fn pid_of(mesher: &Mesher, token: &str, name: &str) -> Result<String, Fault> {
    let found = processes(mesher, token)?
        .into_iter()
        .find(|(known, _)| known == name);
    found
        .map(|(_, pid)| pid)
        .ok_or_else(|| format!("no process named {name}").into())
}

fn processes(mesher: &Mesher, token: &str) -> Result<Vec<(String, String)>, Fault> {
    Ok(named(&mesher.api(token, "/api/v1/runtime")?))
}

/// The processes that have a name and somebody above them who restarts them, in the order listed, with their pids.
fn named(inspection: &Value) -> Vec<(String, String)> {
    let list = inspection["processes"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let is_listed = |pid: &Value| list.iter().any(|process| process["pid"] == *pid);
    let pair = |process: &Value| {
        let name = process["names"][0].as_str()?;
        let pid = process["pid"].as_str()?;
        // The root's parent is the system itself, which is no process: when the root dies, the program ends.
        is_listed(&process["parent"]).then(|| (name.to_owned(), pid.to_owned()))
    };
    list.iter().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::named;
    use serde_json::json;

    #[test]
    fn only_named_processes_below_the_root_are_killed() {
        let inspection = json!({"processes": [
            {"names": ["root"], "pid": "<0.4>", "parent": "<0.1>"},
            {"names": ["spool"], "pid": "<0.5>", "parent": "<0.4>"},
            {"names": [], "pid": "<0.6>", "parent": "<0.5>"}
        ]});
        let expected = [("spool".to_owned(), "<0.5>".to_owned())];
        assert_eq!(named(&inspection), expected);
        assert!(named(&json!({})).is_empty());
    }
}
