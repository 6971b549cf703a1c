//! How much of a project's events is let in, how they ended, and those that were put aside.

use dogfood_tests::Fault;
use dogfood_tests::api_probe::Probe;
use dogfood_tests::server::Mesher;
use dogfood_tests::wait::{self, PATIENCE};
use serde_json::{Value, json};

use crate::{Ground, data, event, store};

const LIMITS: &str = "/api/v1/projects/default/limits";
const OUTCOMES: &str = "/api/v1/projects/default/outcomes";
const QUARANTINE: &str = "/api/v1/projects/default/quarantine";

/// More events than any limit used here lets in at once.
const ATTEMPTS: usize = 1000;

pub(crate) fn run(mesher: &Mesher, probe: &mut Probe<'_>, ground: &Ground) -> Result<(), Fault> {
    // The last event of the limits is not waited for.
    quarantine(mesher, probe, ground)?;
    limits(probe, ground)
}

fn limits(probe: &mut Probe<'_>, ground: &Ground) -> Result<(), Fault> {
    let token = ground.token();
    let now = probe.expect(200, &token, "GET", LIMITS, b"")?.json()?;
    probe.check(
        now == json!({ "rate_limit": null, "key_rate_limit": null, "sample_rate": 1.0 }),
        || format!("limits of a new project: {now}"),
    );
    for wrong in [
        json!({ "rate_limit": -1, "key_rate_limit": null, "sample_rate": 1 }),
        json!({ "rate_limit": 1_000_001, "key_rate_limit": null, "sample_rate": 1 }),
        json!({ "rate_limit": null, "key_rate_limit": 1_000_001, "sample_rate": 1 }),
        json!({ "rate_limit": 1, "sample_rate": 1 }),
        json!({ "key_rate_limit": 1, "sample_rate": 1 }),
        json!({ "rate_limit": 1, "key_rate_limit": null, "sample_rate": 1.5 }),
        json!({ "rate_limit": 1, "key_rate_limit": null, "sample_rat": 1 }),
    ] {
        probe.expect(400, &token, "PUT", LIMITS, wrong.to_string().as_bytes())?;
    }
    let set = |probe: &mut Probe<'_>, limits: Value| {
        probe.expect(200, &token, "PUT", LIMITS, limits.to_string().as_bytes())
    };
    set(
        probe,
        json!({ "rate_limit": 1, "key_rate_limit": null, "sample_rate": 0.0 }),
    )?;
    let send = |probe: &Probe<'_>| -> Result<u16, Fault> {
        let event = event("Limited").to_string();
        let answer = probe.ask(&ground.key(), "POST", "/api/v1/events", event.as_bytes())?;
        Ok(answer.status)
    };
    // The door hears of it at once, and lets ten seconds' worth in.
    let mut taken = 0;
    wait::until("the limit to hold", PATIENCE, || {
        for _ in 0..ATTEMPTS {
            match send(probe).map_err(|fault| fault.to_string())? {
                202 => taken += 1,
                429 => return Ok(()),
                other => return Err(format!("an event was answered {other}")),
            }
        }
        Err(format!("{taken} events were taken"))
    })?;
    set(
        probe,
        json!({ "rate_limit": null, "key_rate_limit": null, "sample_rate": 1.0 }),
    )?;
    wait::until("the limit to be gone", PATIENCE, || {
        match send(probe).map_err(|fault| fault.to_string())? {
            202 => Ok(()),
            other => Err(format!("an event was answered {other}")),
        }
    })?;
    wait::until("the outcomes to be told", PATIENCE, || {
        let answer = probe
            .ask(&token, "GET", OUTCOMES, b"")
            .and_then(|answer| Ok(answer.json()?))
            .map_err(|fault| fault.to_string())?;
        let sum = |outcome: &str| -> u64 {
            let totals = answer["totals"].as_array().into_iter().flatten();
            let of_outcome = totals.filter(|total| total["outcome"] == outcome);
            of_outcome
                .filter_map(|total| total["quantity"].as_u64())
                .sum()
        };
        let is_told = sum("sampled") > 0 && sum("rate_limited") > 0 && sum("stored") > 0;
        let adds_up = answer["accepted"].as_u64() >= Some(sum("stored") + sum("sampled"));
        if is_told && adds_up {
            Ok(())
        } else {
            Err(answer["totals"].to_string())
        }
    })?;
    probe.expect(
        400,
        &token,
        "GET",
        &format!("{OUTCOMES}?from=yesterday"),
        b"",
    )?;
    Ok(())
}

fn quarantine(mesher: &Mesher, probe: &mut Probe<'_>, ground: &Ground) -> Result<(), Fault> {
    store(mesher, probe, ground, &[event("PutAside")])?;
    mesher.query(
        "INSERT INTO quarantine (project_id, event_id, received_at, reason, payload) \
         SELECT project_id, gen_random_uuid(), received_at, 'by the suite', payload FROM events LIMIT 1",
    )?;
    let token = ground.token();
    let listed = data(&probe.expect(200, &token, "GET", QUARANTINE, b"")?);
    probe.check(
        listed.len() == 1 && listed[0]["reason"] == "by the suite",
        || format!("the quarantine holds {listed:?}"),
    );
    let Some(row) = listed.first() else {
        return Ok(());
    };
    let path = format!("{QUARANTINE}/{}/replay", row["id"]);
    probe.expect(202, &token, "POST", &path, b"")?;
    probe.expect(404, &token, "POST", &path, b"")?;
    let id = row["event_id"].as_str().unwrap_or_default();
    wait::until("the event to be stored", PATIENCE, || {
        let rows = mesher
            .query(&format!("SELECT count(*) FROM events WHERE id = '{id}'"))
            .map_err(|fault| fault.to_string())?;
        if rows[0][0] == "1" {
            Ok(())
        } else {
            Err(format!("{rows:?}"))
        }
    })?;
    let listed = data(&probe.expect(200, &token, "GET", QUARANTINE, b"")?);
    probe.check(listed.is_empty(), || format!("it still holds {listed:?}"));
    Ok(())
}
