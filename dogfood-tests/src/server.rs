//! One real `mesher` process on a data directory and a port of its own, started, asked, killed and started again.

use std::env;
use std::fs::{self, File, Permissions};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::Fault;
use crate::http::Client;
use crate::wait::{self, PATIENCE};

/// What a DSN says: where to send events of one project, and with which key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dsn {
    /// The DSN as printed.
    pub text: String,
    /// The public key.
    pub key: String,
    /// The project's number.
    pub project: String,
}

impl Dsn {
    /// Reads `http://KEY@HOST/NUMBER`.
    ///
    /// # Errors
    /// When the text has another form.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let read = || {
            let (_, rest) = text.split_once("://")?;
            let (key, rest) = rest.split_once('@')?;
            let (_, project) = rest.rsplit_once('/')?;
            let plain = !key.is_empty() && project.bytes().all(|byte| byte.is_ascii_digit());
            (plain && !project.is_empty()).then(|| (key.to_owned(), project.to_owned()))
        };
        let (key, project) = read().ok_or_else(|| format!("not a DSN: {text:?}"))?;
        Ok(Self {
            text: text.to_owned(),
            key,
            project,
        })
    }
}

/// A `mesher` that this suite owns: killed and its directory removed when dropped.
#[derive(Debug)]
pub struct Mesher {
    binary: PathBuf,
    home: TempDir,
    address: SocketAddr,
    environment: Vec<(String, String)>,
    child: Option<Child>,
}

