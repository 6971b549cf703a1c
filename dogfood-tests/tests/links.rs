//! Exit storms, rings, trapped exits, unlink races.

use dogfood_tests::suites::Suite;

#[test]
fn links_hold_small() {
    Suite::test("links");
}
