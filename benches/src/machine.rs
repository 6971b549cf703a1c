//! On what a row was measured.

use std::fmt;
use std::fs;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// A machine and its compiler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    pub(crate) rustc: String,
}

impl Machine {
    /// This one.
    pub(crate) fn this() -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let memory = field(&read("/proc/meminfo"), "MemTotal")
            .and_then(|memory| memory.split_whitespace().next()?.parse::<u64>().ok());
        let rustc = Command::new("rustc").arg("--version").output();
        Machine {
            processor: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: memory.map_or(0, |kibibytes| (kibibytes + (1 << 19)) >> 20),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            rustc: rustc.map_or_else(
                |_| unknown(),
                |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            ),
        }
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// The value of the first line `name : value`.
fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

impl fmt::Display for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}, {} cores, {} GiB, Linux {}, {}",
            self.processor, self.cores, self.memory_gib, self.kernel, self.rustc
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Machine, field};

    #[test]
    fn this_machine_can_be_told() {
        let machine = Machine::this();
        assert!(machine.cores > 0);
        assert!(machine.to_string().contains("Linux "));
    }

    #[test]
    fn a_field_is_what_follows_the_colon() {
        let text = "processor\t: 0\nmodel name\t: A: B\n";
        assert_eq!(field(text, "model name").as_deref(), Some("A: B"));
        assert_eq!(field(text, "MemTotal"), None);
    }
}
