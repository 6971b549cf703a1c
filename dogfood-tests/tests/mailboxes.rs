//! Floods, order, the signals' lane, and nothing lost on close.

use dogfood_tests::suites::Suite;

#[test]
fn mailboxes_hold_small() {
    Suite::test("mailboxes");
}
