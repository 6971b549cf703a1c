//! One validated value that says how this server runs: flags over environment over defaults, read once at start.

mod base_url;
pub mod clock;
pub mod entropy;
pub mod env;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

pub use self::base_url::BaseUrl;

/// Where the dashboard, the API and ingestion listen unless told otherwise.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:8080";

/// What `MESHER_LOG` is for the server unless told otherwise: our own events from `info`, everyone else's from `warn`.
pub const LOG_DEFAULT: &str = "warn,mesher=info,mesh_runtime=info";

/// What `MESHER_RATE_LIMIT` is unless told otherwise: far above what one program sends when it is well.
pub const RATE_LIMIT_DEFAULT: u32 = 100;

/// What `MESHER_SPOOL_MIB` is unless told otherwise: some hours of events that the database does not take.
pub const SPOOL_MIB_DEFAULT: u64 = 2048;

/// The least and the most that `MESHER_SPOOL_MIB` may say.
const SPOOL_MIB_MIN: u64 = 16;
const SPOOL_MIB_MAX: u64 = 1 << 20;

/// The names of the variables that Mesher reads; any other `MESHER_…` that looks like one of these is refused.
pub const VARIABLES: [&str; 11] = [
    "MESHER_LISTEN",
    "MESHER_DATA_DIR",
    "MESHER_DATABASE_URL",
    "MESHER_DATABASE_CA",
    "MESHER_TLS_CERTIFICATE",
    "MESHER_TLS_KEY",
    "MESHER_LOG",
    "MESHER_PUBLIC_URL",
    "MESHER_RATE_LIMIT",
    "MESHER_SPOOL_MIB",
    "MESHER_TEST_HOOKS",
];

/// The effective configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// Address and port that the listener binds.
    pub listen: SocketAddr,
    /// The URL that people and SDKs reach us under; `None` derives it from `listen`.
    pub public_url: Option<BaseUrl>,
    /// Directory of the spool and of the embedded database.
    pub data_dir: PathBuf,
    /// A PostgreSQL connection string; `None` means that Mesher runs its own cluster in `data_dir`.
    pub database_url: Option<String>,
    /// A PEM file with the certificate authority that vouches for the server of `database_url`.
    pub database_ca: Option<PathBuf>,
    /// The certificate to serve with; `None` serves without TLS.
    pub tls: Option<TlsFiles>,
    /// A `tracing` filter directive.
    pub log: String,
    /// Events a second for a key that has no limit of its own; 0 is no limit.
    pub rate_limit: u32,
    /// How large the spool may grow, in MiB.
    pub spool_mib: u64,
    /// Opens `POST /api/v1/runtime/kill`, with which the fault tests kill named processes; never on in production.
    pub test_hooks: bool,
}

/// Two PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("public_url", &self.public_url)
            .field("data_dir", &self.data_dir)
            .field("database_url", &self.database_url.as_ref().map(|_| "<set>"))
            .field("database_ca", &self.database_ca)
            .field("tls", &self.tls)
            .field("log", &self.log)
            .field("rate_limit", &self.rate_limit)
            .field("spool_mib", &self.spool_mib)
            .field("test_hooks", &self.test_hooks)
            .finish()
    }
}

/// What the command line says; `None` leaves the word to the environment.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--listen`
    pub listen: Option<String>,
    /// `--public-url`
    pub public_url: Option<String>,
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// `--database-url`
    pub database_url: Option<String>,
    /// `--log`
    pub log: Option<String>,
}