impl Mesher {
    /// A server not yet started: finds or builds the binary, takes a free port and an empty directory that any user can enter.
    ///
    /// # Errors
    /// When the binary cannot be built or the directory not made.
    pub fn new() -> Result<Self, Fault> {
        let home = tempfile::Builder::new()
            .prefix("mesher-dogfood-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()?;
        Ok(Self {
            binary: binary()?,
            home,
            address: free_address()?,
            // A suite sends as fast as it can.
            environment: vec![("MESHER_RATE_LIMIT".to_owned(), "0".to_owned())],
            child: None,
        })
    }

    /// Adds a variable to the environment of every later start and command.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A fresh client of this server.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// Starts the process and does not wait.
    ///
    /// # Errors
    /// When the binary cannot be run.
    pub fn spawn(&mut self) -> Result<(), Fault> {
        let log = self.log_file()?;
        let mut command = self.command(&[]);
        command.stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    /// The file that everything printed and logged goes to, to be added to.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn log_file(&self) -> Result<File, Fault> {
        let mut options = File::options();
        Ok(options.create(true).append(true).open(self.log_path())?)
    }

    /// Starts the process and waits until `/readyz` answers 200.
    ///
    /// # Errors
    /// When it exits or is not ready within a minute; the end of its log is in the line.
    pub fn start(&mut self) -> Result<(), Fault> {
        self.spawn()?;
        self.wait_ready()
    }

    /// Waits until `/readyz` answers 200.
    ///
    /// # Errors
    /// When the process exits or a minute passes.
    pub fn wait_ready(&mut self) -> Result<(), Fault> {
        let mut client = self.client();
        let mut exited = None;
        let outcome = wait::until("a ready mesher", PATIENCE, || {
            if let Some(child) = self.child.as_mut()
                && let Ok(Some(status)) = child.try_wait()
            {
                exited = Some(status);
                return Ok(());
            }
            match client.send("GET", "/readyz", &[], b"") {
                Ok(response) if response.status == 200 => Ok(()),
                Ok(response) => Err(format!(
                    "status {}: {}",
                    response.status,
                    String::from_utf8_lossy(&response.body)
                )),
                Err(error) => Err(error.to_string()),
            }
        });
        if let Some(status) = exited {
            return Err(format!("mesher exited with {status}\n{}", self.log_end()).into());
        }
        outcome.map_err(|reason| format!("{reason}\n{}", self.log_end()).into())
    }

    /// Cuts the process with SIGKILL and collects it.
    pub fn kill_nine(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Killing a process that has already ended is an error that changes nothing here.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks the process to stop (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// When it was not running, has not ended within a minute, or its exit code is not zero.
    pub fn stop(&mut self) -> Result<(), Fault> {
        let child = self.child.as_mut().ok_or("mesher is not running")?;
        // The shell's own kill: the program of that name is absent from small systems.
        let signal = format!("kill -TERM {}", child.id());
        Command::new("sh").args(["-c", &signal]).status()?;
        let status: ExitStatus =
            wait::until("a clean stop", PATIENCE, || match child.try_wait() {
                Ok(Some(status)) => Ok(status),
                Ok(None) => Err("still running".to_owned()),
                Err(error) => Err(error.to_string()),
            })?;
        self.child = None;
        if !status.success() {
            return Err(format!("mesher stopped with {status}\n{}", self.log_end()).into());
        }
        Ok(())
    }

    /// Runs `mesher ARGUMENTS` on the same data directory and returns what it printed.
    ///
    /// # Errors
    /// When the command fails; its error output is in the line.
    pub fn run(&self, arguments: &[&str]) -> Result<String, Fault> {
        let output = self.command(arguments).stdin(Stdio::null()).output()?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            let line = format!(
                "mesher {} ended with {}: {error}",
                arguments.join(" "),
                output.status
            );
            return Err(line.into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Asks Mesher's own database; a row is its columns as text.
    ///
    /// # Errors
    /// When the query fails.
    pub fn query(&self, sql: &str) -> Result<Vec<Vec<String>>, Fault> {
        let text = self.run(&["psql", "-X", "-q", "-A", "-t", "-F", "\t", "-c", sql])?;
        let rows = text.lines().filter(|line| !line.is_empty());
        Ok(rows
            .map(|line| line.split('\t').map(str::to_owned).collect())
            .collect())
    }

    /// The number of the running process.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Everything that every start has printed and logged so far.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn log(&self) -> Result<String, Fault> {
        Ok(fs::read_to_string(self.log_path())?)
    }

    /// Mesher's data directory.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// The DSN of the default project.
    ///
    /// # Errors
    /// When `mesher dsn` fails or prints anything but a DSN.
    pub fn dsn(&self) -> Result<Dsn, Fault> {
        Dsn::parse(self.run(&["dsn"])?.trim())
    }

    /// The one-time set-up link that the first start prints; it may come a moment after the server answers.
    ///
    /// # Errors
    /// When there is none in what the server printed within a minute.
    pub fn setup_link(&self) -> Result<String, Fault> {
        let link = wait::until("a set-up link", PATIENCE, || {
            let printed = self.log().map_err(|fault| fault.to_string())?;
            find_setup_link(&printed).ok_or_else(|| self.log_end())
        })?;
        Ok(link)
    }

    /// A new API token.
    ///
    /// # Errors
    /// When `mesher token create` fails or prints more than the token.
    pub fn token(&self, name: &str) -> Result<String, Fault> {
        let printed = self.run(&["token", "create", name])?;
        let token = printed.trim();
        if token.is_empty() || token.contains(char::is_whitespace) {
            return Err("mesher token create did not print a token alone".into());
        }
        Ok(token.to_owned())
    }

    /// GETs a path of the API with a token and reads its JSON.
    ///
    /// # Errors
    /// When the answer is not 200 or not JSON.
    pub fn api(&self, token: &str, path: &str) -> Result<Value, Fault> {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str())];
        let response = self.client().send("GET", path, &headers, b"")?;
        if response.status != 200 {
            let body = String::from_utf8_lossy(&response.body);
            return Err(format!("GET {path}: status {}: {body}", response.status).into());
        }
        Ok(response.json()?)
    }

    /// The last lines of what the server printed.
    #[must_use]
    pub fn log_end(&self) -> String {
        let text = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn log_path(&self) -> PathBuf {
        self.home.path().join("server.log")
    }

    /// `mesher ARGUMENTS` on this data directory and address, ready to be run in another way than [`Mesher::run`] does.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .env_remove("MESHER_DATABASE_URL")
            .env("MESHER_DATA_DIR", self.data_dir())
            .env("MESHER_LISTEN", self.address.to_string())
            .envs(self.environment.iter().cloned())
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Mesher {
    fn drop(&mut self) {
        // Asked first, so that the database below it ends before its directory goes; cut only when it does not listen.
        if self.child.is_some() && self.stop().is_err() {
            self.kill_nine();
        }
    }
}

/// An address of this machine on which nobody listened a moment ago.
///
/// # Errors
/// When there is none.
pub fn free_address() -> Result<SocketAddr, Fault> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The `mesher` binary: `MESHER_BIN`, else built now by cargo in this program's own profile, so that it is never stale.
///
/// # Errors
/// When the build fails.
pub fn binary() -> Result<PathBuf, Fault> {
    if let Some(path) = env::var_os("MESHER_BIN") {
        return Ok(PathBuf::from(path));
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new(cargo);
    command
        .args([
            "build",
            "--quiet",
            "-p",
            "mesher",
            "--message-format=json-render-diagnostics",
        ])
        .current_dir(root)
        .stderr(Stdio::inherit());
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.output()?;
    if !output.status.success() {
        return Err("cargo build -p mesher failed".into());
    }
    let built = String::from_utf8(output.stdout)?;
    let messages = built
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut executables = messages.filter_map(|message| {
        let is_mesher = message["target"]["name"] == "mesher";
        message["executable"]
            .as_str()
            .filter(|_| is_mesher)
            .map(PathBuf::from)
    });
    executables
        .next()
        .ok_or_else(|| "cargo named no mesher executable".into())
}

fn find_setup_link(printed: &str) -> Option<String> {
    let in_url = |c: char| c.is_ascii_alphanumeric() || "-._~:/?=&%[]".contains(c);
    let at = printed.find("/setup?token=")?;
    let start = printed[..at].rfind("http")?;
    let link: String = printed[start..]
        .chars()
        .take_while(|c| in_url(*c))
        .collect();
    // A link at the very end may still be in the middle of being written.
    let is_whole = printed.len() > start + link.len();
    (is_whole && link.contains("/setup?token=")).then_some(link)
}

#[cfg(test)]
mod tests {
    use super::{Dsn, find_setup_link};

    #[test]
    fn finds_the_setup_link_among_other_lines() {
        let printed = "Dashboard  http://127.0.0.1:1/\n  Set up: http://127.0.0.1:1/setup?token=aB-3_\n\u{1b}[0m";
        assert_eq!(
            find_setup_link(printed).unwrap(),
            "http://127.0.0.1:1/setup?token=aB-3_"
        );
        assert_eq!(find_setup_link("http://127.0.0.1:1/\n/setup?token=x"), None);
    }

    #[test]
    fn reads_a_dsn() {
        let dsn = Dsn::parse("http://abc123@127.0.0.1:8080/1").unwrap();
        assert_eq!((dsn.key.as_str(), dsn.project.as_str()), ("abc123", "1"));
    }

    #[test]
    fn refuses_what_is_not_a_dsn() {
        for text in [
            "",
            "http://127.0.0.1/1",
            "http://key@host/",
            "http://key@host/web",
            "DSN: x",
        ] {
            assert!(Dsn::parse(text).is_err(), "{text}");
        }
    }
}
