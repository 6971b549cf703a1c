//! The suites as a program: `cargo run -p dogfood-tests --release -- timers --count 1000000`.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use dogfood_tests::bars::Spans;
use dogfood_tests::burst::Burst;
use dogfood_tests::faults::{CASES, Case, Scale};
use dogfood_tests::laboratory::seeds;
use dogfood_tests::laboratory::{PROGRAMS, Program};
use dogfood_tests::peer::Peer;
use dogfood_tests::report::Report;
use dogfood_tests::seed::Seed;
use dogfood_tests::suites::{SUITES, Suite};
use dogfood_tests::throughput::Load;
use dogfood_tests::{
    Fault, bars, browser, burst, faults, kill_nine, kill_processes, machine, page, peer, sdks,
    soak, throughput,
};

const HEAD: &str = "\
Attacks the runtime, and Mesher on it, and says for each promise whether it held on this machine.

usage: cargo run -p dogfood-tests --release -- SUITE... [options]

Against the runtime, through its public interface (a promise's number, such as E1, is that of runtime/docs/SEMANTICS.md):";

const TAIL: &str = "  all              each of these in turn

  --count N        how large; the default fits this machine: at most a quarter of its free memory, and a build
                   without optimisation does a twentieth
  --seed N         the same random decisions again, as DOGFOOD_SEED=N; the operating system's part of chance remains
  --rounds N       so many times, small as in `cargo test`, each with a fresh seed (or, after --seed, the numbers that follow it)
  --json           one JSON object a suite, one a line, and no progress
  --report FILE    a page of HTML with verdicts, figures and plots, that needs nothing else

A suite prints figures (times, threads of the operating system, resident memory, seconds of processors) and then a
verdict for each invariant. Figures are never judged: a slow machine fails nothing. No suite runs longer than 15
minutes; one that hangs is a broken promise. On a terminal a bar shows how far it is.

In the laboratory, where a seed decides order, time and faults (a failure is shrunk and replayed by a number):
  laboratory [PROGRAM...] [--count SEEDS] [--seed N] [--replay TEXT] [--json] [--report FILE]
                           random programs against models, 2,000 seeds each: PROGRAMS_HERE

Both in turn, for hours:
  soak [NAME...] [--hours H | --minutes M] [--seed N] [--json] [--report FILE]
                           round after round with fresh seeds, for 2 hours or until the first failure: every suite on real
                           threads, up to four times as large as in `cargo test`, then 200 seeds of each program; a
                           line a round. Judges, too, that memory and threads do not grow from round to round. NAME
                           is a suite's, a program's or both

Against a mesher process:
  kill-nine [--rounds N]   load cut by SIGKILL at random moments (20 rounds)
  kill-processes           every named process killed in turn under 200 events a second
  burst                    ten thousand events a second for a minute: memory bounded, the API answering
  faults [FAULT...]        its surroundings going wrong under load, in large: FAULTS_HERE
  load [--count N] [--connections N] [--rate N] [--event FILE]
                           real events as envelopes: accepted and stored a second, p50 and p99 of the answers
  bars [--seconds N]       every bar of ingestion on an idle machine, each with its verdict (three minutes)
  bars --peer bugsink [--seconds N] [--at FOLDER]
                           Bugsink, which script/peer-bugsink installs, and Mesher in turns: accepted and stored a second
  sdks                     real SDKs send; rows and API are checked
  browser                  the dashboard in headless Chromium
MESHER_BIN=PATH takes that binary instead of building one.

Exit code: 0 when everything held, 1 when an invariant broke, 2 when the command line was not understood.";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["kill-nine"] => run_kill_nine(20),
        ["kill-nine", "--rounds", rounds] => match rounds.parse() {
            Ok(rounds) => run_kill_nine(rounds),
            Err(_) => return misunderstood(rounds),
        },
        ["kill-processes"] => run_kill_processes(),
        ["load", rest @ ..] => match Load::parse(rest) {
            Some(load) => throughput::run(&load, say),
            None => return misunderstood(rest.first().copied().unwrap_or("load")),
        },
        ["bars", "--peer", "bugsink", rest @ ..] => match Peer::parse(rest) {
            Some(peer) => peer::run(&peer, say),
            None => return misunderstood(rest.first().copied().unwrap_or("bars")),
        },
        ["bars", rest @ ..] => match Spans::parse(rest) {
            Some(spans) => bars::run(spans, say),
            None => return misunderstood(rest.first().copied().unwrap_or("bars")),
        },
        ["burst"] => burst::run(Burst::LARGE, Seed::from_env(), say).map(drop),
        ["faults", rest @ ..] => match fault_cases(rest) {
            Ok(cases) => faults::run(&cases, Scale::Large, Seed::from_env(), say).map(drop),
            Err(word) => return misunderstood(word),
        },
        ["sdks"] => sdks::run(say),
        ["browser"] => browser::run(),
        [] | ["help"] => return help(),
        words if words.iter().any(|word| ["-h", "--help"].contains(word)) => return help(),
        ["laboratory", rest @ ..] => return run_laboratory(rest),
        ["soak", rest @ ..] => return run_soak(rest),
        words => return run_suites(words),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("FAILED: {fault}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Default)]
struct Options {
    count: Option<u64>,
    seed: Option<u64>,
    rounds: Option<u64>,
    json: bool,
    length: Option<Duration>,
    replay: Option<String>,
    report: Option<String>,
}

fn options(words: &[&str]) -> Result<Options, String> {
    let mut options = Options::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        let mut number = || {
            let value = value()?;
            let digits = value.replace('_', "");
            digits
                .parse()
                .map_err(|_| format!("{word} {value}: not a number"))
        };
        match *word {
            "--count" => options.count = Some(number()?),
            "--seed" => options.seed = Some(number()?),
            "--rounds" => options.rounds = Some(number()?),
            "--json" => options.json = true,
            "--hours" | "--minutes" => {
                let length: f64 = value()?.parse().map_err(|_| (*word).to_owned())?;
                let fits = (0.0..=1_000.0).contains(&length);
                let seconds = if *word == "--hours" { 3600.0 } else { 60.0 };
                let length = fits.then_some(length * seconds).ok_or(*word)?;
                options.length = Some(Duration::from_secs_f64(length));
            }
            "--replay" => options.replay = Some((*value()?).to_owned()),
            "--report" => options.report = Some((*value()?).to_owned()),
            other => return Err((*other).to_owned()),
        }
    }
    Ok(options)
}

/// The suites that are named, until the first option.
fn named_suites<'a>(words: &'a [&'a str]) -> Result<(Vec<&'static Suite>, &'a [&'a str]), String> {
    let first_option = words.iter().position(|word| word.starts_with("--"));
    let (names, options) = words.split_at(first_option.unwrap_or(words.len()));
    let mut suites = Vec::new();
    for name in names {
        let fits = |suite: &&Suite| *name == "all" || suite.name == *name;
        let before = suites.len();
        suites.extend(SUITES.iter().filter(fits));
        if suites.len() == before {
            return Err((*name).to_owned());
        }
    }
    Ok((suites, options))
}

