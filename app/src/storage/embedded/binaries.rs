//! Finds the PostgreSQL programs: `PATH` first, then the places where distributions put them, newest first.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{EmbeddedError, Options};

/// What a directory must hold to be a server's.
const REQUIRED: [&str; 3] = ["initdb", "postgres", "pg_ctl"];

/// Directories whose subdirectories are major versions, and the path below one.
const VERSIONED: [(&str, &str); 4] = [
    ("/usr/lib/postgresql", "bin"),
    ("/usr/libexec", "bin"),
    ("/opt/homebrew/opt", "bin"),
    ("/usr/local/opt", "bin"),
];

/// Directories that hold the programs themselves.
const PLAIN: [&str; 5] = [
    "/usr/local/pgsql/bin",
    "/usr/pgsql/bin",
    "/usr/bin",
    "/usr/local/bin",
    "/opt/local/bin",
];

/// One installed server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) dir: PathBuf,
    /// The whole version, `15.18`.
    pub(super) version: String,
}

impl Binaries {
    /// The major version, `15`.
    pub(super) fn major(&self) -> &str {
        self.version.split('.').next().unwrap_or(&self.version)
    }

    /// Whether it can serve a cluster of this major version; a new one any can.
    fn fits(&self, cluster: Option<&str>) -> bool {
        cluster.is_none_or(|major| self.major() == major)
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A client program, next to the server or, where they are packaged apart, on `PATH`.
    pub(super) fn client(&self, name: &str) -> PathBuf {
        let beside = self.program(name);
        if beside.exists() {
            beside
        } else {
            PathBuf::from(name)
        }
    }
}

/// The server for the cluster in `data` of major version `cluster`, or for a new one: of those of `PATH` the first that fits, then the newest.
///
/// Each server is asked for its version, which takes a start of that program: no more are asked than need be.
pub(super) fn find(
    options: &Options,
    cluster: Option<&str>,
    data: &Path,
) -> Result<Binaries, EmbeddedError> {
    let from_path: Vec<PathBuf> = options
        .search_path
        .as_deref()
        .map(|path| std::env::split_paths(path).collect())
        .unwrap_or_default();
    let rest = options
        .binary_dirs
        .clone()
        .unwrap_or_else(distribution_dirs);
    let mut found = Vec::new();
    for binaries in from_path.iter().filter_map(|dir| inspect(dir)) {
        if binaries.fits(cluster) {
            return Ok(binaries);
        }
        found.push(binaries);
    }
    let mut others: Vec<Binaries> = rest.iter().filter_map(|dir| inspect(dir)).collect();
    others.sort_by_key(|binaries| std::cmp::Reverse(numbers(&binaries.version)));
    found.extend(others);
    if found.is_empty() {
        return Err(EmbeddedError::NoBinaries {
            searched: searched(from_path, options),
        });
    }
    choose(&found, cluster, data)
}

/// The server for a cluster of major version `cluster`, or the first of all when there is no cluster yet.
fn choose(
    found: &[Binaries],
    cluster: Option<&str>,
    data: &Path,
) -> Result<Binaries, EmbeddedError> {
    found
        .iter()
        .find(|binaries| binaries.fits(cluster))
        .cloned()
        .ok_or_else(|| {
            let mut majors: Vec<String> =
                found.iter().map(|found| found.major().to_owned()).collect();
            majors.dedup();
            EmbeddedError::OtherVersion {
                cluster: cluster.unwrap_or("?").to_owned(),
                found: majors,
                data: data.to_owned(),
            }
        })
}

fn searched(from_path: Vec<PathBuf>, options: &Options) -> Vec<PathBuf> {
    let mut dirs = from_path;
    match &options.binary_dirs {
        Some(given) => dirs.extend(given.iter().cloned()),
        None => {
            dirs.extend(
                VERSIONED
                    .iter()
                    .map(|(dir, below)| Path::new(dir).join("*").join(below)),
            );
            dirs.extend(PLAIN.iter().map(PathBuf::from));
        }
    }
    dirs.dedup();
    dirs
}

fn distribution_dirs() -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    for (parent, below) in VERSIONED {
        let Ok(entries) = std::fs::read_dir(parent) else {
            continue;
        };
        dirs.extend(entries.flatten().map(|entry| entry.path().join(below)));
    }
    dirs.extend(PLAIN.iter().map(PathBuf::from));
    dirs
}

/// A server in `dir`, if all its programs are there and it says its version.
fn inspect(dir: &Path) -> Option<Binaries> {
    if !REQUIRED.iter().all(|name| dir.join(name).exists()) {
        return None;
    }
    // Packaged with the server, and loaded in half the time.
    let output = Command::new(dir.join("pg_ctl"))
        .arg("--version")
        .output()
        .ok()?;
    Some(Binaries {
        dir: dir.to_owned(),
        version: version(&String::from_utf8_lossy(&output.stdout))?,
    })
}

/// `15.18` from `pg_ctl (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn version(text: &str) -> Option<String> {
    let after = text.split_once("(PostgreSQL)")?.1.trim_start();
    let version: String = after
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '.')
        .collect();
    version
        .starts_with(|c: char| c.is_ascii_digit())
        .then_some(version)
}

fn numbers(version: &str) -> Vec<u32> {
    version
        .split('.')
        .map(|part| {
            part.chars()
                .take_while(char::is_ascii_digit)
                .collect::<String>()
        })
        .map(|digits| digits.parse().unwrap_or(0))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Binaries, choose, numbers, version};

    fn installed(version: &str) -> Binaries {
        Binaries {
            dir: format!("/usr/lib/postgresql/{version}/bin").into(),
            version: version.to_owned(),
        }
    }

    #[test]
    fn versions_are_read_and_ordered_by_number() {
        let debian = "pg_ctl (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(version(debian).as_deref(), Some("15.18"));
        assert_eq!(
            version("postgres (PostgreSQL) 18beta1").as_deref(),
            Some("18beta1")
        );
        assert_eq!(version("something else 3"), None);
        assert!(numbers("15.18") > numbers("15.9"));
        assert!(numbers("16.1") > numbers("9.6.24"));
    }

    #[test]
    fn a_cluster_gets_its_own_version_and_a_new_one_the_first() {
        let found = [installed("17.2"), installed("15.18")];
        let data = Path::new("/data");
        assert_eq!(choose(&found, Some("15"), data).unwrap(), found[1]);
        assert_eq!(choose(&found, None, data).unwrap(), found[0]);
        let error = choose(&found, Some("14"), data).unwrap_err().to_string();
        assert!(
            error.contains("PostgreSQL 14") && error.contains("17, 15"),
            "{error}"
        );
    }
}
