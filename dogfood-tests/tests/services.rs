//! Calls resolve exactly once under death, timeout and cancel; jobs too.

use dogfood_tests::suites::Suite;

#[test]
fn services_hold_small() {
    Suite::test("services");
}

#[test]
fn jobs_hold_small() {
    Suite::test("jobs");
}