fn run_suites(words: &[&str]) -> ExitCode {
    let understood = named_suites(words).and_then(|(suites, words)| Ok((suites, options(words)?)));
    let (suites, options) = match understood {
        Ok(understood) => understood,
        Err(word) => return misunderstood(&word),
    };
    if suites.is_empty() {
        return misunderstood(words[0]);
    }
    let seed = options.seed.unwrap_or_else(|| Seed::from_env().number());
    if let Some(rounds) = options.rounds {
        return run_rounds(&suites, rounds, seed, options.count);
    }
    let (mut broken, mut reports) = (Vec::new(), Vec::new());
    for suite in suites {
        let count = options.count.unwrap_or_else(|| suite.count_here());
        if !options.json {
            println!("{}: {}", suite.name, suite.sentence);
            println!(
                "  seed {seed}, count {count} ({}), {} processors",
                suite.unit,
                machine::processors()
            );
        }
        let report = suite.run(count, seed, !options.json);
        if options.json {
            println!("{}", report.json());
        } else {
            println!("{}", report.text());
        }
        if !report.holds() {
            broken.push(format!(
                "cargo run -p dogfood-tests --release -- {} --count {count} --seed {seed}",
                suite.name
            ));
        }
        reports.push(report);
    }
    if let Err(fault) = write_page(options.report.as_deref(), &reports) {
        eprintln!("FAILED: {fault}");
        return ExitCode::FAILURE;
    }
    if broken.is_empty() {
        if !options.json {
            println!("every invariant held");
        }
        return ExitCode::SUCCESS;
    }
    eprintln!("BROKEN; again with");
    for command in broken {
        eprintln!("  {command}");
    }
    ExitCode::FAILURE
}

