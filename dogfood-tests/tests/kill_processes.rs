//! Every named process of the tree dies once under load.

use dogfood_tests::kill_processes;
use dogfood_tests::seed::Seed;

#[test]
fn every_process_comes_back_and_no_promise_is_broken() {
    let (killed, found) = kill_processes::run(Seed::from_env(), |line| println!("{line}"))
        .expect("every promise is kept");
    assert!(killed > 5, "the tree has more processes than {killed}");
    assert!(found.acknowledged > 0);
}
