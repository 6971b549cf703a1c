//! Bugsink as a peer: the same standard event, the same loader, the same machine, one after the other and in turns.
//!
//! `script/peer-bugsink` installs it. It runs as its documentation says for one server: gunicorn, `snappea` for the tasks, SQLite.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Fault;
use crate::http::Client;
use crate::server::{Mesher, free_address};
use crate::wait::{self, PATIENCE};

/// How often each is measured.
const TURNS: u32 = 2;

/// How long Bugsink may digest what it has accepted; what it has not by then counts as not stored.
const DRAIN: Duration = Duration::from_secs(120);

/// How long Bugsink is loaded before it is measured.
const WARM_SECONDS: u64 = 5;

/// What the generated configuration is told on top: plain HTTP, this address, quotas that are never reached.
const SETTINGS: &str = r#"
BUGSINK["BASE_URL"] = "http://ADDRESS"
ALLOWED_HOSTS = ["*"]
SECURE_PROXY_SSL_HEADER = None
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = False
BUGSINK.update({f"MAX_EVENTS{whose}_PER_{span}": 10**9 for whose in ("", "_PER_PROJECT") for span in ("5_MINUTES", "HOUR", "MONTH")})
"#;

/// Makes a project and prints its DSN.
const PROJECT: &str =
    "from projects.models import Project; print(Project.objects.create(name='peer').dsn)";

/// Prints how many events are stored.
const COUNT: &str = "import sqlite3, sys; print(sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True, timeout=30)\
    .execute('SELECT count(*) FROM events_event').fetchone()[0])";

/// How long, and where the peer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Seconds of sending in each turn.
    pub seconds: u64,
    /// The virtual environment that `script/peer-bugsink` made.
    pub folder: PathBuf,
}

impl Peer {
    /// Reads `[--seconds N] [--at FOLDER]`; `None` if a word is something else.
    #[must_use]
    pub fn parse(words: &[&str]) -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut peer = Self {
            seconds: 10,
            folder: root.join("target/bugsink"),
        };
        let (pairs, rest) = words.as_chunks::<2>();
        for [name, value] in pairs {
            match *name {
                "--seconds" => peer.seconds = value.parse().ok().filter(|n| *n > 0)?,
                "--at" => peer.folder = fs::canonicalize(value).unwrap_or_else(|_| value.into()),
                _ => return None,
            }
        }
        rest.is_empty().then_some(peer)
    }
}

/// What one turn came to.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    accepted_per_second: f64,
    stored_per_second: f64,
    accepted: u64,
    stored: u64,
}

impl Turn {
    fn line(&self, who: &str) -> String {
        format!(
            "{who:<9} {:>7.0} accepted/s {:>7.0} stored/s; {} of {} accepted events are stored",
            self.accepted_per_second, self.stored_per_second, self.stored, self.accepted
        )
    }
}

/// Measures both in turns and prints a line each.
///
/// # Errors
/// When a server does not start, or Mesher lost an acknowledged event. Without Bugsink that is said, and nothing is measured.
pub fn run(peer: &Peer, mut tell: impl FnMut(&str)) -> Result<(), Fault> {
    if !peer.folder.join("bin/bugsink-manage").exists() {
        tell(&format!(
            "SKIPPED: Bugsink is not in {}; script/peer-bugsink installs it",
            peer.folder.display()
        ));
        return Ok(());
    }
    tell(&format!(
        "standard events as fast as answers come, {} s a turn, over 32 connections",
        peer.seconds
    ));
    for _ in 0..TURNS {
        tell(&mesher_turn(peer.seconds)?.line("Mesher"));
        tell(&bugsink_turn(peer)?.line("Bugsink"));
    }
    Ok(())
}

fn mesher_turn(seconds: u64) -> Result<Turn, Fault> {
    let mut mesher = Mesher::new()?.with_env("MESHER_LOG", "warn");
    mesher.start()?;
    let table = mesher.run(&["load", "--duration", &seconds.to_string()])?;
    let stored = mesher.query("SELECT count(*) FROM events")?;
    let turn = Turn {
        accepted_per_second: figure(&table, "accepted/s")?,
        stored_per_second: figure(&table, "stored/s")?,
        accepted: figure(&table, "accepted")? as u64,
        stored: stored[0][0].parse()?,
    };
    mesher.stop()?;
    Ok(turn)
}

fn bugsink_turn(peer: &Peer) -> Result<Turn, Fault> {
    let bugsink = Bugsink::start(&peer.folder)?;
    // Only its loader is wanted of this one.
    let loader = Mesher::new()?;
    // Its workers load the program with their first requests; that is not to be measured.
    let warm = bugsink.load(&loader, WARM_SECONDS, 0)?;
    bugsink.load(&loader, peer.seconds, warm.stored)
}

/// A figure of the table that `mesher load` prints.
fn figure(table: &str, name: &str) -> Result<f64, Fault> {
    let found = table.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(name)).then(|| words.next()?.parse().ok())?
    });
    found.ok_or_else(|| format!("mesher load did not tell {name}: {table}").into())
}

/// A Bugsink of our own; its processes end and its directory goes when it is dropped.
#[derive(Debug)]
struct Bugsink {
    folder: PathBuf,
    home: TempDir,
    dsn: String,
    children: Vec<Child>,
}

