//! The command line: what `mesher` can be told to do, and how it reports that it cannot.

mod client;
mod commands;
mod connect;
mod doctor;
mod load;
mod send_event;
mod serve;

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::config::{Config, Flags, LOG_DEFAULT, env};
use crate::telemetry::logging;

/// Self-hosted error monitoring: point your Sentry SDK's DSN at it.
#[derive(Debug, Parser)]
#[command(
    name = "mesher",
    version,
    about,
    after_help = "Without a command, mesher serves. Every setting can also be given as an environment variable; \
                  flags win. Without a database URL, mesher runs its own PostgreSQL inside its data directory."
)]
struct Arguments {
    /// Address and port to listen on [env: MESHER_LISTEN] [default: 127.0.0.1:8080]
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// URL under which people and SDKs reach this server [env: MESHER_PUBLIC_URL] [default: from --listen]
    #[arg(long, global = true, value_name = "URL")]
    public_url: Option<String>,
    /// Directory of the event log and of the embedded database [env: MESHER_DATA_DIR] [default: the user's data directory; /var/lib/mesher as root]
    #[arg(long, global = true, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    /// A PostgreSQL to use instead of the embedded one [env: MESHER_DATABASE_URL]
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// What to log, such as info or warn,mesher=debug [env: MESHER_LOG]
    #[arg(long, global = true, value_name = "DIRECTIVES")]
    log: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (what mesher does without a command)
    Serve,
    /// Bring the database's schema up to date, then exit
    Migrate,
    /// Print a project's DSN
    Dsn {
        /// Slug, number or UUID of the project
        #[arg(long, default_value = "default", value_name = "PROJECT")]
        project: String,
    },
    /// Manage API tokens
    Token {
        #[command(subcommand)]
        action: TokenCommand,
    },
    /// Open psql on Mesher's database; what follows is passed on to psql
    Psql {
        /// Arguments for psql, for example: -c "SELECT count(*) FROM events"
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "ARGUMENTS"
        )]
        arguments: Vec<String>,
    },
    /// Show the effective settings, and whether what they name works
    Doctor,
    /// Send one event the way an SDK does, and print its id
    SendEvent(send_event::SendEvent),
    /// Send as many events as the server takes; tell how many, how fast, and whether one was lost
    Load(load::Load),
    /// Print the version
    Version,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make an API token and print it; it cannot be shown again
    Create {
        /// What the token is for, so that you know which one to revoke
        name: String,
    },
}

/// Why a command failed: one line for the operator that says what to do.
#[derive(Clone, Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(text: impl fmt::Display) -> Failure {
        Failure(text.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Runs the command that the process's arguments name; returns the process's exit code.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return misspoken(&error),
    };
    match run(arguments) {
        Ok(code) => code,
        Err(failure) => {
            complain(&failure);
            ExitCode::FAILURE
        }
    }
}

/// Help, where it was asked for; otherwise what is wrong with the arguments, in one line like every other refusal.
fn misspoken(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // Whoever asked may have left before the end.
        let _ = error.print();
    } else {
        complain(&one_line(&error.to_string()));
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// The parser's paragraphs without its usage, which `--help` shows.
fn one_line(text: &str) -> String {
    let said: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:"))
        .filter(|line| !line.is_empty() && !line.starts_with("For more information"))
        .map(|line| {
            line.trim_start_matches("error: ")
                .trim_start_matches("tip: ")
        })
        .collect();
    format!(
        "{}; mesher --help says what there is",
        said.join("; ").replace(":; ", ": ")
    )
}

/// The one line of a refusal, to standard error; whoever read it may have left, and then nobody is to be told.
fn complain(line: &dyn fmt::Display) {
    let _ = writeln!(io::stderr(), "mesher: {line}");
}

/// The answer of a short command, alone on standard output.
///
/// `println!` would panic when whoever reads has left.
pub(crate) fn answer(line: &dyn fmt::Display) -> Result<(), Failure> {
    writeln!(io::stdout(), "{line}")
        .map_err(|error| Failure::new(format!("cannot print the answer: {error}")))
}

fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let flags = Flags {
        listen: arguments.listen,
        public_url: arguments.public_url,
        data_dir: arguments.data_dir,
        database_url: arguments.database_url,
        log: arguments.log,
    };
    let command = arguments.command.unwrap_or(Command::Serve);
    let log_default = match command {
        Command::Serve => LOG_DEFAULT,
        // A short command's answer stands alone, unless something is wrong.
        _ => "warn",
    };
    let config = Config::resolve(
        flags,
        &env::variables(),
        env::default_data_dir(),
        log_default,
    )
    .map_err(Failure::new)?;
    logging::init(&config.log).map_err(Failure::new)?;
    match command {
        Command::Serve => serve::serve(config).map(|()| ExitCode::SUCCESS),
        Command::Migrate => commands::migrate(&config).map(|()| ExitCode::SUCCESS),
        Command::Dsn { project } => commands::dsn(&config, &project).map(|()| ExitCode::SUCCESS),
        Command::Token {
            action: TokenCommand::Create { name },
        } => commands::token_create(&config, &name).map(|()| ExitCode::SUCCESS),
        Command::Psql { arguments } => commands::psql(&config, &arguments),
        Command::Doctor => doctor::run(&config),
        Command::SendEvent(event) => send_event::run(&config, &event).map(|()| ExitCode::SUCCESS),
        Command::Load(load) => load::run(&config, &load),
        Command::Version => {
            answer(&concat!("mesher ", env!("CARGO_PKG_VERSION"))).map(|()| ExitCode::SUCCESS)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_the_parser_says_fits_a_line() {
        for (arguments, line) in [
            (
                &["mesher", "srve"][..],
                "unrecognized subcommand 'srve'; a similar subcommand exists: 'serve'; mesher --help says what there is",
            ),
            (
                &["mesher", "token", "create"],
                "the following required arguments were not provided: <NAME>; mesher --help says what there is",
            ),
        ] {
            let error = Arguments::try_parse_from(arguments).unwrap_err();
            assert_eq!(one_line(&error.to_string()), line);
        }
    }

    #[test]
    fn psql_gets_its_arguments_untouched() {
        let arguments =
            Arguments::try_parse_from(["mesher", "psql", "-At", "-c", "SELECT 1"]).unwrap();
        let Some(Command::Psql { arguments }) = arguments.command else {
            panic!("not psql: {arguments:?}");
        };
        assert_eq!(arguments, ["-At", "-c", "SELECT 1"]);
    }
}
