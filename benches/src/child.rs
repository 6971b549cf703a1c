//! A run in a program of its own: nothing of one contender is left when the next begins, and one that hangs is ended.

use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::row::{Contender, Row, Scale, Way};

/// A run that has not ended by then never will.
pub(crate) const RUN_MAX: Duration = Duration::from_secs(30);

/// What the child prints before its figures, so that nothing else is taken for them.
const MARK: &str = "figures ";

/// In the child: runs one contender of one row, and prints its figures.
pub(crate) fn answer(row: &Row, contender: &Contender, scale: Scale) {
    let Way::Run(run) = contender.way else {
        return;
    };
    // Ours logs as it would in a service; where the lines go is not measured.
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
        .with_writer(io::sink)
        .init();
    // Panics are the work of one row; in the others they end the run, and say why.
    if row.name == "crash" {
        std::panic::set_hook(Box::new(|_| {}));
    }
    let figures = run(scale);
    assert_eq!(figures.len(), row.figures.len());
    let text = serde_json::to_string(&figures).expect("numbers are JSON");
    println!("{MARK}{text}");
    // Contenders leave threads that never end.
    std::process::exit(0);
}

/// In the parent: the figures of one run.
///
/// # Errors
/// Why there are none, in words.
pub(crate) async fn ask(
    row: &Row,
    contender: &Contender,
    scale: Scale,
    erlang: &Erlang,
) -> Result<Vec<f64>, String> {
    let mut command = match contender.way {
        Way::Lacks(reason) => return Err(reason.to_owned()),
        Way::Erlang(word, sizes) => erlang.command(word, scale.of(sizes[0], sizes[1]))?,
        Way::Run(_) => {
            let own = std::env::current_exe().map_err(|error| error.to_string())?;
            let mut command = Command::new(own);
            command.args(["--child", row.id, contender.name]);
            if scale.quick {
                command.arg("--quick");
            }
            command
        }
    };
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().map_err(|error| error.to_string())?;
    let output = finished(child).await?;
    let figures = output.lines().find_map(|line| line.strip_prefix(MARK));
    let figures: Option<Vec<f64>> = figures.and_then(|text| serde_json::from_str(text).ok());
    figures.ok_or_else(|| format!("the run failed: {}", last_words(&output)))
}

/// Everything a child said, on both channels.
async fn finished(mut child: Child) -> Result<String, String> {
    let (said, heard) = oneshot::channel();
    let (out, err) = (child.stdout.take(), child.stderr.take());
    std::thread::spawn(move || {
        let other = std::thread::spawn(move || read(err));
        let text = read(out) + &other.join().unwrap_or_default();
        drop(said.send(text));
    });
    let text = tokio::time::timeout(RUN_MAX, heard).await;
    // One that has said all has ended, or is about to.
    if text.is_err() {
        drop(child.kill());
    }
    let ended = child.wait().map_err(|error| error.to_string())?;
    match text {
        Err(_) => Err(format!("did not end within {} s", RUN_MAX.as_secs())),
        Ok(text) => {
            let text = text.unwrap_or_default();
            if ended.success() {
                Ok(text)
            } else {
                Err(format!("the run failed: {}", last_words(&text)))
            }
        }
    }
}

fn read(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        drop(pipe.read_to_end(&mut bytes));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn last_words(text: &str) -> &str {
    let lines = text.lines().rev().map(str::trim);
    let mut telling = lines.filter(|line| !line.is_empty() && !line.starts_with("note: run with"));
    telling.next().unwrap_or("without a word")
}

/// Erlang's virtual machine, if this machine has it: the module, compiled once.
#[derive(Debug)]
pub(crate) struct Erlang {
    folder: Option<PathBuf>,
}

const MODULE: &str = include_str!("erlang/bench.erl");

impl Erlang {
    /// Compiles the module into a folder that vanishes with `folder`.
    pub(crate) fn find(folder: PathBuf) -> Erlang {
        let source = folder.join("bench.erl");
        let written = std::fs::write(&source, MODULE);
        let mut compiler = Command::new("erlc");
        let compiled = compiler.arg("-o").arg(&folder).arg(&source).status();
        let there = written.is_ok() && compiled.is_ok_and(|status| status.success());
        Erlang {
            folder: there.then_some(folder),
        }
    }

    pub(crate) fn is_here(&self) -> bool {
        self.folder.is_some()
    }

    fn command(&self, word: &str, size: u64) -> Result<Command, String> {
        let Some(folder) = &self.folder else {
            return Err("no `erl` on this machine".to_owned());
        };
        let mut command = Command::new("erl");
        command
            .args(["+S", "2:2", "+P", "2000000", "-noshell", "-pa"])
            .arg(folder);
        command.args(["-run", "bench", "main", word, &size.to_string()]);
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::{finished, last_words};
    use std::process::{Command, Stdio};

    fn shell(script: &str) -> std::process::Child {
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().expect("a shell")
    }

    #[tokio::test]
    async fn a_child_says_what_it_found_or_why_not() {
        assert_eq!(finished(shell("echo one")).await.as_deref(), Ok("one\n"));
        let failed = finished(shell("echo why >&2; exit 3")).await;
        assert_eq!(failed, Err("the run failed: why".to_owned()));
    }

    #[test]
    fn the_last_words_are_those_that_tell() {
        assert_eq!(last_words("one\n two\n\nnote: run with `X`\n"), "two");
        assert_eq!(last_words(""), "without a word");
    }
}
