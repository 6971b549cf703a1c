//! Trees against a model of OTP's supervisor, intensity, storms.

use dogfood_tests::suites::Suite;

#[test]
fn supervision_hold_small() {
    Suite::test("supervision");
}
