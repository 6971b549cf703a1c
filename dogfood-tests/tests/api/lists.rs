//! Pages without gap or duplicate, and what a user's action does to the lists.

use std::collections::HashSet;

use dogfood_tests::Fault;
use dogfood_tests::api_probe::Probe;
use dogfood_tests::server::Mesher;
use serde_json::Value;

use crate::{Ground, data, event, store};

/// More than two pages of [`LIMIT`].
const COUNT: usize = 23;
const LIMIT: usize = 5;

pub(crate) fn run(mesher: &Mesher, probe: &mut Probe<'_>, ground: &Ground) -> Result<(), Fault> {
    let kinds = (0..COUNT).map(|number| event(&format!("Paged{}", letters(number))));
    store(mesher, probe, ground, &kinds.collect::<Vec<_>>())?;
    let repeated = vec![event("Repeated"); COUNT];
    store(mesher, probe, ground, &repeated)?;

    let issues = "/api/v1/projects/default/issues";
    let paged = pages(probe, ground, &format!("{issues}?query=Paged&"))?;
    check_whole(probe, "issues", &paged, COUNT);
    let found = probe.expect(
        200,
        &ground.token(),
        "GET",
        &format!("{issues}?query=repeated"),
        b"",
    )?;
    let found = data(&found);
    probe.check(found.len() == 1 && found[0]["event_count"] == COUNT, || {
        format!("one issue of {COUNT}: {found:?}")
    });
    let id = found
        .first()
        .and_then(|issue| issue["id"].as_str())
        .unwrap_or_default()
        .to_owned();
    let events = pages(probe, ground, &format!("/api/v1/issues/{id}/events?"))?;
    check_whole(probe, "events", &events, COUNT);
    neighbours(probe, ground, &id)?;
    actions(probe, ground, &id)
}

/// Letters only: digits would be taken for parameters of one and the same name.
fn letters(number: usize) -> String {
    number
        .to_string()
        .bytes()
        .map(|digit| char::from(b'a' + digit - b'0'))
        .collect()
}

fn pages(probe: &mut Probe<'_>, ground: &Ground, path: &str) -> Result<Vec<Vec<Value>>, Fault> {
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    while pages.len() <= COUNT {
        let answer = probe.expect(
            200,
            &ground.token(),
            "GET",
            &format!("{path}limit={LIMIT}{cursor}"),
            b"",
        )?;
        pages.push(data(&answer));
        match answer.json()?["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    Ok(pages)
}

fn check_whole(probe: &mut Probe<'_>, what: &str, pages: &[Vec<Value>], count: usize) {
    let sizes: Vec<usize> = pages.iter().map(Vec::len).collect();
    let ids: Vec<&str> = pages
        .iter()
        .flatten()
        .filter_map(|row| row["id"].as_str())
        .collect();
    let distinct: HashSet<&str> = ids.iter().copied().collect();
    probe.check(
        sizes.len() == count.div_ceil(LIMIT)
            && sizes[..sizes.len() - 1].iter().all(|size| *size == LIMIT),
        || format!("{what}: pages of {sizes:?}"),
    );
    probe.check(ids.len() == count && distinct.len() == count, || {
        format!(
            "{what}: {} rows, {} distinct, expected {count}",
            ids.len(),
            distinct.len()
        )
    });
}

/// From the latest event back to the first by `previous_id`, and forth again by `next_id`.
fn neighbours(probe: &mut Probe<'_>, ground: &Ground, issue: &str) -> Result<(), Fault> {
    let path = |event: &str| format!("/api/v1/projects/default/events/{event}");
    let latest = probe.expect(
        200,
        &ground.token(),
        "GET",
        &path(&format!("latest?issue={issue}")),
        b"",
    )?;
    let mut at = latest.json()?;
    probe.check(at["next_id"].is_null(), || {
        format!("the latest has a next: {}", at["next_id"])
    });
    let mut seen = HashSet::from([at["id"].to_string()]);
    while let Some(previous) = at["previous_id"].as_str().map(str::to_owned) {
        let next = probe
            .expect(200, &ground.token(), "GET", &path(&previous), b"")?
            .json()?;
        probe.check(next["next_id"] == at["id"], || {
            format!("{previous} does not lead back to {}", at["id"])
        });
        if !seen.insert(next["id"].to_string()) {
            break;
        }
        at = next;
    }
    probe.check(seen.len() == COUNT, || {
        format!("{} of {COUNT} events are linked", seen.len())
    });
    Ok(())
}

fn actions(probe: &mut Probe<'_>, ground: &Ground, issue: &str) -> Result<(), Fault> {
    for (action, status) in [
        ("resolve", "resolved"),
        ("unresolve", "unresolved"),
        ("archive", "archived"),
        ("unresolve", "unresolved"),
    ] {
        let path = format!("/api/v1/issues/{issue}/{action}");
        for _ in 0..2 {
            let answer = probe
                .expect(200, &ground.token(), "POST", &path, b"")?
                .json()?;
            probe.check(answer["status"] == status, || {
                format!("{action}: {}", answer["status"])
            });
        }
        for list in ["unresolved", "resolved", "archived"] {
            let path = format!("/api/v1/projects/default/issues?query=Repeated&status={list}");
            let answer = probe.expect(200, &ground.token(), "GET", &path, b"")?;
            let expected = usize::from(list == status);
            probe.check(data(&answer).len() == expected, || {
                format!("after {action}, {list} holds {:?}", data(&answer))
            });
        }
    }
    Ok(())
}
