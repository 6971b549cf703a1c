//! The random programs of the laboratory, fresh seeds each time: ten thousand in all. `MESH_SEED=N` and a test's name run one again.

use dogfood_tests::laboratory::{PROGRAMS, Program};
use mesh_runtime::sim::{Check, Sim};

#[test]
fn supervision_is_what_the_model_says() {
    Program::test("supervision", 1_700);
}

#[test]
fn links_are_what_the_model_says() {
    Program::test("links", 1_700);
}

#[test]
fn calls_end_once_as_they_may() {
    Program::test("calls", 1_600);
}

#[test]
fn timers_are_what_the_model_says() {
    Program::test("timers", 1_700);
}

#[test]
fn mailboxes_are_what_the_model_says() {
    Program::test("mailboxes", 1_700);
}

#[test]
fn names_are_what_the_model_says() {
    Program::test("names", 1_600);
}

#[test]
fn every_program_does_the_same_for_the_same_seed() {
    for program in PROGRAMS {
        for seed in 0..20_u64 {
            let trace = || {
                let seen = program.watch(seed);
                assert!(
                    seen.lines().len() > 10,
                    "{}: there is something to compare",
                    program.name
                );
                seen
            };
            if let Some(parted) = trace().diff(&trace()) {
                panic!("{}, seed {seed}: {parted}", program.name);
            }
        }
    }
}

#[test]
fn failure_of_a_program_says_how_to_run_it_again() {
    let check = Check::new(1).command(&Program::named("links").expect("it is one").command());
    let failure = check
        .run(async |_: Sim| panic!("on purpose"))
        .expect_err("it panics");
    assert!(
        failure
            .command
            .starts_with("cargo run -p dogfood-tests --release -- laboratory links --replay ")
    );
    assert!(failure.command.ends_with(&failure.replay));
}
