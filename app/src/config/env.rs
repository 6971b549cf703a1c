//! The one door through which the environment enters: every other file receives a [`super::Config`].

use std::ffi::OsString;
use std::path::PathBuf;

/// The variables whose names start with `MESHER_`; values that are not UTF-8 are read lossily.
#[must_use]
pub fn variables() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            name.starts_with("MESHER_")
                .then(|| (name, value.to_string_lossy().into_owned()))
        })
        .collect()
}

/// Where data goes when nobody says: `/var/lib/mesher` for root, else the user's data directory, else `./mesher-data`.
///
/// Source: the XDG Base Directory Specification for `XDG_DATA_HOME` and `~/.local/share`.
#[must_use]
pub fn default_data_dir() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/mesher");
    }
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    if let Some(data_home) = absolute("XDG_DATA_HOME") {
        return data_home.join("mesher");
    }
    match absolute("HOME") {
        Some(home) => home.join(".local/share/mesher"),
        None => PathBuf::from("mesher-data"),
    }
}

/// The directories in which programs are searched.
#[must_use]
pub fn search_path() -> Option<OsString> {
    std::env::var_os("PATH")
}
