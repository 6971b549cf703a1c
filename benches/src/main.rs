//! The benches: ours, the raw form and its peers do the same work, interleaved, and are compared pair by pair.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

mod child;
mod contender;
mod contenders;
mod edge;
mod machine;
mod measure;
mod plot;
mod progress;
mod report;
mod results;
mod row;
mod rows;
mod tournament;
mod verdict;

use results::Results;
use row::{OURS, Row, Scale, Way};

/// Ours beside the raw form and its peers, in one run. Without a row: all of them.
#[derive(Debug, Parser)]
#[command(name = "benches", version)]
struct Options {
    /// Rows, by id or name
    rows: Vec<String>,
    /// Names every row and its contenders
    #[arg(long)]
    list: bool,
    /// Times each contender runs; each time is a pair with ours
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=999))]
    pairs: u16,
    /// Small sizes, which tell nothing: for tests. Keeps nothing unless --into says where
    #[arg(long)]
    quick: bool,
    /// Only these contenders, besides ours; keeps nothing unless --into says where
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Folder for results.json, RESULTS.md and results.svg [default: benches]
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
    /// One run of one contender, in this process
    #[arg(long, hide = true, num_args = 2, value_names = ["ROW", "CONTENDER"])]
    child: Option<Vec<String>>,
    /// The client of a server that is measured, in this process
    #[arg(long, hide = true, num_args = 2, value_names = ["KIND", "ADDRESS"])]
    client: Option<Vec<String>>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let scale = Scale {
        quick: options.quick,
    };
    if let Some([kind, address]) = options.client.as_deref() {
        return edge::client::answer(kind, address);
    }
    if let Some([row, contender]) = options.child.as_deref() {
        let row = rows::find(row);
        let found = row.and_then(|row| Some((row, row.contender(contender)?)));
        let Some((row, contender)) = found else {
            return ExitCode::FAILURE;
        };
        child::answer(row, contender, scale);
        return ExitCode::FAILURE;
    }
    let mut chosen = Vec::new();
    for word in &options.rows {
        let Some(row) = rows::find(word) else {
            eprintln!("no row `{word}`; --list names them");
            return ExitCode::FAILURE;
        };
        chosen.push(row);
    }
    if chosen.is_empty() {
        chosen = rows::ROWS.to_vec();
    }
    if options.list {
        list(&chosen);
        return ExitCode::SUCCESS;
    }
    match run(&options, &chosen, scale) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("benches: {error}");
            ExitCode::FAILURE
        }
    }
}

fn list(rows: &[&Row]) {
    for row in rows {
        println!("{:<3} {:<17} {}", row.id, row.name, row.question);
        let name = |contender: &row::Contender| match contender.way {
            Way::Lacks(_) => format!("{} (lacks)", contender.name),
            Way::Run(_) | Way::Erlang(..) => contender.name.to_owned(),
        };
        let names: Vec<String> = row.contenders.iter().map(name).collect();
        println!("    {}", names.join(", "));
    }
}

/// Runs the rows and writes what came out after each. Whether ours and all it is compared with by name could be measured.
fn run(options: &Options, chosen: &[&'static Row], scale: Scale) -> io::Result<bool> {
    let partial = options.quick || !options.only.is_empty();
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf();
    let folder = options.into.clone().or_else(|| (!partial).then(own));
    let mut results = match &folder {
        Some(folder) => Results::read(&folder.join("results.json"))?,
        None => Results::default(),
    };
    if cfg!(debug_assertions) && !options.quick {
        eprintln!(
            "benches: built without optimisation, so the figures tell nothing; add --release"
        );
    }
    let plan = tournament::Plan {
        rows: chosen,
        pairs: usize::from(options.pairs),
        scale,
        only: &options.only,
        command: command(),
    };
    let mut all_ours = true;
    tournament::hold(&plan, |row, result| {
        println!("{} {}\n", row.id, report::section(row, &result));
        all_ours &= result
            .entry(OURS)
            .is_some_and(|entry| entry.runs.iter().all(Option::is_some));
        results.rows.insert(row.id.to_owned(), result);
        folder
            .as_deref()
            .map_or(Ok(()), |folder| write(folder, &results))
    })?;
    println!(
        "{}",
        report::table(
            &["row", "bar", "reached", "verdict"],
            &report::bars(chosen, &results)
        )
    );
    Ok(all_ours)
}

fn write(folder: &Path, results: &Results) -> io::Result<()> {
    results.write(&folder.join("results.json"))?;
    std::fs::write(
        folder.join("RESULTS.md"),
        report::document(&rows::ROWS, results),
    )?;
    std::fs::write(folder.join("results.svg"), plot::svg(&rows::ROWS, results))
}

/// How to repeat this run.
fn command() -> String {
    let own = std::env::current_exe().unwrap_or_default();
    let folder = own.parent().and_then(Path::file_name);
    let profile = match folder.and_then(std::ffi::OsStr::to_str) {
        None | Some("debug") => String::new(),
        Some("release") => " --release".to_owned(),
        Some(other) => format!(" --profile {other}"),
    };
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words = if words.is_empty() {
        String::new()
    } else {
        format!(" -- {}", words.join(" "))
    };
    format!("cargo run -p benches{profile}{words}")
}
