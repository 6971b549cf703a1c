//! Replay: the text that makes a laboratory do the same again, a seed and what was shrunk.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::faults::FaultKey;

/// A seed, and which of its decisions count. `7`, or `7/faults=t2.9+p1/choices=120`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Replay {
    pub(super) seed: u64,
    /// The faults that strike; all when `None`.
    pub(super) faults: Option<BTreeSet<FaultKey>>,
    /// After so many choices everybody has a turn in order.
    pub(super) choices: Option<u64>,
}

impl Replay {
    pub(super) fn of(seed: u64) -> Replay {
        Replay {
            seed,
            faults: None,
            choices: None,
        }
    }
}

impl fmt::Display for Replay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.seed)?;
        if let Some(faults) = &self.faults {
            let numbers: Vec<String> = faults.iter().map(FaultKey::to_string).collect();
            write!(formatter, "/faults={}", numbers.join("+"))?;
        }
        match self.choices {
            Some(choices) => write!(formatter, "/choices={choices}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Replay {
    type Err = String;

    fn from_str(text: &str) -> Result<Replay, String> {
        let wrong = || {
            format!(
                "{text} is no seed of a laboratory; one reads 7 or 7/faults=t2.9+p1/choices=120"
            )
        };
        let mut parts = text.split('/');
        let seed = parts.next().unwrap_or_default().trim().parse();
        let mut replay = Replay::of(seed.map_err(|_| wrong())?);
        for part in parts {
            if let Some(list) = part.strip_prefix("faults=") {
                let numbers = list.split('+').filter(|number| !number.is_empty());
                let kept: Result<BTreeSet<FaultKey>, ()> = numbers.map(str::parse).collect();
                replay.faults = Some(kept.map_err(|()| wrong())?);
            } else if let Some(choices) = part.strip_prefix("choices=") {
                replay.choices = Some(choices.parse().map_err(|_| wrong())?);
            } else {
                return Err(wrong());
            }
        }
        Ok(replay)
    }
}

#[cfg(test)]
mod tests {
    use super::Replay;

    #[test]
    fn text_and_replay_are_the_same() {
        for text in [
            "7",
            "7/faults=",
            "7/faults=t0.3+l1.2+j4+p1",
            "7/choices=0",
            "18446744073709551615/faults=t1.0/choices=12",
        ] {
            let replay: Replay = text.parse().expect("it is one");
            assert_eq!(replay.to_string(), text);
        }
        for text in [
            "",
            "x",
            "7/",
            "7/faults=a",
            "7/faults=t1",
            "7/faults=x1.1",
            "-1",
        ] {
            assert!(text.parse::<Replay>().is_err(), "{text}");
        }
    }
}
