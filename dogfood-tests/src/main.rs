//! The suites as a program: `cargo run -p dogfood-tests --release -- kill-nine --rounds 20`.

use std::env;
use std::process::ExitCode;

use dogfood_tests::seed::Seed;
use dogfood_tests::throughput::Load;
use dogfood_tests::{Fault, browser, kill_nine, kill_processes, sdks, throughput};

const USAGE: &str = "usage: dogfood-tests SUITE
  kill-nine [--rounds N]   load cut by SIGKILL at random moments (20 rounds)
  kill-processes           every named process killed in turn under 200 events a second
  load [--count N] [--connections N] [--rate N] [--event FILE]
                           real events as envelopes: accepted and stored a second, p50 and p99 of the answers
  sdks                     real SDKs send; rows and API are checked
  browser                  the dashboard in headless Chromium
DOGFOOD_SEED=N repeats a run; MESHER_BIN=PATH takes that binary instead of building one.";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["kill-nine"] => run_kill_nine(20),
        ["kill-nine", "--rounds", rounds] => match rounds.parse() {
            Ok(rounds) => run_kill_nine(rounds),
            Err(_) => return usage(),
        },
        ["kill-processes"] => run_kill_processes(),
        ["load", rest @ ..] => match Load::parse(rest) {
            Some(load) => throughput::run(&load, say),
            None => return usage(),
        },
        ["sdks"] => sdks::run(say),
        ["browser"] => browser::run(),
        _ => return usage(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("FAILED: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn run_kill_nine(rounds: u32) -> Result<(), Fault> {
    let found = kill_nine::run(rounds, Seed::from_env(), say)?;
    say(&format!(
        "{rounds} rounds: {} acknowledged events, each stored exactly once; {} more stored without an answer; {} issues agree with their rows",
        found.acknowledged, found.stored_unanswered, found.issues
    ));
    Ok(())
}

fn run_kill_processes() -> Result<(), Fault> {
    let (killed, found) = kill_processes::run(Seed::from_env(), say)?;
    say(&format!(
        "{killed} processes killed and back; {} acknowledged events, each stored exactly once; {} issues agree with their rows",
        found.acknowledged, found.issues
    ));
    Ok(())
}

fn say(line: &str) {
    println!("{line}");
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}
