//! Names are unique, and forgotten on death.

use dogfood_tests::suites::Suite;

#[test]
fn registry_hold_small() {
    Suite::test("registry");
}