/// Writes the reports as a page, when one is wanted.
fn write_page(path: Option<&str>, reports: &[Report]) -> Result<(), Fault> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, page::page(reports)).map_err(|error| format!("{path}: {error}").into())
}

/// The programs that are named, all when none is, for a number of seeds each.
fn run_laboratory(words: &[&str]) -> ExitCode {
    let first_option = words.iter().position(|word| word.starts_with("--"));
    let (names, rest) = words.split_at(first_option.unwrap_or(words.len()));
    let mut programs = Vec::new();
    for name in names {
        match Program::named(name) {
            Some(program) => programs.push(program),
            None => return misunderstood(name),
        }
    }
    if names.is_empty() {
        programs.extend(PROGRAMS);
    }
    let options = match options(rest) {
        Ok(options) => options,
        Err(word) => return misunderstood(&word),
    };
    let each = match &options.replay {
        Some(_) => 1,
        None => options.count.unwrap_or(2_000),
    };
    let plan = seeds::Plan {
        programs,
        seeds: each,
        seed: options.seed.unwrap_or_else(|| Seed::from_env().number()),
        replay: options.replay.clone(),
    };
    if !options.json {
        println!(
            "laboratory: {each} seeds of each program, seed {}",
            plan.seed
        );
    }
    match seeds::run(&plan, &teller(&options)) {
        Ok(report) => finish(&options, report),
        Err(error) => misunderstood(&error),
    }
}

/// glibc gives each thread an arena of the heap and keeps there what was freed. With one arena what grows is what is kept, so the program starts
/// itself anew with this set.
const ARENAS: &str = "MALLOC_ARENA_MAX";

/// The suites and programs that are named, all when none is, for hours.
fn run_soak(words: &[&str]) -> ExitCode {
    if env::var_os(ARENAS).is_none()
        && let Ok(program) = env::current_exe()
    {
        let failed = Command::new(program)
            .args(env::args_os().skip(1))
            .env(ARENAS, "1")
            .exec();
        eprintln!("note: memory is watched with many arenas: {failed}");
    }
    let first_option = words.iter().position(|word| word.starts_with("--"));
    let (names, rest) = words.split_at(first_option.unwrap_or(words.len()));
    let known = |name: &&&str| Suite::named(name).is_some() || Program::named(name).is_some();
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        return misunderstood(unknown);
    }
    let options = match options(rest) {
        Ok(options) => options,
        Err(word) => return misunderstood(&word),
    };
    let wanted = |name: &str| names.is_empty() || names.contains(&name);
    let plan = soak::Plan {
        suites: SUITES.iter().filter(|one| wanted(one.name)).collect(),
        programs: PROGRAMS.iter().filter(|one| wanted(one.name)).collect(),
        length: options.length.unwrap_or(Duration::from_secs(2 * 3600)),
        seed: options.seed.unwrap_or_else(|| Seed::from_env().number()),
    };
    if !options.json {
        println!("soak: {:?}, seed {}", plan.length, plan.seed);
    }
    let report = soak::run(&plan, &teller(&options));
    finish(&options, report)
}

