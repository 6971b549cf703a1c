//! The other side of an edge: this program once more, as the client of a server it is told. One line asks, one line answers.

use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};

use tokio::sync::mpsc;

use super::{http_client, ws_client};

/// The client process of a run. It ends with the run, however that ends: its input is closed then.
pub(crate) struct OtherSide {
    child: Child,
    input: ChildStdin,
    answers: mpsc::UnboundedReceiver<String>,
}

impl OtherSide {
    /// Starts a client of this kind, `http` or `ws`, for the server at this address.
    pub(crate) fn start(kind: &str, server: SocketAddr) -> OtherSide {
        let own = std::env::current_exe().expect("a program knows where it is");
        let mut child = Command::new(own)
            .args(["--client", kind, &server.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts again");
        let input = child.stdin.take().expect("it was piped");
        let output = child.stdout.take().expect("it was piped");
        let (answer, answers) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if answer.send(line).is_err() {
                    return;
                }
            }
        });
        OtherSide {
            child,
            input,
            answers,
        }
    }

    /// Asks, and waits for the numbers it answers.
    pub(crate) async fn ask(&mut self, question: &str) -> Vec<f64> {
        writeln!(self.input, "{question}").expect("the client listens");
        self.hear().await
    }

    /// Waits for the next answer.
    pub(crate) async fn hear(&mut self) -> Vec<f64> {
        let line = self.answers.recv().await;
        let line = line.expect("the client has not failed");
        let numbers = line.split(' ').map(|word| word.parse().ok());
        numbers
            .collect::<Option<_>>()
            .unwrap_or_else(|| panic!("the client says: {line}"))
    }
}

impl Drop for OtherSide {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// In the client: answers until nobody asks any more.
pub(crate) fn answer(kind: &str, server: &str) -> ExitCode {
    let Ok(server) = server.parse() else {
        return ExitCode::FAILURE;
    };
    let engine = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the machine has room for a few threads");
    match kind {
        "http" => engine.block_on(http_client::run(server)),
        "ws" => engine.block_on(ws_client::run(server)),
        _ => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}

/// A question: its word, and its number.
pub(super) type Question = (String, usize);

/// The questions, as they come. When they end, the run has ended, and so does this process.
pub(super) fn questions() -> mpsc::UnboundedReceiver<Question> {
    let (ask, questions) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let (word, number) = line.split_once(' ').unwrap_or((&line, "0"));
            let number = number.parse().expect("a question has a number");
            if ask.send((word.to_owned(), number)).is_err() {
                break;
            }
        }
        std::process::exit(0);
    });
    questions
}

/// Says numbers.
pub(super) fn say(numbers: &[f64]) {
    let words: Vec<String> = numbers.iter().map(f64::to_string).collect();
    println!("{}", words.join(" "));
}

/// Connections opened at the same time: fewer than a listener lets wait.
const AT_ONCE: usize = 32;

/// Opens so many of a kind, in groups.
pub(super) async fn open<T, Fut>(count: usize, mut one: impl FnMut() -> Fut) -> Vec<T>
where
    T: Send + 'static,
    Fut: Future<Output = T> + Send + 'static,
{
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let group = AT_ONCE.min(count - all.len());
        let group: Vec<_> = (0..group).map(|_| tokio::spawn(one())).collect();
        for opened in group {
            all.push(opened.await.expect("a client connects"));
        }
    }
    all
}
