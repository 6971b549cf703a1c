//! Nothing is left of who ended or panicked; a program of its own, so that resident memory is its own.

use dogfood_tests::suites::Suite;

#[test]
fn memory_hold_small() {
    Suite::test("memory");
}
