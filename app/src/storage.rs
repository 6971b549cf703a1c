//! Storage: PostgreSQL, private or given; its tables, the one writer of events, and the queries of the API.
//!
//! What runs, in this order, rest for one ([`Database::children`](database::Database::children)): the private server's
//! [`keeper`], the [`pool`], the [`schema_manager`], the [`partition_manager`], the [`writer`]. Everything else is functions on
//! a client. The database being away is a state of theirs, not a crash.

mod copy;
pub mod cursor;
pub mod database;
pub mod embedded;
pub mod events;
pub mod health;
pub mod issues;
pub mod keeper;
pub mod key_memory;
pub mod migrate;
pub mod outcomes;
pub mod partition_manager;
pub mod partitions;
pub mod payload_dictionaries;
pub mod pool;
pub mod projects;
pub mod quarantine;
pub mod retention;
pub mod schema_manager;
pub mod secret;
pub mod sessions;
pub mod setup;
pub mod spools;
pub mod tokens;
mod transaction;
pub mod user_reports;
pub mod users;
pub mod writer;

/// Every SQL statement of the program, with where it stands; a test prepares each against a migrated database.
#[must_use]
pub fn statements() -> Vec<(&'static str, &'static str)> {
    let modules: [(&str, &[&str]); 18] = [
        ("copy", copy::STATEMENTS),
        ("events", events::STATEMENTS),
        ("health", health::STATEMENTS),
        ("issues", issues::STATEMENTS),
        ("issues/record", issues::record::STATEMENTS),
        ("migrate", migrate::STATEMENTS),
        ("outcomes", outcomes::STATEMENTS),
        ("partitions", partitions::STATEMENTS),
        ("payload_dictionaries", payload_dictionaries::STATEMENTS),
        ("projects", projects::STATEMENTS),
        ("quarantine", quarantine::STATEMENTS),
        ("retention", retention::STATEMENTS),
        ("sessions", sessions::STATEMENTS),
        ("setup", setup::STATEMENTS),
        ("spools", spools::STATEMENTS),
        ("tokens", tokens::STATEMENTS),
        ("user_reports", user_reports::STATEMENTS),
        ("users", users::STATEMENTS),
    ];
    modules
        .into_iter()
        .chain(writer::STATEMENTS.iter().map(|part| ("writer", *part)))
        .flat_map(|(module, statements)| statements.iter().map(move |sql| (module, *sql)))
        .collect()
}