/// Prints how far it is, unless only the result is wanted.
fn teller(options: &Options) -> impl Fn(&str) + Sync + use<> {
    let json = options.json;
    move |line| {
        if !json {
            println!("{line}");
        }
    }
}

/// Prints a report and writes its page.
fn finish(options: &Options, report: Report) -> ExitCode {
    if options.json {
        println!("{}", report.json());
    } else {
        println!("{}", report.text());
    }
    let holds = report.holds();
    match write_page(options.report.as_deref(), &[report]) {
        Ok(()) if holds => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(fault) => {
            eprintln!("FAILED: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the suites again and again, small, and prints a line for each; the report only of what broke.
fn run_rounds(suites: &[&'static Suite], rounds: u64, first: u64, count: Option<u64>) -> ExitCode {
    let mut seeds = Seed::new(first);
    let mut broken = Vec::new();
    for round in 1..=rounds {
        for suite in suites {
            let (seed, count) = (seeds.next_u64(), count.unwrap_or(suite.count_small));
            let report = suite.run(count, seed, false);
            let verdict = if report.holds() { "holds" } else { "BROKEN" };
            println!(
                "round {round:>3} {:<12} seed {seed:<20} {verdict} {} invariants, {:.1} s",
                suite.name,
                report.verdicts.len(),
                report.usage.wall_seconds
            );
            if !report.holds() {
                println!("{}", report.text());
                broken.push(format!(
                    "cargo run -p dogfood-tests --release -- {} --count {count} --seed {seed}",
                    suite.name
                ));
            }
        }
    }
    println!(
        "{rounds} rounds of {} suites: {} broke an invariant",
        suites.len(),
        broken.len()
    );
    for command in &broken {
        eprintln!("  {command}");
    }
    if broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The faults that are named, all when none is.
fn fault_cases<'a>(names: &[&'a str]) -> Result<Vec<Case>, &'a str> {
    if names.is_empty() {
        return Ok(CASES.to_vec());
    }
    names
        .iter()
        .map(|name| Case::named(name).ok_or(*name))
        .collect()
}

fn run_kill_nine(rounds: u32) -> Result<(), Fault> {
    let found = kill_nine::run(rounds, Seed::from_env(), say)?;
    say(&format!(
        "{rounds} rounds: {} acknowledged events, each stored exactly once; {} more stored without an answer; {} issues agree with their rows",
        found.acknowledged, found.stored_unanswered, found.issues
    ));
    Ok(())
}

fn run_kill_processes() -> Result<(), Fault> {
    let (killed, found) = kill_processes::run(Seed::from_env(), say)?;
    say(&format!(
        "{killed} processes killed and back; {} acknowledged events, each stored exactly once; {} issues agree with their rows",
        found.acknowledged, found.issues
    ));
    Ok(())
}

fn say(line: &str) {
    println!("{line}");
}

fn help() -> ExitCode {
    println!("{HEAD}");
    for suite in SUITES {
        println!("  {:<16} {}", suite.name, suite.sentence);
        println!(
            "  {:<16} --count: {} ({} here)",
            "",
            suite.unit,
            suite.count_here()
        );
    }
    let programs: Vec<&str> = PROGRAMS.iter().map(|program| program.name).collect();
    let faults: Vec<&str> = CASES.iter().map(|case| case.name).collect();
    let tail = TAIL.replace("PROGRAMS_HERE", &programs.join(" "));
    println!("{}", tail.replace("FAULTS_HERE", &faults.join(" ")));
    ExitCode::SUCCESS
}

fn misunderstood(word: &str) -> ExitCode {
    eprintln!("not understood: {word}; --help tells what there is");
    ExitCode::from(2)
}