/// Why a configuration was refused; the text says which setting and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A `MESHER_…` variable that nobody reads but that is one slip away from one that is read.
    UnknownVariable {
        /// The name as it was set.
        name: String,
        /// The name that was probably meant.
        suggestion: &'static str,
    },
    /// A value that cannot be used.
    Invalid {
        /// The setting, by the name it was given under.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is expected.
        expected: &'static str,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::UnknownVariable { name, suggestion } => {
                write!(
                    f,
                    "unknown setting {name}: did you mean {suggestion}? Unset it or correct the name"
                )
            }
            ConfigError::Invalid {
                name,
                value,
                expected,
            } => {
                write!(f, "{name} is {value:?}: expected {expected}")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Joins flags and environment into one value.
    ///
    /// `variables` are the process's variables whose names start with `MESHER_`; `default_data_dir` and `default_log` are
    /// used when none is named.
    ///
    /// # Errors
    /// [`ConfigError`] names the setting, what was given and what is expected.
    pub fn resolve(
        flags: Flags,
        variables: &[(String, String)],
        default_data_dir: PathBuf,
        default_log: &str,
    ) -> Result<Config, ConfigError> {
        for (name, _) in variables {
            if VARIABLES.contains(&name.as_str()) {
                continue;
            }
            if let Some(suggestion) = VARIABLES.iter().find(|known| distance(name, known) <= 2) {
                return Err(ConfigError::UnknownVariable {
                    name: name.clone(),
                    suggestion,
                });
            }
        }
        let variable = |wanted: &str| {
            variables
                .iter()
                .find(|(name, value)| name == wanted && !value.is_empty())
                .map(|(_, value)| value.clone())
        };
        let listen_text = flags
            .listen
            .or_else(|| variable("MESHER_LISTEN"))
            .unwrap_or_else(|| LISTEN_DEFAULT.to_owned());
        let listen = listen_text.parse().map_err(|_| ConfigError::Invalid {
            name: "MESHER_LISTEN",
            value: listen_text.clone(),
            expected: "an address and a port, such as 127.0.0.1:8080 or [::]:8080",
        })?;
        let public_url = flags.public_url.or_else(|| variable("MESHER_PUBLIC_URL"));
        let public_url = public_url
            .map(|url| {
                BaseUrl::parse(&url).ok_or(ConfigError::Invalid {
                    name: "MESHER_PUBLIC_URL",
                    value: url,
                    expected: "a URL, such as https://errors.example.com",
                })
            })
            .transpose()?;
        let test_hooks = match variable("MESHER_TEST_HOOKS").as_deref() {
            None | Some("0") => false,
            Some("1") => true,
            Some(other) => {
                return Err(ConfigError::Invalid {
                    name: "MESHER_TEST_HOOKS",
                    value: other.to_owned(),
                    expected: "0 or 1",
                });
            }
        };
        let rate_limit = match variable("MESHER_RATE_LIMIT") {
            None => RATE_LIMIT_DEFAULT,
            Some(value) => value.parse().map_err(|_| ConfigError::Invalid {
                name: "MESHER_RATE_LIMIT",
                value,
                expected: "events a second for one key, such as 100, or 0 for no limit",
            })?,
        };
        let spool_mib = match variable("MESHER_SPOOL_MIB") {
            None => SPOOL_MIB_DEFAULT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|mib| (SPOOL_MIB_MIN..=SPOOL_MIB_MAX).contains(mib))
                .ok_or_else(|| ConfigError::Invalid {
                    name: "MESHER_SPOOL_MIB",
                    value: text.clone(),
                    expected: "the size of the spool in MiB, at least 16",
                })?,
        };
        let file = |name: &str| variable(name).map(PathBuf::from);
        let tls = match (file("MESHER_TLS_CERTIFICATE"), file("MESHER_TLS_KEY")) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
            (None, None) => None,
            (certificate, _) => {
                let names = ["MESHER_TLS_CERTIFICATE", "MESHER_TLS_KEY"];
                return Err(ConfigError::Invalid {
                    name: names[usize::from(certificate.is_some())],
                    value: String::new(),
                    expected: "the path of a PEM file, because its counterpart is set",
                });
            }
        };
        Ok(Config {
            listen,
            public_url,
            data_dir: flags
                .data_dir
                .or_else(|| variable("MESHER_DATA_DIR").map(PathBuf::from))
                .unwrap_or(default_data_dir),
            database_url: flags
                .database_url
                .or_else(|| variable("MESHER_DATABASE_URL")),
            database_ca: file("MESHER_DATABASE_CA"),
            tls,
            log: flags
                .log
                .or_else(|| variable("MESHER_LOG"))
                .unwrap_or_else(|| default_log.to_owned()),
            rate_limit,
            spool_mib,
            test_hooks,
        })
    }

    /// The URL that links and DSNs are built on.
    #[must_use]
    pub fn base_url(&self) -> BaseUrl {
        if let Some(url) = &self.public_url {
            return url.clone();
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let derived = if self.listen.ip().is_unspecified() {
            format!("{scheme}://localhost:{}", self.listen.port())
        } else {
            format!("{scheme}://{}", self.listen)
        };
        BaseUrl::parse(&derived).expect("a socket address is a valid authority")
    }
}

