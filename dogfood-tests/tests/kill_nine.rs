//! Three rounds of load cut by `kill -9`; twenty and more run by `cargo run -p dogfood-tests --release -- kill-nine --rounds 20`.

use dogfood_tests::kill_nine;
use dogfood_tests::seed::Seed;

#[test]
fn acknowledged_events_survive_kill_nine() {
    let found = kill_nine::run(3, Seed::from_env(), |line| println!("{line}"));
    assert!(found.expect("every promise is kept").acknowledged > 0);
}
