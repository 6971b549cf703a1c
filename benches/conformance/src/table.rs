//! The table: each cell observed under a deadline, a thread of its own for each, and the document they end in.

use std::fmt::Write;
use std::sync::mpsc;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::scenario::rows;
use crate::subject::{Subject, Verdict};

/// The document, seen from this package.
pub(crate) const DOCUMENT: &str = "../../runtime/docs/CONFORMANCE.md";

/// A scenario that has not ended by then hangs.
const CELL_MAX: Duration = Duration::from_secs(20);

/// Threads for each library: more than the scenarios that may block one for ever.
const WORKERS: usize = 4;

const LOCK: &str = include_str!("../../../Cargo.lock");

/// One library's cells.
pub(crate) struct Column {
    name: &'static str,
    cells: Vec<(&'static str, String)>,
}

const HOLDS: &str = "holds";

impl Column {
    pub(crate) fn holds_all(&self) -> bool {
        self.cells.iter().all(|(_, cell)| cell == HOLDS)
    }

    #[cfg(test)]
    fn exceptions(&self) -> Vec<String> {
        let differs = |(_, cell): &&(&str, String)| cell != HOLDS;
        let text = |(promise, cell): &(&str, String)| format!("{promise}: {cell}");
        self.cells.iter().filter(differs).map(text).collect()
    }
}

/// The engine under every library.
pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .expect("the machine has room for a few threads")
}

/// Runs every row against one library.
pub(crate) fn column<S: Subject>() -> Column {
    // Shared by the cells and never shut down: bastion is global, and a hanging peer would hold the end of it.
    let runtime: &'static Runtime = Box::leak(Box::new(runtime()));
    let cell = |at: usize| {
        let row = &rows::<S>()[at];
        (row.promise, observe(runtime, row.run))
    };
    Column {
        name: S::NAME,
        cells: (0..rows::<S>().len()).map(cell).collect(),
    }
}

type Run<S> = fn(S) -> std::pin::Pin<Box<dyn Future<Output = Result<(), Verdict>>>>;

/// One cell, on a thread that is abandoned when it hangs.
fn observe<S: Subject>(runtime: &'static Runtime, run: Run<S>) -> String {
    let (sender, observed) = mpsc::channel();
    std::thread::spawn(move || {
        let _entered = runtime.enter();
        let outcome = runtime.block_on(run(S::new()));
        // Nobody listens any more when the deadline has passed.
        let _ = sender.send(outcome);
    });
    match observed.recv_timeout(CELL_MAX) {
        Ok(Ok(())) => HOLDS.to_owned(),
        Ok(Err(Verdict::Missing(instead))) => format!("no such feature: {instead}"),
        Ok(Err(Verdict::Differs(how))) => format!("differs: {how}"),
        Ok(Err(Verdict::NotStarted(why))) => format!("differs: it does not start: {why}"),
        Err(mpsc::RecvTimeoutError::Timeout) => {
            format!("hangs: no end within {} s", CELL_MAX.as_secs())
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => "differs: the caller panics".to_owned(),
    }
}

/// The version in `Cargo.lock`.
fn version(name: &str) -> &'static str {
    let entry = LOCK
        .split("[[package]]")
        .find(|entry| entry.contains(&format!("\nname = \"{name}\"\n")));
    let version = entry.and_then(|entry| entry.split("version = \"").nth(1));
    version
        .and_then(|version| version.split('"').next())
        .unwrap_or("?")
}

pub(crate) fn render(columns: &[Column]) -> String {
    let mut text = String::from("| no. | promise |");
    for column in columns {
        let _ = write!(text, " {} {} |", column.name, version(column.name));
    }
    text.push_str(&format!("\n|---|---|{}\n", "---|".repeat(columns.len())));
    for (at, (promise, _)) in columns[0].cells.iter().enumerate() {
        let _ = write!(text, "| {} | {promise} |", at + 1);
        for column in columns {
            let _ = write!(
                text,
                " {} |",
                column.cells[at].1.replace('|', "\\|").replace('\n', " ")
            );
        }
        text.push('\n');
    }
    text
}

/// The document around the table.
pub(crate) fn document(table: &str, day: &str) -> String {
    format!(
        "# Conformance

One set of supervision scenarios, run against this library and its peers on one machine and tokio. Each cell is what was observed, not what a
manual says: `holds`, how it differs, that it hangs, or that the library has no such thing. A row is OTP's promise, or one that a user of several processes would
expect; a peer that differs may do so on purpose.
After `seen:` stands one of the orders observed; each order is looked at five times. Every library runs with its own
defaults, and with its setting where it has one; what it leaves to its user's code is not written for it.

Seen on {day}, written by `cargo run -p conformance`. The scenarios are in `benches/conformance/src/scenario`.

{table}"
    )
}

#[cfg(test)]
mod tests;