impl Bugsink {
    fn start(folder: &Path) -> Result<Self, Fault> {
        let mut bugsink = Self {
            folder: folder.to_owned(),
            home: tempfile::Builder::new().prefix("bugsink-").tempdir()?,
            dsn: String::new(),
            children: Vec::new(),
        };
        let address = free_address()?;
        let home = bugsink.home.path().to_string_lossy().into_owned();
        let conf = bugsink.home.path().join("bugsink_conf.py");
        let output = format!("--output-file={}", conf.display());
        let base = format!("--base-dir={home}");
        bugsink.call(
            "bugsink-create-conf",
            &["--template=singleserver", &base, &output],
        )?;
        let settings = SETTINGS.replace("ADDRESS", &address.to_string());
        fs::write(&conf, fs::read_to_string(&conf)? + &settings)?;
        bugsink.call("bugsink-manage", &["migrate"])?;
        bugsink.call(
            "bugsink-manage",
            &["migrate", "snappea", "--database=snappea"],
        )?;
        let printed = bugsink.call("bugsink-manage", &["shell", "-c", PROJECT])?;
        let dsn = printed.lines().rfind(|line| line.starts_with("http"));
        bugsink.dsn = dsn
            .ok_or_else(|| format!("no DSN in {printed:?}"))?
            .to_owned();
        let bind = format!("--bind={address}");
        bugsink.spawn("gunicorn", &[&bind, "--workers=10", "bugsink.wsgi"])?;
        bugsink.spawn("bugsink-runsnappea", &[])?;
        bugsink.wait_ready(address)?;
        Ok(bugsink)
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.folder.join("bin").join(program));
        command
            .args(arguments)
            .current_dir(self.home.path())
            .env("PYTHONPATH", self.home.path())
            .env("DJANGO_SETTINGS_MODULE", "bugsink_conf")
            .stdin(Stdio::null());
        command
    }

    /// Runs a program to its end; what it printed.
    fn call(&self, program: &str, arguments: &[&str]) -> Result<String, Fault> {
        let output = self.command(program, arguments).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{program} {arguments:?}: {said}").into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    fn spawn(&mut self, program: &str, arguments: &[&str]) -> Result<(), Fault> {
        let log = File::create(self.home.path().join(format!("{program}.log")))?;
        let mut command = self.command(program, arguments);
        command.stdout(log.try_clone()?).stderr(log);
        self.children.push(command.spawn()?);
        Ok(())
    }

    fn wait_ready(&self, address: SocketAddr) -> Result<(), Fault> {
        wait::until("a Bugsink that answers", PATIENCE, || {
            let answer = Client::new(address).send("GET", "/", &[], b"");
            answer.map(drop).map_err(|error| error.to_string())
        })?;
        Ok(())
    }

    /// Loads it, and waits until it has digested that; `before` events are stored already.
    fn load(&self, loader: &Mesher, seconds: u64, before: u64) -> Result<Turn, Fault> {
        let start = Instant::now();
        let end = start + Duration::from_secs(seconds) + DRAIN;
        let seconds = seconds.to_string();
        let table = loader.run(&["load", "--duration", &seconds, "--dsn", &self.dsn])?;
        let accepted = figure(&table, "accepted")? as u64;
        let mut stored = self.stored()?;
        while stored < before + accepted && Instant::now() < end {
            wait::pause(Duration::from_millis(500));
            stored = self.stored()?;
        }
        let stored = stored.saturating_sub(before);
        Ok(Turn {
            accepted_per_second: figure(&table, "accepted/s")?,
            stored_per_second: stored as f64 / start.elapsed().as_secs_f64(),
            accepted,
            stored,
        })
    }

    fn stored(&self) -> Result<u64, Fault> {
        let database = self.home.path().join("db.sqlite3");
        let printed = self.call("python3", &["-c", COUNT, &database.to_string_lossy()])?;
        Ok(printed.trim().parse()?)
    }
}

impl Drop for Bugsink {
    fn drop(&mut self) {
        for child in &mut self.children {
            // Asked first, so that gunicorn ends its workers.
            let _ = Command::new("sh")
                .args(["-c", &format!("kill -TERM {}", child.id())])
                .status();
            let ended = wait::until("a program of Bugsink to end", PATIENCE, || {
                match child.try_wait() {
                    Ok(Some(status)) => Ok(status),
                    _ => Err("it runs".to_owned()),
                }
            });
            if ended.is_err() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Peer, figure};
    use std::path::PathBuf;

    #[test]
    fn words_become_a_peer_and_others_do_not() {
        let peer = Peer::parse(&["--seconds", "3", "--at", "nowhere"]).unwrap();
        assert_eq!((peer.seconds, peer.folder), (3, PathBuf::from("nowhere")));
        for words in [&["--seconds"][..], &["--seconds", "0"], &["--rate", "7"]] {
            assert_eq!(Peer::parse(words), None, "{words:?}");
        }
    }

    #[test]
    fn figures_are_told_apart_by_their_whole_name() {
        let table = "accepted         12 events\naccepted/s       3\n";
        assert_eq!(figure(table, "accepted").unwrap(), 12.0);
        assert_eq!(figure(table, "accepted/s").unwrap(), 3.0);
        assert!(figure(table, "stored/s").is_err());
    }
}
