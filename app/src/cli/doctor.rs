//! `mesher doctor`: the effective settings, and whether what they name works.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use super::connect::{self, Session};
use super::{Failure, answer, commands};
use crate::config::Config;
use crate::storage::health::{self, DatabaseHealth};

/// Below this the spool cannot make the two segments it begins with.
const DISK_BYTES_MIN: u64 = 256 << 20;

pub(super) fn run(config: &Config) -> Result<ExitCode, Failure> {
    connect::runtime()?.block_on(async {
        let mut report = Report::default();
        report.settings(config);
        report.directory(&config.data_dir);
        report.database(config).await;
        let code = if report.troubles == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
        answer(&report.text.trim_end())?;
        Ok(code)
    })
}

#[derive(Default)]
struct Report {
    text: String,
    troubles: usize,
}

impl Report {
    fn line(&mut self, name: &str, value: impl std::fmt::Display) {
        writeln!(self.text, "{name:<22} {value}").expect("a string takes every text");
    }

    fn good(&mut self, name: &str, value: impl std::fmt::Display) {
        self.line(name, format_args!("ok: {value}"));
    }

    fn bad(&mut self, name: &str, value: impl std::fmt::Display) {
        self.troubles += 1;
        self.line(name, format_args!("TROUBLE: {value}"));
    }

    /// The effective settings; a connection string may hold a password and is not shown.
    fn settings(&mut self, config: &Config) {
        self.line("MESHER_LISTEN", config.listen);
        self.line("MESHER_PUBLIC_URL", config.base_url());
        self.line("MESHER_DATA_DIR", config.data_dir.display());
        let database = match config.database_url {
            Some(_) => "(set, not shown)",
            None => "(unset: the private cluster in the data directory)",
        };
        self.line("MESHER_DATABASE_URL", database);
        self.line("MESHER_RATE_LIMIT", config.rate_limit);
        self.line("MESHER_SPOOL_MIB", config.spool_mib);
        self.line("MESHER_LOG", &config.log);
    }

    fn directory(&mut self, directory: &Path) {
        const NAME: &str = "data directory";
        if let Err(error) = std::fs::create_dir_all(directory) {
            return self.bad(
                NAME,
                format_args!("{error}; choose another with MESHER_DATA_DIR"),
            );
        }
        match rustix::fs::statvfs(directory) {
            Ok(disk) if disk.f_bavail * disk.f_frsize < DISK_BYTES_MIN => self.bad(
                NAME,
                format_args!(
                    "{} MiB are free, at least {} are needed",
                    (disk.f_bavail * disk.f_frsize) >> 20,
                    DISK_BYTES_MIN >> 20
                ),
            ),
            Ok(disk) => self.good(
                NAME,
                format_args!("{} MiB are free", (disk.f_bavail * disk.f_frsize) >> 20),
            ),
            Err(error) => self.bad(NAME, error),
        }
    }

    async fn database(&mut self, config: &Config) {
        let system = commands::system();
        let session = match Session::open(&system, config).await {
            Ok(session) => session,
            Err(failure) => return self.bad("database", failure),
        };
        match health::read(&session.client).await {
            Ok(health) => self.health(&health),
            Err(error) => self.bad("database", error),
        }
        if let Err(failure) = session.close(&system).await {
            self.bad("database", failure);
        }
    }

    fn health(&mut self, health: &DatabaseHealth) {
        self.good("database", format_args!("PostgreSQL {}", health.version));
        // The managers make them ahead; a server that has not run for days has none yet, and makes them at its next start.
        self.line("partitions", health.partitions);
        self.line("events", format_args!("{} ever stored", health.events));
        self.line(
            "disk of the database",
            format_args!("{} MiB", health.bytes >> 20),
        );
        if health.quarantined == 0 {
            self.good("quarantine", "empty");
        } else {
            self.bad(
                "quarantine",
                format_args!(
                    "{} events could not be processed or stored; GET /api/v1/projects/PROJECT/quarantine tells why",
                    health.quarantined
                ),
            );
        }
    }
}
