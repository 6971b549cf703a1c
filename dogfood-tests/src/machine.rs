//! The machine: how large it is, and what this program uses of it, read from `/proc`.

use std::fs;

use serde_json::{Value, json};

/// What a run cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Seconds on the wall.
    pub wall_seconds: f64,
    /// Seconds on processors, user and system.
    pub cpu_seconds: f64,
    /// Resident memory at the end, in bytes.
    pub resident_bytes: u64,
    /// Most resident memory this program ever had, in bytes.
    pub resident_bytes_max: u64,
    /// Threads of the operating system at the end.
    pub threads: u64,
}

impl Usage {
    /// The numbers by name.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "wall_seconds": round(self.wall_seconds),
            "cpu_seconds": round(self.cpu_seconds),
            "resident_mib": self.resident_bytes >> 20,
            "resident_mib_max": self.resident_bytes_max >> 20,
            "os_threads": self.threads,
        })
    }
}

fn round(seconds: f64) -> f64 {
    (seconds * 100.0).round() / 100.0
}

/// A number of `/proc/self/status` or `/proc/meminfo`; zero where the system has no such file.
fn field(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// Threads of this program.
#[must_use]
pub fn threads() -> u64 {
    field("/proc/self/status", "Threads")
}

/// Resident memory of another process, in bytes; zero once it is gone.
#[must_use]
pub fn resident_bytes_of(process: u32) -> u64 {
    field(&format!("/proc/{process}/status"), "VmRSS") * 1024
}

/// Whether the kernel may give another process transparent huge pages; never said by a kernel that does not tell.
#[must_use]
pub fn has_huge_pages(process: u32) -> bool {
    field(&format!("/proc/{process}/status"), "THP_enabled") == 1
}

/// Resident memory, in bytes.
#[must_use]
pub fn resident_bytes() -> u64 {
    field("/proc/self/status", "VmRSS") * 1024
}

/// Most resident memory so far, in bytes.
#[must_use]
pub fn resident_bytes_max() -> u64 {
    field("/proc/self/status", "VmHWM") * 1024
}

/// Memory the machine could still give, in bytes.
#[must_use]
pub fn available_bytes() -> u64 {
    field("/proc/meminfo", "MemAvailable") * 1024
}

/// Threads the machine runs at once.
#[must_use]
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Processor time used so far, in seconds. Linux counts it in hundredths.
#[must_use]
pub fn cpu_seconds() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |index: usize| -> u32 {
        fields
            .get(index)
            .and_then(|field| field.parse().ok())
            .unwrap_or(0)
    };
    f64::from(ticks(11) + ticks(12)) / 100.0
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_program_has_threads_and_memory() {
        assert!(super::threads() >= 1 && super::processors() >= 1);
        assert!(super::resident_bytes() > 0 && super::available_bytes() > 0);
        assert!(super::resident_bytes_max() >= super::resident_bytes() / 2);
    }
}
