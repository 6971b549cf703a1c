//! How far the run is, and how long it will still take, on the terminal's error channel.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Counts runs by what each was expected to take.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
    expected: f64,
    done: f64,
    on_terminal: bool,
}

impl Progress {
    /// All runs together are expected to take so many seconds.
    pub(crate) fn new(expected: f64) -> Progress {
        Progress {
            started: Instant::now(),
            expected,
            done: 0.0,
            on_terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Tells what is being run: on a terminal over the line before, elsewhere only when it is `news`.
    pub(crate) fn tell(&self, what: &str, news: bool) {
        let left = left(self.started.elapsed(), self.done, self.expected);
        let mut out = std::io::stderr().lock();
        // Nobody is served by a run that fails for want of a terminal.
        let _ = if self.on_terminal {
            write!(out, "\r\x1b[K{what}, {left} left")
        } else if news {
            writeln!(out, "{what}, {left} left")
        } else {
            Ok(())
        };
        let _ = out.flush();
    }

    /// One run is done, or will not be made, that was expected to take so long.
    pub(crate) fn advance(&mut self, expected: f64) {
        self.done += expected;
    }

    /// Leaves the line to what is printed next.
    pub(crate) fn clear(&self) {
        if self.on_terminal {
            eprint!("\r\x1b[K");
        }
    }
}

/// The time left, if the rest is as much slower than expected as what was done; at first as expected.
fn left(elapsed: Duration, done: f64, expected: f64) -> String {
    let pace = if done > 1.0 {
        elapsed.as_secs_f64() / done
    } else {
        1.0
    };
    let seconds = ((expected - done).max(0.0) * pace).ceil() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        _ => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::left;
    use std::time::Duration;

    #[test]
    fn what_is_left_goes_by_the_pace_so_far() {
        assert_eq!(left(Duration::ZERO, 0.0, 90.0), "1 min 30 s");
        assert_eq!(left(Duration::from_secs(20), 10.0, 30.0), "40 s");
        assert_eq!(left(Duration::from_secs(20), 31.0, 30.0), "0 s");
    }
}
