//! A burst in small: memory bounded, the API answering; a minute of ten thousand a second by
//! `cargo run -p dogfood-tests --release -- burst`.

use dogfood_tests::burst::{self, Burst};
use dogfood_tests::seed::Seed;

#[test]
fn a_burst_leaves_memory_bounded_and_the_api_answering() {
    burst::run(Burst::SMALL, Seed::from_env(), |line| println!("{line}"))
        .expect("every promise is kept");
}
