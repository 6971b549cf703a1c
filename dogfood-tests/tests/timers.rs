//! A million timers in the small: one thread, never early, cancel races.

use dogfood_tests::suites::Suite;

#[test]
fn timers_hold_small() {
    Suite::test("timers");
}
