//! Fairness, kills, blocking work, and a clean stop of all that waits.

use dogfood_tests::suites::Suite;

#[test]
fn scheduler_hold_small() {
    Suite::test("scheduler");
}

#[test]
fn shutdown_hold_small() {
    Suite::test("shutdown");
}
