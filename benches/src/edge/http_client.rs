//! An HTTP/1.1 client that asks for one path over connections it keeps, one request at a time on each.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::{open, questions, say};
use super::files::room_for;
use super::webs::BODY;
use crate::measure::percentile;

/// What a client with a few headers sends.
const REQUEST: &[u8] = b"GET /hello/world HTTP/1.1\r\nhost: localhost\r\nuser-agent: benches/1\r\naccept: application/json\r\n\r\n";

/// Longest wait for the first answer on a connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Idle connections opened in a row before one is asked: fewer than a listener lets wait.
const HALF_AT_ONCE: usize = 64;

/// Answers `connect N`, `go N` (so many requests on each connection; answers in how many nanoseconds), `latency N` (the same; answers
/// the median and the 99th percentile in nanoseconds) and `half N` (so many that stop within the header).
pub(super) async fn run(server: SocketAddr) {
    let mut questions = questions();
    let mut asking: Vec<Asker> = Vec::new();
    let mut halves = Vec::new();
    while let Some((word, number)) = questions.recv().await {
        match word.as_str() {
            "connect" => {
                asking = open(number, || Asker::connect(server)).await;
                say(&[asking.len() as f64]);
            }
            "go" | "latency" => {
                let began = Instant::now();
                let (back, mut taken) = all_ask(asking, number, word == "latency").await;
                let took = began.elapsed();
                asking = back;
                if word == "go" {
                    say(&[took.as_nanos() as f64]);
                } else {
                    taken.sort_by(f64::total_cmp);
                    say(&[percentile(&taken, 0.5), percentile(&taken, 0.99)]);
                }
            }
            "half" => {
                room_for(number as u64);
                for at in 0..number {
                    halves.push(half(server).await);
                    if at % HALF_AT_ONCE == 0 {
                        // Those before it have been accepted when this one is answered.
                        Asker::connect(server).await.ask().await;
                    }
                }
                Asker::connect(server).await.ask().await;
                say(&[halves.len() as f64]);
            }
            other => panic!("nobody knows how to {other}"),
        }
    }
}

async fn half(server: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(server).await.expect("it listens");
    let begun = stream.write_all(b"GET / HTTP/1.1\r\nhost: test\r\nx-slow: ");
    begun.await.expect("it reads");
    stream
}

async fn all_ask(asking: Vec<Asker>, each: usize, timed: bool) -> (Vec<Asker>, Vec<f64>) {
    let task = |mut asker: Asker| {
        tokio::spawn(async move {
            let mut taken = Vec::new();
            for _ in 0..each {
                let began = timed.then(Instant::now);
                asker.ask().await;
                taken.extend(began.map(|began| began.elapsed().as_nanos() as f64));
            }
            (asker, taken)
        })
    };
    let tasks: Vec<_> = asking.into_iter().map(task).collect();
    let (mut back, mut all) = (Vec::new(), Vec::new());
    for task in tasks {
        let (asker, taken) = task.await.expect("every answer is right");
        back.push(asker);
        all.extend(taken);
    }
    (back, all)
}

/// One connection. Every answer must be 200 with the body, and as long as the first.
struct Asker {
    stream: TcpStream,
    answer_bytes: usize,
    buffer: Vec<u8>,
}

impl Asker {
    async fn connect(server: SocketAddr) -> Asker {
        let stream = TcpStream::connect(server).await.expect("it listens");
        stream.set_nodelay(true).expect("it is open");
        let mut asker = Asker {
            stream,
            answer_bytes: 0,
            buffer: vec![0; 4 * 1024],
        };
        let first = asker.first();
        let first = tokio::time::timeout(ANSWER_TIMEOUT, first).await;
        asker.answer_bytes = first.expect("it answers in time");
        asker
    }

    async fn send(&mut self) {
        let sent = self.stream.write_all(REQUEST).await;
        sent.expect("it reads");
    }

    /// The length of an answer, which is that of all.
    async fn first(&mut self) -> usize {
        self.send().await;
        let mut read = 0;
        loop {
            read += self.more(read).await;
            let text = std::str::from_utf8(&self.buffer[..read]).expect("ASCII");
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let head = head.to_lowercase();
            let expected = format!("\r\ncontent-length: {}", BODY.len());
            assert!(head.contains(&expected), "{head}");
            if body.len() >= BODY.len() {
                self.check(read);
                return read;
            }
        }
    }

    async fn ask(&mut self) {
        self.send().await;
        let mut read = 0;
        while read < self.answer_bytes {
            read += self.more(read).await;
        }
        self.check(read);
    }

    async fn more(&mut self, read: usize) -> usize {
        let more = self.stream.read(&mut self.buffer[read..]).await;
        let more = more.expect("it writes");
        assert!(more > 0, "the server closed");
        more
    }

    fn check(&self, read: usize) {
        let answer = &self.buffer[..read];
        let right = answer.starts_with(b"HTTP/1.1 200 OK\r\n") && answer.ends_with(BODY.as_bytes());
        assert!(right, "{}", String::from_utf8_lossy(answer));
    }
}
