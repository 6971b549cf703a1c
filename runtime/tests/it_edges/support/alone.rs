//! A test in a process of its own: its memory is nobody else's, and it may open as many files as the machine allows.

use std::process::{Command, Stdio};

/// What tells a process that it is such a one, and which part it plays.
const PART: &str = "MESH_EDGES_PART";

/// The part this process plays; none in the process that runs all tests.
#[expect(
    clippy::disallowed_methods,
    reason = "a test asks what its own parent set"
)]
pub(crate) fn part() -> Option<String> {
    std::env::var(PART).ok()
}

/// The test of this name, once more, as a process that plays this part.
pub(crate) fn process(test: &str, part: &str) -> Command {
    let own = std::env::current_exe().unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n $(ulimit -Hn); exec \"$0\" \"$@\""])
        .arg(own)
        .args(["--exact", test, "--nocapture"])
        .env(PART, part)
        .stdin(Stdio::piped());
    command
}

/// Runs the test of this name in a process of its own, and wants it to pass there.
pub(crate) fn passes_alone(test: &str) {
    let output = process(test, "main").output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let passed = output.status.success() && said.contains("1 passed");
    assert!(passed, "{said}");
}

/// Resident bytes of this process.
pub(crate) fn resident_bytes() -> usize {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = rollup.lines().find(|line| line.starts_with("Rss:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().nth(1));
    kibibytes.unwrap().parse::<usize>().unwrap() * 1024
}
