//! Few connections and many who want them, on a PostgreSQL of the suite's own.

use dogfood_tests::suites::Suite;

#[test]
fn pool_hold_small() {
    Suite::test("pool");
}
