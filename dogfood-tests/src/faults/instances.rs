//! Several servers on one data directory: one gets it, the others say so and end, and what it promised outlives it.

use std::net::SocketAddr;
use std::process::Child;

use super::{Ground, Outcome, Stage, survived};
use crate::Fault;
use crate::http::Client;
use crate::load;
use crate::server::{Mesher, free_address};
use crate::wait::{self, PATIENCE};

const RACERS: usize = 5;

/// One of the servers.
#[derive(Debug)]
struct Racer {
    address: SocketAddr,
    child: Child,
}

impl Drop for Racer {
    fn drop(&mut self) {
        // One that has ended already is as dead as it can be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn race(ground: &mut Ground) -> Result<Outcome, Fault> {
    let mut stage = ground.stage()?;
    stage.mesher.stop()?;
    for _ in 0..ground.scale.of(1, 10) {
        round(&stage, ground)?;
    }
    stage.mesher.start()?;
    stage.settle().map(survived)
}

/// All start at once; the one that is ready takes events and is killed.
fn round(stage: &Stage, ground: &mut Ground) -> Result<(), Fault> {
    let mut racers = Vec::new();
    for _ in 0..RACERS {
        racers.push(start(&stage.mesher)?);
    }
    let winner = wait::until("one server to have the directory", PATIENCE, || {
        let ready: Vec<SocketAddr> = racers
            .iter()
            .map(|racer| racer.address)
            .filter(|address| is_ready(*address))
            .collect();
        let ended = racers
            .iter_mut()
            .filter_map(|racer| racer.child.try_wait().ok().flatten())
            .collect::<Vec<_>>();
        if ended.iter().any(|status| status.code() != Some(1)) {
            return Ok(Err(format!("one that lost ended with {ended:?}")));
        }
        match (ready.as_slice(), ended.len()) {
            ([winner], losers) if losers == RACERS - 1 => Ok(Ok(*winner)),
            ([], RACERS) => Ok(Err("all of them ended".to_owned())),
            (ready, ended) => Err(format!("{} ready, {ended} ended", ready.len())),
        }
    })??;
    let sent = load::send_fresh(winner, &stage.dsns, &mut ground.seed, &stage.ledger, 20);
    let answers = load::lock(&stage.ledger).answers.clone();
    if answers.keys().any(|status| *status != 202) {
        return Err(format!("of {sent} events some were not acknowledged: {answers:?}").into());
    }
    Ok(())
}

fn start(mesher: &Mesher) -> Result<Racer, Fault> {
    let address = free_address()?;
    let child = mesher
        .command(&[])
        .env("MESHER_LISTEN", address.to_string())
        .stdout(mesher.log_file()?)
        .stderr(mesher.log_file()?)
        .spawn()?;
    Ok(Racer { address, child })
}

fn is_ready(address: SocketAddr) -> bool {
    let answer = Client::new(address).send("GET", "/readyz", &[], b"");
    answer.is_ok_and(|answer| answer.status == 200)
}
