//! The suites that run in the runtime's laboratory: seeded random programs against reference models, replayed by a number.

use mesh_runtime::sim::{Check, Failure, Sim, Trace};

mod calls;
mod links;
mod mailboxes;
mod names;
pub mod seeds;
mod supervision;
mod timers;

/// A random program: each seed is another one.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does and what it is compared with, in one sentence.
    pub sentence: &'static str,
    /// The numbers of `runtime/docs/SEMANTICS.md` it attacks.
    pub guarantees: &'static str,
    run: fn(&Check) -> Result<u64, Box<Failure>>,
    watch: fn(&Sim),
}

/// Every program.
pub const PROGRAMS: &[Program] = &[
    Program {
        name: "supervision",
        sentence: "Crashes trees of every strategy at random moments and compares each start, stop and giving up with a model of OTP's.",
        guarantees: "D1 D2 D3 D5 D7 D10",
        run: |check| check.run(supervision::play),
        watch: |sim| sim.run(supervision::play(sim.clone())),
    },
    Program {
        name: "links",
        sentence: "Links, unlinks, monitors, traps and kills at random and compares every signal with a model of OTP's exit rules.",
        guarantees: "A6 A7 A8 A9 A11 A12 A14 A15 A16",
        run: |check| check.run(links::play),
        watch: |sim| sim.run(links::play(sim.clone())),
    },
    Program {
        name: "calls",
        sentence: "Calls services that answer, wait, drop, stop and panic while some are killed; each call ends once, as it may.",
        guarantees: "C1 C2 C3 C4 C5 C6 C7 C8 D9",
        run: |check| check.run(calls::play),
        watch: |sim| sim.run(calls::play(sim.clone())),
    },
    Program {
        name: "timers",
        sentence: "Sets, cancels and outlives timers from nothing to years and compares each firing with its deadline.",
        guarantees: "A4 E1 E2 E3 E4 E5 E6",
        run: |check| check.run(timers::play),
        watch: |sim| sim.run(timers::play(sim.clone())),
    },
    Program {
        name: "mailboxes",
        sentence: "Sends, waits, receives and selects under every policy and compares what is kept, given back and dropped with a model.",
        guarantees: "A3 A5 B2 B3 B6",
        run: |check| check.run(mailboxes::play),
        watch: |sim| sim.run(mailboxes::play(sim.clone())),
    },
    Program {
        name: "names",
        sentence: "Lets processes take names, join rooms and groups and die, and compares who holds what and who heard what with a model.",
        guarantees: "A19 F1 F2 F3 F6 F11",
        run: |check| check.run(names::play),
        watch: |sim| sim.run(names::play(sim.clone())),
    },
];

impl Program {
    /// The program of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Program> {
        PROGRAMS.iter().find(|program| program.name == name)
    }

    /// The command that runs one seed of it again; `{}` stands for the seed.
    #[must_use]
    pub fn command(&self) -> String {
        format!(
            "cargo run -p dogfood-tests --release -- laboratory {} --replay {{}}",
            self.name
        )
    }

    /// Runs it under the seeds of this check.
    ///
    /// # Errors
    /// The first seed that broke an invariant, shrunk.
    pub fn run(&self, check: Check) -> Result<u64, Box<Failure>> {
        (self.run)(&check.command(&self.command()))
    }

    /// Runs it under one seed, and gives its trace.
    ///
    /// # Panics
    /// When an invariant breaks.
    #[must_use]
    pub fn watch(&self, seed: u64) -> Trace {
        let sim = Sim::new(seed);
        (self.watch)(&sim);
        sim.trace()
    }

    /// Runs it in `cargo test`, with fresh seeds; `MESH_SEED=N` runs one of them again.
    ///
    /// # Panics
    /// When an invariant breaks.
    pub fn test(name: &str, seeds: u64) {
        let program = Program::named(name).expect("the test names a program");
        let check = Check::new(seeds);
        eprintln!("{name}: {check}");
        if let Err(failure) = program.run(check) {
            panic!("{failure}");
        }
    }
}
