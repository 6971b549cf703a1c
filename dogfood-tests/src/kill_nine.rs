//! Rounds of load cut by SIGKILL at random moments: no acknowledged event is lost, none is stored twice, and the counters agree.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::Fault;
use crate::load::{self, Ledger, Shape};
use crate::seed::Seed;
use crate::server::{Dsn, Mesher};
use crate::verify::{self, Found};
use crate::wait;

const SHAPE: Shape = Shape {
    senders: 8,
    rate_per_second: None,
};

/// Runs the rounds on one data directory and checks the end; `report` gets a line a round.
///
/// A round kills either a server under load, 0 to 1.5 s into it, or (one in five) a server that is still starting. The very first
/// start is cut too, so that a half-made data directory is among the cases.
///
/// # Errors
/// When a server does not come back or a promise is broken; the seed is in the line.
pub fn run(rounds: u32, mut seed: Seed, mut report: impl FnMut(&str)) -> Result<Found, Fault> {
    let number = seed.number();
    report(&format!("seed {number}"));
    rounds_and_check(rounds, &mut seed, &mut report)
        .map_err(|fault| format!("{fault}\nagain with DOGFOOD_SEED={number}").into())
}

fn rounds_and_check(
    rounds: u32,
    seed: &mut Seed,
    report: &mut impl FnMut(&str),
) -> Result<Found, Fault> {
    let mut mesher = Mesher::new()?;
    cut_while_starting(&mut mesher, seed, report)?;
    mesher.start()?;
    let dsn = mesher.dsn()?;
    mesher.kill_nine();
    let ledger = Mutex::new(Ledger::default());
    for round in 1..=rounds {
        if seed.below(5) == 0 {
            cut_while_starting(&mut mesher, seed, report)?;
        }
        mesher.start()?;
        let before = load::lock(&ledger).answers.clone();
        let moment = Duration::from_millis(seed.below(1500));
        let stop = AtomicBool::new(false);
        let mut load_seed = seed.split();
        let address = mesher.address();
        thread::scope(|scope| {
            scope.spawn(|| {
                load::drive(
                    address,
                    std::slice::from_ref(&dsn),
                    SHAPE,
                    &mut load_seed,
                    &ledger,
                    &stop,
                )
            });
            wait::pause(moment);
            mesher.kill_nine();
            stop.store(true, Ordering::Relaxed);
        });
        let acknowledged = |answers: &std::collections::BTreeMap<u16, u64>| {
            answers.get(&202).copied().unwrap_or(0)
        };
        let gained = acknowledged(&load::lock(&ledger).answers) - acknowledged(&before);
        report(&format!(
            "round {round} of {rounds}: {gained} acknowledged, cut after {} ms",
            moment.as_millis()
        ));
    }
    mesher.start()?;
    load::resend_open(mesher.address(), std::slice::from_ref(&dsn), &ledger);
    cut_after_learning(&mut mesher, &dsn, seed, &ledger)?;
    let ledger = ledger
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if ledger.with(load::Promise::Acknowledged).is_empty() {
        return Err("no event was ever acknowledged: nothing was tested".into());
    }
    let found = verify::equality(&mesher, &ledger)?;
    if found.with_dictionary == 0 {
        return Err("no payload is packed with a dictionary any more".into());
    }
    report(&format!(
        "{} payloads were packed with a dictionary that is there",
        found.with_dictionary
    ));
    mesher.stop()?;
    Ok(found)
}

/// Sends until payloads are packed with a dictionary, some of them into a spool that is cut before they are stored.
fn cut_after_learning(
    mesher: &mut Mesher,
    dsn: &Dsn,
    seed: &mut Seed,
    ledger: &Mutex<Ledger>,
) -> Result<(), Fault> {
    let address = mesher.address();
    wait::until("a payload with a dictionary", 5 * wait::PATIENCE, || {
        load::send_alike(address, dsn, seed, ledger, 20);
        match verify::dictionaries(mesher) {
            Ok(0) => Err("none yet".to_owned()),
            Ok(_) => Ok(()),
            Err(fault) => Err(fault.to_string()),
        }
    })?;
    load::send_alike(address, dsn, seed, ledger, 100);
    mesher.kill_nine();
    mesher.start()
}

fn cut_while_starting(
    mesher: &mut Mesher,
    seed: &mut Seed,
    report: &mut impl FnMut(&str),
) -> Result<(), Fault> {
    let moment = Duration::from_millis(seed.below(600));
    mesher.spawn()?;
    wait::pause(moment);
    mesher.kill_nine();
    report(&format!("a start cut after {} ms", moment.as_millis()));
    Ok(())
}
