//! Waiting: the one door through which the suites let real time pass.

use std::thread;
use std::time::{Duration, Instant};

/// How long a condition may take before a suite calls it broken; generous, because the machine may be busy with something else.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Lets `duration` pass: pacing of a load, or the random moment of a fault; never a guess that something is finished.
pub fn pause(duration: Duration) {
    thread::sleep(duration);
}

/// Asks again until `condition` gives a value or the deadline passes.
///
/// # Errors
/// A line naming `what` was awaited, with the last reason the condition gave.
pub fn until<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let start = Instant::now();
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(reason) if start.elapsed() > deadline => {
                return Err(format!(
                    "waited {} s for {what}: {reason}",
                    deadline.as_secs()
                ));
            }
            Err(_) => pause(Duration::from_millis(50)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::until;
    use std::time::Duration;

    #[test]
    fn asks_until_the_condition_holds() {
        let mut asked = 0;
        let answer = until("three", Duration::from_secs(5), || {
            asked += 1;
            if asked == 3 {
                Ok(asked)
            } else {
                Err("not yet".to_owned())
            }
        });
        assert_eq!(answer, Ok(3));
    }

    #[test]
    fn gives_up_with_the_last_reason() {
        let answer: Result<(), String> =
            until("rain", Duration::ZERO, || Err("blue sky".to_owned()));
        assert!(answer.unwrap_err().contains("rain: blue sky"));
    }
}
