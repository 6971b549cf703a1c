//! Structured logs: readable lines on a terminal, one JSON object a line otherwise.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// What is never logged, whatever the filter says.
const SILENCED: [&str; 4] = [
    "tokio_postgres=off",
    "tokio_postgres::query=off",
    "tokio_postgres::prepare=off",
    "tokio_postgres::copy_in=off",
];

/// A log filter that could not be read.
#[derive(Debug)]
pub struct LogFilterError {
    filter: String,
    cause: String,
}

impl std::fmt::Display for LogFilterError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "MESHER_LOG is {:?}: {}; expected directives such as info or warn,mesher=debug",
            self.filter, self.cause
        )
    }
}

impl std::error::Error for LogFilterError {}

/// Sets up logging for the whole program, to standard error; standard output belongs to the answers of commands.
///
/// # Errors
/// [`LogFilterError`] if `filter` is not a list of `tracing` directives.
pub fn init(filter: &str) -> Result<(), LogFilterError> {
    let directives = EnvFilter::try_new(filter).map_err(|cause| LogFilterError {
        filter: filter.to_owned(),
        cause: cause.to_string(),
    })?;
    // The driver logs every statement's parameters at debug: keys, hashes, addresses, whole events. No setting opens that.
    let directives = SILENCED.iter().fold(directives, |directives, silenced| {
        directives.add_directive(silenced.parse().expect("a fixed directive is well-formed"))
    });
    let builder = tracing_subscriber::fmt()
        .with_env_filter(directives)
        // A line that cannot be written is let go: the complaint about it would panic when standard error is closed.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    // A second set-up in one process (tests) keeps the first one; that is not an error.
    let _ = if std::io::stderr().is_terminal() {
        builder.with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_bad_filter_says_what_is_expected() {
        let text = super::init("mesher=loud").unwrap_err().to_string();
        assert!(
            text.contains("MESHER_LOG") && text.contains("expected"),
            "{text}"
        );
    }
}
