//! Mesher with its surroundings going wrong, each fault in small; large by `cargo run -p dogfood-tests --release -- faults`.

use dogfood_tests::faults::{self, CASES, Case, Outcome, Scale};
use dogfood_tests::seed::Seed;

fn run(names: &[&str]) {
    let cases: Vec<Case> = names
        .iter()
        .map(|name| Case::named(name).expect("a fault"))
        .collect();
    let report = |line: &str| println!("{line}");
    let outcomes = faults::run(&cases, Scale::Small, Seed::from_env(), report);
    let outcomes = outcomes.expect("every promise is kept");
    // What needs a disk of its own may be skipped, and says so.
    let skipped = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Outcome::Skipped(_)));
    let may_skip = names.iter().filter(|name| DISKS.contains(name)).count();
    assert!(skipped.count() <= may_skip, "{outcomes:?}");
}

const DATABASE: &[&str] = &[
    "away", "greeting", "restarts", "cuts", "commits", "timeouts",
];
const EVENTS: &[&str] = &["poison", "clock"];
const DISKS: &[&str] = &["disk-full", "read-only"];
const SPOOL: &[&str] = &["torn-spool", "instances"];

#[test]
fn a_database_that_fails_in_every_way_loses_nothing() {
    run(DATABASE);
}

#[test]
fn poison_and_a_wrong_clock_lose_nothing() {
    run(EVENTS);
}

#[test]
fn a_disk_that_is_full_or_read_only_is_told_and_loses_nothing() {
    run(DISKS);
}

#[test]
fn a_torn_spool_and_racing_servers_lose_nothing() {
    run(SPOOL);
}

#[test]
fn every_fault_is_among_the_tests() {
    let all: Vec<&str> = [DATABASE, EVENTS, DISKS, SPOOL].concat();
    for case in CASES {
        assert!(all.contains(&case.name), "{}", case.name);
    }
}