/// Levenshtein's distance: how many single-letter slips lie between two names.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(flags: Flags, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Config::resolve(flags, &variables, PathBuf::from("/data"), LOG_DEFAULT)
    }

    #[test]
    fn defaults_need_nothing() {
        let config = resolve(Flags::default(), &[]).unwrap();
        assert_eq!(config.listen.to_string(), LISTEN_DEFAULT);
        assert_eq!(config.base_url().to_string(), "http://127.0.0.1:8080");
        assert_eq!(config.database_url, None);
        assert_eq!(config.rate_limit, RATE_LIMIT_DEFAULT);
        assert_eq!(config.spool_mib, SPOOL_MIB_DEFAULT);
        assert!(!config.test_hooks);
    }

    #[test]
    fn flags_win_over_the_environment() {
        let flags = Flags {
            listen: Some("0.0.0.0:9000".to_owned()),
            ..Flags::default()
        };
        let config = resolve(
            flags,
            &[
                ("MESHER_LISTEN", "127.0.0.1:1"),
                ("MESHER_DATA_DIR", "/elsewhere"),
            ],
        )
        .unwrap();
        assert_eq!(config.base_url().to_string(), "http://localhost:9000");
        assert_eq!(config.data_dir, PathBuf::from("/elsewhere"));
    }

    #[test]
    fn tls_needs_both_files_and_shows_in_links() {
        let both = [
            ("MESHER_TLS_CERTIFICATE", "/c.pem"),
            ("MESHER_TLS_KEY", "/k.pem"),
        ];
        let config = resolve(Flags::default(), &both).unwrap();
        assert_eq!(config.base_url().to_string(), "https://127.0.0.1:8080");
        for (given, missing) in [(0, "MESHER_TLS_KEY"), (1, "MESHER_TLS_CERTIFICATE")] {
            let error = resolve(Flags::default(), &both[given..=given])
                .unwrap_err()
                .to_string();
            assert!(error.starts_with(missing), "{error}");
        }
    }

    #[test]
    fn a_slip_in_a_name_is_refused_with_a_suggestion() {
        let error = resolve(Flags::default(), &[("MESHER_LISTN", "x")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown setting MESHER_LISTN: did you mean MESHER_LISTEN? Unset it or correct the name"
        );
    }

    #[test]
    fn a_bad_value_says_what_is_expected() {
        for (name, value) in [
            ("MESHER_LISTEN", "8080"),
            ("MESHER_PUBLIC_URL", "errors.example.com"),
            ("MESHER_RATE_LIMIT", "-1"),
            ("MESHER_SPOOL_MIB", "15"),
            ("MESHER_SPOOL_MIB", "much"),
            ("MESHER_TEST_HOOKS", "yes"),
        ] {
            let text = resolve(Flags::default(), &[(name, value)])
                .unwrap_err()
                .to_string();
            assert!(
                text.contains(name) && text.contains(value) && text.contains("expected"),
                "{text}"
            );
        }
    }

    #[test]
    fn the_database_url_is_never_printed() {
        let config = resolve(
            Flags::default(),
            &[("MESHER_DATABASE_URL", "postgres://u:secret@h/d")],
        )
        .unwrap();
        assert!(!format!("{config:?}").contains("secret"));
    }
}
