//! Faults of PostgreSQL, of the way to it, and of the clock beside it.

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{Ground, Outcome, Stage, moment, survived};
use crate::Fault;
use crate::wait::{self, PATIENCE};

/// The server stops and comes back; meanwhile events are accepted as ever, and nothing but `/readyz` minds.
pub(super) fn away(ground: &mut Ground) -> Result<Outcome, Fault> {
    let stage = ground.stage()?;
    stage.under_load(ground, |stage, ground| {
        ground.database.stop()?;
        let reads = stage.mesher.client().send("GET", "/healthz", &[], b"")?;
        if reads.status != 200 {
            return Err(format!("/healthz answered {}", reads.status).into());
        }
        stage.wait_for_more(20)?;
        wait::pause(
            ground
                .scale
                .of(Duration::from_secs(2), Duration::from_secs(60)),
        );
        stage.wait_for_more(20)?;
        ground.database.start()
    })?;
    stage.settle().map(survived)
}

/// The database fails a server that serves already and only has its operator to tell; that is told once it can be, and nobody else minds.
pub(super) fn greeting(ground: &mut Ground) -> Result<Outcome, Fault> {
    let mut mesher = ground.mesher()?;
    mesher.start()?;
    mesher.setup_link()?;
    let mut stage = Stage::of_ready(mesher)?;
    for _ in 0..ground.scale.of(1, 10) {
        stage.mesher.stop()?;
        let told = stage.mesher.log()?.len();
        stage.mesher.query("ALTER TABLE users RENAME TO people")?;
        stage.mesher.start()?;
        stage.send(ground, 20)?;
        // Of this start, and not of one before.
        wait::until("the welcome to wait", PATIENCE, || {
            let log = stage.mesher.log().map_err(|fault| fault.to_string())?;
            match log[told..].contains("the welcome waits for the database") {
                true => Ok(()),
                false => Err(stage.mesher.log_end()),
            }
        })?;
        stage.send(ground, 20)?;
        stage.mesher.query("ALTER TABLE people RENAME TO users")?;
        wait::until("the set-up link", PATIENCE, || {
            let log = stage.mesher.log().map_err(|fault| fault.to_string())?;
            match log[told..].contains("/setup?token=") {
                true => Ok(()),
                false => Err(stage.mesher.log_end()),
            }
        })?;
    }
    stage.settle().map(survived)
}

/// The server crashes, so that whatever was under way is cut, and recovers.
pub(super) fn restarts(ground: &mut Ground) -> Result<Outcome, Fault> {
    let stage = ground.stage()?;
    stage.under_load(ground, |stage, ground| {
        for _ in 0..ground.scale.of(2, 20) {
            moment(&mut ground.seed, 500);
            ground.database.crash()?;
            ground.database.start()?;
            stage.wait_for_more(20)?;
        }
        Ok(())
    })?;
    stage.settle().map(survived)
}

pub(super) fn cuts(ground: &mut Ground) -> Result<Outcome, Fault> {
    let stage = ground.stage()?;
    let mut cut = 0;
    stage.under_load(ground, |_, ground| {
        for _ in 0..ground.scale.of(30, 600) {
            moment(&mut ground.seed, 100);
            cut += u32::from(ground.proxy.cut_one(ground.seed.next_u64()));
        }
        Ok(())
    })?;
    if cut == 0 {
        return Err("there was never a connection to cut".into());
    }
    stage.settle().map(survived)
}

pub(super) fn commits(ground: &mut Ground) -> Result<Outcome, Fault> {
    let stage = ground.stage()?;
    let wanted = ground.scale.of(8, 200);
    stage.under_load(ground, |_, ground| {
        ground.proxy.cut_commits(wanted);
        let all = Duration::from_secs(ground.scale.of(60, 600));
        wait::until("the commits to be cut", all, || {
            match ground.proxy.commits_cut() {
                cut if cut >= wanted => Ok(()),
                cut => Err(format!("{cut} of {wanted}")),
            }
        })?;
        Ok(())
    })?;
    stage.settle().map(survived)
}

/// A lock that somebody holds on the issues, and a server that lets no statement wait for it.
pub(super) fn timeouts(ground: &mut Ground) -> Result<Outcome, Fault> {
    let stage = ground.stage()?;
    stage.under_load(ground, |stage, ground| {
        for _ in 0..ground.scale.of(1, 10) {
            ground.database.set("statement_timeout", "200ms")?;
            let held = thread::scope(|scope| {
                let holder = scope.spawn(|| {
                    stage.mesher.query(
                        "SET statement_timeout = 0; BEGIN; LOCK TABLE issues IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(2); COMMIT",
                    )
                });
                let more = stage.wait_for_more(20);
                holder.join().map(|held| more.and(held.map(drop)))
            });
            held.map_err(|_| "the holder of the lock panicked")??;
        }
        ground.database.set("statement_timeout", "0")
    })?;
    let log = stage.mesher.log()?;
    if !log.contains("statement timeout") {
        return Err("no statement ever timed out: nothing was tested".into());
    }
    stage.settle().map(survived)
}

/// The hour before, two days on, and back: what is received by a wrong clock is stored all the same, and a retry is still a duplicate.
pub(super) fn clock(ground: &mut Ground) -> Result<Outcome, Fault> {
    let mesher = ground.mesher()?.with_env("MESHER_TEST_HOOKS", "1");
    let stage = Stage::of(mesher)?;
    let token = stage.mesher.token("clock")?;
    let authorization = format!("Bearer {token}");
    let step = |seconds: i64| -> Result<(), Fault> {
        let headers = [("authorization", authorization.as_str())];
        let body = json!({ "offset_seconds": seconds }).to_string();
        let answer = wait::until("the clock to step", PATIENCE, || {
            let mut client = stage.mesher.client();
            client
                .send("POST", "/api/v1/runtime/clock", &headers, body.as_bytes())
                .map_err(|error| error.to_string())
        })?;
        match answer.status {
            200 => Ok(()),
            status => Err(format!("the clock did not step: {status}").into()),
        }
    };
    stage.under_load(ground, |stage, ground| {
        for _ in 0..ground.scale.of(1, 20) {
            // Less than a day apart, for so long a copy that is sent again is known; and over midnight at nearly any time.
            for seconds in [-3_600, 60, 12 * 3_600, -42_000, 0] {
                step(seconds)?;
                stage.wait_for_more(20)?;
            }
        }
        Ok(())
    })?;
    stage.settle().map(survived)
}
