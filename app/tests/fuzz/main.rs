//! Every parser that reads what strangers send, under inputs mutated from real ones: none panics, none allocates more than its bound.
//!
//! Small with every `cargo test`. For hours, with fresh inputs:
//! `FUZZ_MINUTES=60 cargo test --release -p mesher --test fuzz -- --ignored --nocapture`. Each input follows from a number; one that fails
//! is printed, and `FUZZ_INPUT=NUMBER` with the same command runs it alone.

mod chance;
mod mutate;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use mesh_runtime::{Clock as _, SystemClock};
use peak_alloc::PeakAlloc;

use crate::chance::Chance;
use crate::mutate::Corpus;
use crate::targets::{TARGETS, Target};

/// Counts what Rust allocates, in this program only.
#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// Inputs of a small run; each is one of one target.
const INPUTS_SMALL: u64 = 1_500;

/// Where the inputs of the small run begin: the same in every run, so that a gate fails for a change and not for luck.
const FIRST_SMALL: u64 = 7;

/// The dearest input of a target so far.
#[derive(Clone, Copy, Debug, Default)]
struct Worst {
    inputs: u64,
    allocated: usize,
    /// Bytes allocated for each byte of the input, where the input is not tiny.
    per_byte: usize,
}

/// Runs one input; an error names it.
fn run(corpus: &Corpus, number: u64, worst: &mut [Worst]) -> Result<(), String> {
    let mut chance = Chance::new(number);
    let at = chance.below(TARGETS.len());
    let input = (TARGETS[at].make)(corpus, &mut chance);
    feed(&TARGETS[at], &input, number, &mut worst[at])
}

/// Gives an input to a parser; an error names it.
fn feed(target: &Target, input: &[u8], number: u64, worst: &mut Worst) -> Result<(), String> {
    ALLOCATED.reset_peak_usage();
    let before = ALLOCATED.current_usage();
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let allocated = ALLOCATED.peak_usage().saturating_sub(before);
    let said = |what: &str| {
        let start = String::from_utf8_lossy(&input[..input.len().min(300)]).into_owned();
        format!(
            "{}: input {number} of {} bytes {what}: {start:?}",
            target.name,
            input.len()
        )
    };
    match outcome {
        Err(_) => return Err(said("panicked")),
        Ok(Err(rule)) => return Err(said(&rule)),
        Ok(Ok(())) => {}
    }
    let bound = (target.bound)(input.len());
    if allocated > bound {
        return Err(said(&format!(
            "allocated {allocated} bytes; its bound is {bound}"
        )));
    }
    worst.inputs += 1;
    worst.allocated = worst.allocated.max(allocated);
    if input.len() >= 4096 {
        worst.per_byte = worst.per_byte.max(allocated / input.len());
    }
    Ok(())
}

fn report(worst: &[Worst]) {
    for (target, worst) in TARGETS.iter().zip(worst) {
        println!(
            "{:<14} {:>9} inputs; at most {:>9} bytes allocated, {:>3} for each byte of an input of 4 KiB or more",
            target.name, worst.inputs, worst.allocated, worst.per_byte
        );
    }
}

/// Runs what was made by hand to be dear; nothing else may run beside it, for all allocate from one place.
fn run_dear() {
    let target = &TARGETS[0];
    for (number, input) in (0..).zip(targets::dear_events()) {
        let mut worst = Worst::default();
        let outcome = feed(target, &input, number, &mut worst);
        println!(
            "dear event {number}: {} bytes allocated, {} for each of its own",
            worst.allocated, worst.per_byte
        );
        assert_eq!(outcome, Ok(()));
    }
}

fn run_all(numbers: impl Iterator<Item = u64>, goes_on: impl Fn() -> bool) {
    let corpus = Corpus::load();
    let mut worst = vec![Worst::default(); TARGETS.len()];
    let mut broken = Vec::new();
    for number in numbers {
        if !goes_on() || broken.len() == 10 {
            break;
        }
        broken.extend(run(&corpus, number, &mut worst).err());
    }
    report(&worst);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// A number from the environment of the command.
#[expect(
    clippy::disallowed_methods,
    reason = "a test's own options; the program's enter by config/env.rs"
)]
fn option<T: FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_mutated_input_panics_a_parser_or_makes_it_allocate_beyond_its_bound() {
    run_dear();
    let numbers = FIRST_SMALL..FIRST_SMALL + INPUTS_SMALL;
    run_all(numbers, || true);
}

#[test]
#[ignore = "runs for FUZZ_MINUTES, 60 if nobody says"]
fn for_hours() {
    if let Some(number) = option("FUZZ_INPUT") {
        return run_all(std::iter::once(number), || true);
    }
    let clock = SystemClock::new();
    let first = option("FUZZ_FIRST").unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
    println!("inputs from {first} on");
    let until = std::time::Duration::from_secs(60 * option("FUZZ_MINUTES").unwrap_or(60));
    run_all((0..).map(|n| first.wrapping_add(n)), || clock.now() < until);
}
