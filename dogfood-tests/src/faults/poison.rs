//! Events that PostgreSQL refuses for what they hold: they go to quarantine, their neighbours are stored, and once the cause is mended
//! each is tried again and stored.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Ground, Outcome, Stage, fresh_id, survived};
use crate::Fault;
use crate::load;
use crate::wait::{self, PATIENCE};

/// What the database is made to refuse; the code is of the class of errors in data.
const REFUSE: &str = "CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
     IF NEW.message LIKE 'poison%' THEN RAISE EXCEPTION 'poison' USING ERRCODE = '22023'; END IF; RETURN NEW; END $$; \
     CREATE TRIGGER refuse_poison BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION refuse_poison()";
const MEND: &str = "DROP TRIGGER refuse_poison ON events";

pub(super) fn poison(ground: &mut Ground) -> Result<Outcome, Fault> {
    let stage = ground.stage()?;
    let token = stage.mesher.token("poison")?;
    stage.mesher.query(REFUSE)?;
    let count = ground.scale.of(5, 200);
    stage.under_load(ground, |stage, ground| {
        for _ in 0..count {
            send_poison(stage, fresh_id(&mut ground.seed))?;
        }
        Ok(())
    })?;
    let quarantined = wait::until("the poison to be in quarantine", PATIENCE, || {
        let found = quarantine(&stage, &token).map_err(|fault| fault.to_string())?;
        if found.len() == count {
            Ok(found)
        } else {
            Err(format!("{} of {count}", found.len()))
        }
    })?;
    let is_clear = |row: &&Value| {
        row["reason"]
            .as_str()
            .is_some_and(|why| why.contains("22023"))
    };
    if quarantined.iter().filter(is_clear).count() != count {
        return Err(format!("a reason is missing: {quarantined:?}").into());
    }
    stage.mesher.query(MEND)?;
    let authorization = format!("Bearer {token}");
    for row in &quarantined {
        let path = format!("/api/v1/projects/default/quarantine/{}/replay", row["id"]);
        let headers = [("authorization", authorization.as_str())];
        let answer = stage.mesher.client().send("POST", &path, &headers, b"")?;
        if answer.status != 202 {
            return Err(format!("POST {path}: {}", answer.status).into());
        }
    }
    stage.settle().map(survived)
}

fn send_poison(stage: &Stage, id: Uuid) -> Result<(), Fault> {
    let authorization = format!("Bearer {}", stage.dsn.key);
    let headers = [("authorization", authorization.as_str())];
    let event = json!({ "event_id": id.simple().to_string(), "message": "poison in the well" });
    let body = event.to_string().into_bytes();
    let answer = stage
        .mesher
        .client()
        .send("POST", "/api/v1/events", &headers, &body)?;
    load::lock(&stage.ledger).note(id, Some(answer.status));
    Ok(())
}

/// Everything in quarantine, page by page.
fn quarantine(stage: &Stage, token: &str) -> Result<Vec<Value>, Fault> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/api/v1/projects/default/quarantine?limit=100{cursor}");
        let mut page = stage.mesher.api(token, &path)?;
        if let Some(rows) = page["data"].as_array_mut() {
            found.append(rows);
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(found),
        }
    }
}
