//! Faults of the disk under the spool: full, read-only, and damaged behind the server's back.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use super::{Ground, Outcome, Stage, fresh_id, survived, wait_for_log};
use crate::Fault;
use crate::load::{self, Ledger, Promise};
use crate::operator::Ended;
use crate::postgres::PASSWORD;
use crate::seed::Seed;
use crate::wait::{self, PATIENCE};

/// Room for the spool's first two files and little more.
const DISK_MIB: u32 = 20;

/// A bound of the spool far beyond the disk, in files of 8 MiB.
const SPOOL_MIB: &str = "64";

/// The bytes of a spool's record before its payload; those of its payload before the event's id; where its length stands.
const HEADER_BYTES: usize = 32;
const ID_AT: usize = HEADER_BYTES + 1;
const LENGTH_AT: usize = 4;

/// A small file system in memory; gone when dropped.
#[derive(Debug)]
struct Mount {
    place: TempDir,
}

impl Mount {
    /// A file system of that size, or why there can be none.
    fn new(mib: u32) -> Result<Result<Self, String>, Fault> {
        let place = tempfile::Builder::new().prefix("mesher-disk-").tempdir()?;
        let size = format!("size={mib}m");
        let mount = Self { place };
        Ok(mount
            .run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs"])
            .map(|()| mount))
    }

    fn data_dir(&self) -> PathBuf {
        self.place.path().to_owned()
    }

    /// Mounts it anew, to be read only or to be written.
    fn remount(&self, how: &str) -> Result<(), Fault> {
        let options = format!("remount,{how}");
        Ok(self.run("mount", &["-o", &options])?)
    }

    /// Runs a program on the place; an error is what it said.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<(), String> {
        let output = Command::new(program)
            .args(arguments)
            .arg(self.place.path())
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{program}: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!(
            "{program} {}: {}",
            arguments.join(" "),
            said.trim()
        ))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // If it was never mounted, there is nothing to take away.
        let _ = self.run("umount", &["--lazy"]);
    }
}

/// The disk fills up while the database is away: refusals with a clear word, nothing lost, also when the server dies on the full disk.
pub(super) fn full(ground: &mut Ground) -> Result<Outcome, Fault> {
    let mount = match Mount::new(DISK_MIB)? {
        Ok(mount) => mount,
        Err(why) => return Ok(Outcome::Skipped(format!("a small disk needs root: {why}"))),
    };
    let mesher = ground
        .mesher()?
        .with_env("MESHER_SPOOL_MIB", SPOOL_MIB)
        .with_env("MESHER_DATA_DIR", &mount.data_dir().to_string_lossy());
    let mut stage = Stage::of(mesher)?;
    for _ in 0..ground.scale.of(1, 5) {
        stage.send(ground, 20)?;
        ground.cut_off();
        fill(&stage, ground)?;
        wait_for_log(&stage.mesher, "the spool is full")?;
        stage.mesher.kill_nine();
        ground.reconnect();
        stage.mesher.start()?;
        wait::until("events to be taken again", PATIENCE, || {
            let id = fresh_id(&mut ground.seed);
            match post(&stage, &large_event(&mut ground.seed, id), id) {
                Ok(202) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })?;
    }
    stage.settle().map(survived)
}

/// Sends large events until ten in a row are refused.
fn fill(stage: &Stage, ground: &mut Ground) -> Result<(), Fault> {
    let mut refused = 0;
    for _ in 0..2_000 {
        let id = fresh_id(&mut ground.seed);
        match post(stage, &large_event(&mut ground.seed, id), id)? {
            202 => refused = 0,
            429 => refused += 1,
            status => return Err(format!("an event on a full disk was answered {status}").into()),
        }
        if refused == 10 {
            return Ok(());
        }
    }
    Err("the disk never filled up".into())
}

fn post(stage: &Stage, body: &[u8], id: Uuid) -> Result<u16, Fault> {
    let authorization = format!("Bearer {}", stage.dsn.key);
    let headers = [("authorization", authorization.as_str())];
    let answer = stage
        .mesher
        .client()
        .send("POST", "/api/v1/events", &headers, body)?;
    load::lock(&stage.ledger).note(id, Some(answer.status));
    if answer.status == 429 && answer.header("retry-after").is_none() {
        return Err("a refusal does not say when to come back".into());
    }
    Ok(answer.status)
}

/// An event of some 900 KB that compresses badly.
fn large_event(seed: &mut Seed, id: Uuid) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 .";
    let mut text = || -> String {
        let mut text = String::with_capacity(15_000);
        while text.len() < 15_000 {
            let mut random = seed.next_u64();
            for _ in 0..10 {
                text.push(char::from(LETTERS[(random & 63) as usize]));
                random >>= 6;
            }
        }
        text
    };
    let extra: Map<String, Value> = (0..60)
        .map(|n| (format!("part{n}"), text().into()))
        .collect();
    let event = json!({ "event_id": id.simple().to_string(), "message": "large", "extra": extra });
    event.to_string().into_bytes()
}

