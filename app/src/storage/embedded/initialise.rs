//! Makes a new cluster aside and renames it into place, so that a crash leaves nothing half-made.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::EmbeddedError;
use super::binaries::Binaries;
use super::layout::{DATABASE, Layout, USER};
use super::settings;

/// The start of the names of unfinished clusters.
const ASIDE: &str = "data.new-";

/// Runs `initdb` and creates the database; `false` while the programs of an attempt that was killed still write. The caller holds the start
/// lock.
pub(super) fn run(layout: &Layout, binaries: &Binaries) -> Result<bool, EmbeddedError> {
    if !remove_leftovers(&layout.root)? {
        return Ok(false);
    }
    let aside = layout.root.join(format!("{ASIDE}{}", std::process::id()));
    tracing::info!(
        cluster.dir = %layout.data.display(),
        postgres.version = %binaries.version,
        "initialising the private PostgreSQL cluster"
    );
    let mut initdb = layout.account.command(binaries.program("initdb"));
    initdb
        .arg("--pgdata")
        .arg(&aside)
        .args(["--username", USER, "--encoding", "UTF8", "--locale", "C"])
        .args(["--auth", "peer", "--data-checksums"]);
    check("initdb", run_to_end(&mut initdb)?)?;
    create_database(layout, binaries, &aside)?;
    write_settings(layout, &aside)?;
    fs::rename(&aside, &layout.data).map_err(EmbeddedError::io("move into place", &layout.data))?;
    sync_dir(&layout.root)?;
    Ok(true)
}

/// Writes the configuration files, each aside and renamed.
pub(super) fn write_settings(layout: &Layout, data: &Path) -> Result<(), EmbeddedError> {
    let memory = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| settings::memory_bytes(&text));
    let files = [
        (
            "postgresql.conf",
            settings::postgresql_conf(&layout.socket, &layout.log, memory),
        ),
        ("pg_hba.conf", settings::pg_hba_conf()),
        (
            "pg_ident.conf",
            settings::pg_ident_conf(&layout.account.client, &layout.account.server),
        ),
    ];
    for (name, text) in files {
        let path = data.join(name);
        let aside = data.join(format!("{name}.new"));
        fs::write(&aside, text).map_err(EmbeddedError::io("write", &aside))?;
        layout.account.own(&aside, 0o600)?;
        fs::rename(&aside, &path).map_err(EmbeddedError::io("move into place", &path))?;
    }
    Ok(())
}

fn create_database(layout: &Layout, binaries: &Binaries, data: &Path) -> Result<(), EmbeddedError> {
    let mut single = layout.account.command(binaries.program("postgres"));
    single
        .args(["--single", "-D"])
        .arg(data)
        .arg("postgres")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = single
        .spawn()
        .map_err(EmbeddedError::io("run", binaries.program("postgres")))?;
    if let Some(mut input) = child.stdin.take() {
        input
            .write_all(format!("CREATE DATABASE {DATABASE};\n").as_bytes())
            .map_err(EmbeddedError::io("create the database in", data))?;
    }
    let output = child
        .wait_with_output()
        .map_err(EmbeddedError::io("create the database in", data))?;
    check("postgres --single", output)
}

/// Removes unfinished clusters. The `initdb` of an instance that was killed lives on until it wants to print, and may write into what is being
/// removed; `false`: try again shortly.
fn remove_leftovers(root: &Path) -> Result<bool, EmbeddedError> {
    let entries = fs::read_dir(root).map_err(EmbeddedError::io("list", root))?;
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(ASIDE) {
            continue;
        }
        match fs::remove_dir_all(entry.path()) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound
                ) =>
            {
                return Ok(false);
            }
            Err(error) => return Err(EmbeddedError::io("remove", entry.path())(error)),
        }
    }
    Ok(true)
}

fn sync_dir(dir: &Path) -> Result<(), EmbeddedError> {
    fs::File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(EmbeddedError::io("sync", dir))
}

pub(super) fn run_to_end(command: &mut Command) -> Result<Output, EmbeddedError> {
    let program = command.get_program().to_owned();
    command.output().map_err(EmbeddedError::io("run", program))
}

pub(super) fn check(tool: &'static str, output: Output) -> Result<(), EmbeddedError> {
    if output.status.success() {
        return Ok(());
    }
    Err(EmbeddedError::Tool {
        tool,
        said: last_lines(&String::from_utf8_lossy(&output.stderr), 5),
    })
}

/// The last `count` lines that say something, on one line.
pub(super) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(count)..].join(" | ")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::{ASIDE, remove_leftovers};

    #[test]
    fn what_is_still_written_to_is_removed_when_that_ends() {
        let root = tempfile::tempdir().unwrap();
        let aside = root.path().join(format!("{ASIDE}1"));
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0.. {
                    let folder = aside.join(format!("{}", number % 7));
                    let _ = fs::create_dir_all(&folder);
                    let _ = fs::write(folder.join("file"), "");
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
            for _ in 0..300 {
                assert!(remove_leftovers(root.path()).is_ok());
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert!(remove_leftovers(root.path()).unwrap());
        assert!(!aside.exists());
    }
}
