//! Join, leave and broadcast under churn; encode once; slow members.

use dogfood_tests::suites::Suite;

#[test]
fn rooms_hold_small() {
    Suite::test("rooms");
}
