//! A bad network between Mesher and its PostgreSQL: it cuts connections, refuses new ones, and swallows the answers to commits.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::Fault;

/// A commit as PostgreSQL's simple query: the text and its end.
const COMMIT: &[u8] = b"COMMIT\0";

/// How the connection of a commit is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// Before the database hears of it: nothing was committed.
    Before,
    /// After the database has answered: everything was.
    After,
}

/// One connection: both its ends, and what is to become of it.
#[derive(Debug)]
struct Link {
    client: TcpStream,
    server: TcpStream,
    /// The next answer is swallowed, and the connection cut.
    is_doomed: AtomicBool,
    is_cut: AtomicBool,
}

impl Link {
    fn cut(&self) {
        self.is_cut.store(true, Ordering::Relaxed);
        // An end that is closed already is as cut as it can be.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

#[derive(Debug, Default)]
struct Shared {
    links: Mutex<Vec<Arc<Link>>>,
    refuses: AtomicBool,
    ends: AtomicBool,
    /// How many commits are still to be cut; every other one is cut before it arrives.
    commits_to_cut: AtomicU64,
    commits_cut: AtomicU64,
}

impl Shared {
    fn links(&self) -> MutexGuard<'_, Vec<Arc<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this commit is one to be cut, and how.
    fn strike(&self) -> Option<Cut> {
        let left = self
            .commits_to_cut
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .ok()?;
        self.commits_cut.fetch_add(1, Ordering::Relaxed);
        Some(if left.is_multiple_of(2) {
            Cut::After
        } else {
            Cut::Before
        })
    }
}

/// Stands between a server and its database; everything is cut when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Listens on a free port and carries everything to `target`.
    ///
    /// # Errors
    /// When there is no port.
    pub fn before(target: SocketAddr) -> Result<Self, Fault> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let known = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                if known.ends.load(Ordering::Relaxed) {
                    return;
                }
                let refuses = known.refuses.load(Ordering::Relaxed);
                if let (Ok(client), false) = (client, refuses) {
                    // A database that is not there refuses, as it would without a proxy.
                    let _ = join(client, target, &known);
                }
            }
        });
        Ok(Self { address, shared })
    }

    /// The port to ask for in place of the database's.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Whether new connections are closed at once.
    pub fn refuse(&self, refuses: bool) {
        self.shared.refuses.store(refuses, Ordering::Relaxed);
    }

    /// Cuts every connection.
    pub fn cut_all(&self) {
        for link in self.shared.links().drain(..) {
            link.cut();
        }
    }

    /// Cuts one connection; whether there was one.
    #[must_use]
    pub fn cut_one(&self, number: u64) -> bool {
        let mut links = self.shared.links();
        links.retain(|link| !link.is_cut.load(Ordering::Relaxed));
        let Some(last) = (links.len() as u64).checked_sub(1) else {
            return false;
        };
        let at = usize::try_from(number % (last + 1)).unwrap_or(0);
        links.swap_remove(at).cut();
        true
    }

    /// Cuts the connections of the next commits, in turn before the database hears of the commit and after it has answered.
    pub fn cut_commits(&self, count: u64) {
        self.shared.commits_to_cut.store(count, Ordering::Relaxed);
    }

    /// How many commits were cut so far.
    #[must_use]
    pub fn commits_cut(&self) -> u64 {
        self.shared.commits_cut.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        self.cut_all();
        // Wakes the listener, so that it sees the end.
        let _ = TcpStream::connect(self.address);
    }
}

fn join(client: TcpStream, target: SocketAddr, shared: &Arc<Shared>) -> std::io::Result<()> {
    let server = TcpStream::connect(target)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let link = Arc::new(Link {
        client,
        server,
        is_doomed: AtomicBool::new(false),
        is_cut: AtomicBool::new(false),
    });
    shared.links().push(link.clone());
    let (asks, answers, known) = (link.clone(), link, shared.clone());
    thread::spawn(move || {
        // However a connection ends, both its ends do.
        let _ = carry_questions(&asks, &known);
        asks.cut();
    });
    thread::spawn(move || {
        let _ = carry_answers(&answers);
        answers.cut();
    });
    Ok(())
}

fn carry_questions(link: &Link, shared: &Shared) -> std::io::Result<()> {
    let (mut from, mut to) = (&link.client, &link.server);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let len = from.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        let said = &buffer[..len];
        let is_commit = said.windows(COMMIT.len()).any(|window| window == COMMIT);
        match is_commit.then(|| shared.strike()).flatten() {
            Some(Cut::Before) => return Ok(()),
            Some(Cut::After) => link.is_doomed.store(true, Ordering::Relaxed),
            None => {}
        }
        to.write_all(said)?;
    }
}

fn carry_answers(link: &Link) -> std::io::Result<()> {
    let (mut from, mut to) = (&link.server, &link.client);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let len = from.read(&mut buffer)?;
        if len == 0 || link.is_doomed.load(Ordering::Relaxed) {
            return Ok(());
        }
        to.write_all(&buffer[..len])?;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use super::Proxy;

    /// Answers every question with itself.
    fn echo() -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let mut buffer = [0; 100];
                    while let Ok(len @ 1..) = stream.read(&mut buffer) {
                        stream.write_all(&buffer[..len]).unwrap();
                    }
                });
            }
        });
        address
    }

    fn ask(proxy: &Proxy, question: &[u8]) -> Vec<u8> {
        let mut answer = vec![0; 100];
        let asked = TcpStream::connect(("127.0.0.1", proxy.port())).and_then(|mut stream| {
            stream.write_all(question)?;
            stream.read(&mut answer)
        });
        answer.truncate(asked.unwrap_or(0));
        answer
    }

    #[test]
    fn everything_passes_but_what_is_to_be_cut() {
        let proxy = Proxy::before(echo()).unwrap();
        assert_eq!(ask(&proxy, b"COMMIT\0"), b"COMMIT\0");
        proxy.cut_commits(2);
        assert_eq!(ask(&proxy, b"SELECT\0"), b"SELECT\0");
        assert_eq!(ask(&proxy, b"Q....COMMIT\0"), b"");
        assert_eq!(ask(&proxy, b"COMMIT\0"), b"");
        assert_eq!(ask(&proxy, b"COMMIT\0"), b"COMMIT\0");
        assert_eq!(proxy.commits_cut(), 2);
        proxy.refuse(true);
        assert_eq!(ask(&proxy, b"SELECT\0"), b"");
        proxy.refuse(false);
        let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        while proxy.cut_one(7) {}
        assert_eq!(stream.read(&mut [0; 9]).unwrap_or(0), 0);
    }
}