/// A directory that cannot be written is said to be one, at a first start and at a later one; what the spool holds is kept.
pub(super) fn read_only(ground: &mut Ground) -> Result<Outcome, Fault> {
    let mount = match Mount::new(DISK_MIB)? {
        Ok(mount) => mount,
        Err(why) => {
            return Ok(Outcome::Skipped(format!(
                "a disk of its own needs root: {why}"
            )));
        }
    };
    let mut mesher = ground
        .mesher()?
        .with_env("MESHER_SPOOL_MIB", SPOOL_MIB)
        .with_env("MESHER_DATA_DIR", &mount.data_dir().to_string_lossy());
    let is_refused = |mesher: &crate::server::Mesher| {
        let ended = Ended::of(&mut mesher.command(&[]), PATIENCE)?;
        ended.refusal(&["MESHER_DATA_DIR", "ead-only"], &[PASSWORD])
    };
    mount.remount("ro")?;
    is_refused(&mesher)?;
    mount.remount("rw")?;
    mesher.start()?;
    mesher.stop()?;
    let mut stage = Stage::of(mesher)?;
    ground.cut_off();
    stage.send(ground, 20)?;
    stage.mesher.kill_nine();
    ground.reconnect();
    mount.remount("ro")?;
    is_refused(&stage.mesher)?;
    mount.remount("rw")?;
    stage.mesher.start()?;
    stage.settle().map(survived)
}

/// What a torn write leaves behind the last record changes nothing; damage among the records costs those it hits and no other, is said, and
/// counted as lost, and the books still balance. The end of the file torn off takes what it held with it, but nothing that is sent later.
pub(super) fn torn(ground: &mut Ground) -> Result<Outcome, Fault> {
    // Small files, for they are searched whole.
    let mesher = ground.mesher()?.with_env("MESHER_SPOOL_MIB", SPOOL_MIB);
    let mut stage = Stage::of(mesher)?;
    for round in 0..ground.scale.of(2, 20) {
        let place = die_with_a_full_spool(&mut stage, ground)?;
        let tail = match round % 2 {
            0 => (0..3_000).map(|_| ground.seed.below(256) as u8).collect(),
            _ => place.bytes[..place.bytes.len() / 2].to_vec(),
        };
        let end = place.start + place.bytes.len() as u64;
        place.file.write_all_at(&tail, end)?;
        stage.mesher.start()?;
        stage.send(ground, 5)?;
    }
    let lost = damage_one(&mut stage, ground)?;
    forget_the_end(&mut stage, ground)?;
    let outcome = stage.settle().map(survived)?;
    Ok(match outcome {
        Outcome::Held(found) => Outcome::Held(format!("{found}; {lost} damaged, and counted")),
        skipped => skipped,
    })
}

/// One of many records that wait for the database is damaged: it alone is lost, and counted. Returns how many were.
fn damage_one(stage: &mut Stage, ground: &mut Ground) -> Result<u64, Fault> {
    ground.cut_off();
    stage.send(ground, 15)?;
    let damaged = send_one(stage, ground)?;
    stage.send(ground, 15)?;
    stage.mesher.kill_nine();
    ground.reconnect();
    let place = find(&stage.mesher.data_dir().join("spool"), damaged)?;
    let middle = place.start + (place.bytes.len() / 2) as u64;
    let flipped = place.bytes[place.bytes.len() / 2] ^ 0x40;
    place.file.write_all_at(&[flipped], middle)?;
    open_again(stage, |id| id == damaged);
    stage.mesher.start()?;
    wait_for_log(&stage.mesher, "a spool segment is damaged")?;
    let counted = || {
        let rows = stage.mesher.query(
            "SELECT coalesce(sum(quantity), 0) FROM outcomes WHERE outcome = 'lost' AND reason = 'damage' \
             AND project_id = (SELECT id FROM projects WHERE slug = 'default')",
        )?;
        Ok::<u64, Fault>(rows[0][0].parse()?)
    };
    let lost = wait::until(
        "the damaged event to be counted",
        PATIENCE,
        || match counted().map_err(|fault| fault.to_string())? {
            0 => Err("none is".to_owned()),
            lost => Ok(lost),
        },
    )?;
    if lost != 1 {
        return Err(format!(
            "one event was damaged, and {lost} of its project are counted as lost"
        )
        .into());
    }
    Ok(lost)
}

