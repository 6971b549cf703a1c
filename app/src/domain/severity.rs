//! How bad an event is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How bad an event is, mildest first, so that the order of the type is the order of alarm.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Of interest only while looking for something.
    Debug,
    /// Worth knowing.
    Info,
    /// Not broken yet.
    Warning,
    /// Broken: the default of an event that does not say.
    #[default]
    Error,
    /// The program ended.
    Fatal,
}

/// A text that names no severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownSeverity;

impl fmt::Display for UnknownSeverity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a severity")
    }
}

impl std::error::Error for UnknownSeverity {}

impl Severity {
    /// Every severity, mildest first.
    pub const ALL: [Self; 5] = [
        Self::Debug,
        Self::Info,
        Self::Warning,
        Self::Error,
        Self::Fatal,
    ];

    /// The word Sentry and our database use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }

    /// Reads Python's numeric levels (10 to 50), which old SDKs send.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            10 => Some(Self::Debug),
            20 => Some(Self::Info),
            30 => Some(Self::Warning),
            40 => Some(Self::Error),
            50 => Some(Self::Fatal),
            _ => None,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Severity {
    type Err = UnknownSeverity;

    /// Reads a level in any case, with the synonyms SDKs use: `log`, `warn`, `err`, `critical`, `trace`, and Python's numbers.
    fn from_str(text: &str) -> Result<Self, UnknownSeverity> {
        let text = text.trim().to_ascii_lowercase();
        match text.as_str() {
            "debug" | "trace" | "verbose" => Ok(Self::Debug),
            "info" | "log" | "notice" | "information" => Ok(Self::Info),
            "warning" | "warn" => Ok(Self::Warning),
            "error" | "err" => Ok(Self::Error),
            "fatal" | "critical" | "panic" | "alert" | "emergency" => Ok(Self::Fatal),
            number => number
                .parse()
                .ok()
                .and_then(Self::from_number)
                .ok_or(UnknownSeverity),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Severity;

    #[test]
    fn reads_synonyms_and_numbers() {
        for (text, severity) in [
            ("WARN", Severity::Warning),
            ("log", Severity::Info),
            ("critical", Severity::Fatal),
            ("40", Severity::Error),
        ] {
            assert_eq!(text.parse(), Ok(severity));
        }
        assert!("loud".parse::<Severity>().is_err());
    }

    #[test]
    fn every_word_reads_back() {
        for severity in Severity::ALL {
            assert_eq!(severity.as_str().parse(), Ok(severity));
        }
        assert!(Severity::Fatal > Severity::Warning);
    }
}
