//! The Python, Node and Rust SDKs, as their users install them.

use dogfood_tests::sdks;

#[test]
#[ignore = "needs the SDKs: script/test installs them and runs this"]
fn real_sdks_are_stored_and_grouped() {
    sdks::run(|line| println!("{line}")).expect("what the SDKs sent is stored and grouped right");
}