/// The disk forgets the end of the newest file, which the database has: what is sent from then on is not taken for it.
fn forget_the_end(stage: &mut Stage, ground: &mut Ground) -> Result<(), Fault> {
    stage.send(ground, 5)?;
    let first = send_one(stage, ground)?;
    stage.send(ground, 15)?;
    wait_until_stored(stage)?;
    stage.mesher.kill_nine();
    let place = find(&stage.mesher.data_dir().join("spool"), first)?;
    let rest = place.file.metadata()?.len() - place.start;
    let nothing = vec![0; usize::try_from(rest)?];
    place.file.write_all_at(&nothing, place.start)?;
    stage.mesher.start()?;
    stage.send(ground, 10)?;
    wait_for_log(&stage.mesher, "the spool remembered less than the database")
}

/// Waits until the spool holds nothing that the database lacks.
fn wait_until_stored(stage: &Stage) -> Result<(), Fault> {
    let acknowledged = load::lock(&stage.ledger).with(Promise::Acknowledged);
    wait::until("all to be stored", PATIENCE, || {
        let rows = stage
            .mesher
            .query("SELECT count(*) FROM events")
            .map_err(|fault| fault.to_string())?;
        let stored: usize = rows[0][0].parse().map_err(|_| "no count".to_owned())?;
        if stored >= acknowledged.len() {
            Ok(())
        } else {
            Err(format!("{stored} of {}", acknowledged.len()))
        }
    })?;
    Ok(())
}

/// What is lost is no longer promised; whoever sent it sends it again.
fn open_again(stage: &mut Stage, is_lost: impl Fn(Uuid) -> bool) {
    let mut promises = Ledger::default();
    for id in load::lock(&stage.ledger).with(Promise::Acknowledged) {
        promises.note(id, (!is_lost(id)).then_some(202));
    }
    stage.ledger = promises.into();
}

fn send_one(stage: &Stage, ground: &mut Ground) -> Result<Uuid, Fault> {
    let id = fresh_id(&mut ground.seed);
    match post(stage, &load::body(id), id)? {
        202 => Ok(id),
        status => Err(format!("an event was answered {status}").into()),
    }
}

/// The last record that was acknowledged, as it lies on the disk.
#[derive(Debug)]
struct Place {
    file: File,
    start: u64,
    bytes: Vec<u8>,
}

/// Sends events that the database does not take any more, kills the server, and finds the last of them on the disk.
fn die_with_a_full_spool(stage: &mut Stage, ground: &mut Ground) -> Result<Place, Fault> {
    ground.cut_off();
    stage.send(ground, 29)?;
    let id = send_one(stage, ground)?;
    stage.mesher.kill_nine();
    ground.reconnect();
    find(&stage.mesher.data_dir().join("spool"), id)
}

fn find(spool: &Path, id: Uuid) -> Result<Place, Fault> {
    for entry in fs::read_dir(spool)? {
        let path = entry?.path();
        let bytes = fs::read(&path)?;
        let mut windows = bytes.windows(16);
        let Some(at) = windows.rposition(|window| window == id.as_bytes()) else {
            continue;
        };
        let start = at.checked_sub(ID_AT).ok_or("an id without a record")?;
        let length: [u8; 4] = bytes[start + LENGTH_AT..start + LENGTH_AT + 4].try_into()?;
        let len = HEADER_BYTES + u32::from_le_bytes(length) as usize;
        return Ok(Place {
            file: File::options().read(true).write(true).open(&path)?,
            start: start as u64,
            bytes: bytes[start..start + len].to_vec(),
        });
    }
    Err("the last acknowledged event is not in the spool".into())
}
