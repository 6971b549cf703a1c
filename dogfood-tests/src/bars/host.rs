//! What the host of a virtual machine took away while something was measured: a figure is judged by it.
//!
//! Source: proc(5), `/proc/stat`; its first line counts the ticks of all processors since the start.

use std::fs;

/// Columns of the line that make up the whole; guests' time, behind them, is counted in the first.
const COLUMNS: usize = 8;
const IDLE: [usize; 2] = [3, 4];
const STEAL: usize = 7;

/// The ticks so far; `None` where they are not told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host(Option<[u64; COLUMNS]>);

impl Host {
    /// As it is now.
    pub(super) fn now() -> Host {
        Host(
            fs::read_to_string("/proc/stat")
                .ok()
                .and_then(|text| read(&text)),
        )
    }

    /// What became of the time since then, in one line.
    pub(super) fn since(self) -> String {
        self.until(Host::now())
    }

    fn until(self, end: Host) -> String {
        let ticks = self.0.zip(end.0).map(|(begin, end)| {
            let mut passed = [0; COLUMNS];
            for column in 0..COLUMNS {
                passed[column] = end[column].saturating_sub(begin[column]);
            }
            passed
        });
        let share = |columns: &[usize]| {
            let ticks = ticks?;
            let all = ticks.iter().sum::<u64>();
            let some: u64 = columns.iter().map(|column| ticks[*column]).sum();
            (all > 0).then(|| some as f64 * 100.0 / all as f64)
        };
        match share(&[STEAL]).zip(share(&IDLE)) {
            Some((stolen, idle)) => {
                format!("machine          {stolen:.0} % taken by its host, {idle:.0} % idle")
            }
            None => "machine          unknown what its host took".to_owned(),
        }
    }
}

fn read(text: &str) -> Option<[u64; COLUMNS]> {
    let mut columns = text
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_whitespace();
    let mut ticks = [0; COLUMNS];
    for tick in &mut ticks {
        *tick = columns.next()?.parse().ok()?;
    }
    Some(ticks)
}

#[cfg(test)]
mod tests {
    use super::{Host, read};

    #[test]
    fn shares_are_of_what_passed_in_between() {
        let begin = read("cpu  100 0 50 700 10 0 0 40 9 9\ncpu0 1 2 3\n");
        let end = read("cpu  150 0 60 720 10 0 0 60 9 9\n");
        let told = Host(begin).until(Host(end));
        assert!(
            told.ends_with("20 % taken by its host, 20 % idle"),
            "{told}"
        );
    }

    #[test]
    fn what_is_not_told_is_unknown() {
        assert!(read("").is_none() && read("cpu  1 2 3\n").is_none() && read("intr 1\n").is_none());
        let ticks = Some([1; 8]);
        for (begin, end) in [(None, ticks), (ticks, None), (ticks, ticks)] {
            assert!(Host(begin).until(Host(end)).contains("unknown"));
        }
        let told = Host::now().since();
        assert!(told.starts_with("machine "), "{told}");
    }
}
