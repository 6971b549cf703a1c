//! The dashboard in a real browser against a real server: runs the dashboard's own end-to-end program on a fresh start.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Fault;
use crate::server::Mesher;

/// Starts a server on an empty directory and gives its address, set-up link and DSN to `app/dashboard/tests/e2e/run.mjs`.
///
/// Screenshots go to `SCREENSHOT_DIR`, by default `target/screenshots`.
///
/// # Errors
/// When the program fails; what it said is in the line, with the end of the server's log.
pub fn run() -> Result<(), Fault> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let pictures = env::var_os("SCREENSHOT_DIR")
        .map_or_else(|| root.join("target/screenshots"), PathBuf::from);
    std::fs::create_dir_all(&pictures)?;
    let mut mesher = Mesher::new()?;
    mesher.start()?;
    let status = Command::new(env::var_os("SDK_NODE").unwrap_or_else(|| "node".into()))
        .arg("tests/e2e/run.mjs")
        .current_dir(root.join("app/dashboard"))
        .env("MESHER_URL", format!("http://{}", mesher.address()))
        .env("MESHER_SETUP_LINK", mesher.setup_link()?)
        .env("MESHER_DSN", mesher.dsn()?.text)
        .env("SCREENSHOT_DIR", pictures)
        .stdin(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(format!("the browser test ended with {status}\n{}", mesher.log_end()).into());
    }
    mesher.stop()
}
