//! Settings, words and directories that cannot be used: each is refused in one line that says what to do.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use dogfood_tests::operator::Ended;
use dogfood_tests::postgres;
use dogfood_tests::server::Mesher;

use crate::{SOON, answer, refusal};

#[test]
fn wrong_settings_are_refused_in_one_line() {
    let mesher = Mesher::new().expect("a mesher");
    let with = |name: &str, value: &str, says: &[&str]| {
        refusal(mesher.command(&[]).env(name, value), says);
    };
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    with(
        "MESHER_LISTEN",
        &address,
        &[&address, "another program", "MESHER_LISTEN="],
    );
    with(
        "MESHER_LISTEN",
        "192.0.2.1:8080",
        &["192.0.2.1:8080", "MESHER_LISTEN"],
    );
    for nonsense in ["8080", "localhost:http", "127.0.0.1:99999"] {
        with(
            "MESHER_LISTEN",
            nonsense,
            &["MESHER_LISTEN", nonsense, "expected an address and a port"],
        );
    }
    with(
        "MESHER_LISTN",
        "127.0.0.1:1",
        &["MESHER_LISTN", "did you mean MESHER_LISTEN"],
    );
    with(
        "MESHER_DATABASE_URI",
        "postgres://u:hunter2@h/d",
        &["did you mean MESHER_DATABASE_URL"],
    );
    with(
        "MESHER_PUBLIC_URL",
        "errors.example.com",
        &["MESHER_PUBLIC_URL", "expected a URL"],
    );
    with("MESHER_LOG", "mesher=loud", &["MESHER_LOG", "expected"]);
    with("MESHER_TEST_HOOKS", "yes", &["MESHER_TEST_HOOKS", "0 or 1"]);
    refusal(
        mesher
            .command(&["migrate"])
            .env(
                "MESHER_DATABASE_URL",
                "postgres://u:hunter2@localhost/d?sslmode=verify-full",
            )
            .env("MESHER_DATABASE_CA", "/nowhere/ca.pem"),
        &["/nowhere/ca.pem", "MESHER_DATABASE_CA"],
    );
    for url in [
        "not a url",
        "mysql://u:hunter2@localhost/d",
        "postgres://u:hunter2@localhost:port/d",
        "postgres://",
    ] {
        with(
            "MESHER_DATABASE_URL",
            url,
            &[
                "MESHER_DATABASE_URL",
                "postgres://USER:PASSWORD@HOST:5432/DATABASE",
            ],
        );
        refusal(
            mesher.command(&["dsn"]).env("MESHER_DATABASE_URL", url),
            &["MESHER_DATABASE_URL"],
        );
    }
    drop(taken);
    let unreachable = format!("postgres://mesher:hunter2@{address}/mesher");
    with(
        "MESHER_DATABASE_URL",
        &unreachable,
        &[
            "cannot reach the database of MESHER_DATABASE_URL",
            "refused",
            "check",
        ],
    );
    assert!(
        !mesher.data_dir().join("postgres").exists(),
        "nothing was started for a refusal"
    );
}

#[test]
fn wrong_commands_are_refused_in_one_line() {
    let mesher = Mesher::new().expect("a mesher");
    for (arguments, says) in [
        (&["srve"][..], &["srve", "serve", "--help"][..]),
        (&["--no-such-flag"], &["--no-such-flag", "--help"]),
        (&["token", "create"], &["NAME", "--help"]),
        (&["token", "create", " "], &["a token needs a name"]),
        (&["dsn", "extra"], &["extra", "--help"]),
        (&["--listen"], &["--listen", "--help"]),
    ] {
        refusal(&mut mesher.command(arguments), says);
    }
}

#[test]
fn version_and_help_stand_alone() {
    let mesher = Mesher::new().expect("a mesher");
    let version = answer(&mesher, &["version"]);
    assert!(
        version.starts_with("mesher ") && version.contains('.'),
        "{version}"
    );
    let help = Ended::of(&mut mesher.command(&["--help"]), SOON).expect("help ends");
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    let words = [
        "serve",
        "migrate",
        "dsn",
        "token",
        "psql",
        "version",
        "MESHER_LISTEN",
        "127.0.0.1:8080",
        "MESHER_DATA_DIR",
        "MESHER_DATABASE_URL",
        "MESHER_LOG",
        "MESHER_PUBLIC_URL",
    ];
    for word in words {
        assert!(help.stdout.contains(word), "--help does not say {word}");
    }
}

#[test]
fn a_data_directory_that_cannot_be_used_is_refused() {
    let mesher = Mesher::new().expect("a mesher");
    let home = mesher.data_dir().parent().expect("a home").to_owned();
    let file = home.join("file");
    fs::write(&file, "").expect("a file");
    refusal(
        mesher.command(&[]).env("MESHER_DATA_DIR", &file),
        &["file", "MESHER_DATA_DIR"],
    );

    let closed = home.join("closed");
    fs::create_dir(&closed).expect("a directory");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).expect("its mode");
    // Root may write everywhere, so that it is an ordinary user who is refused.
    let ordinary = |command: &mut Command| {
        if let Some((user, group)) = postgres::unprivileged().expect("a user") {
            command.gid(group).uid(user);
        }
    };
    for arguments in [&[][..], &["dsn"], &["psql", "-c", "SELECT 1"]] {
        for directory in [closed.clone(), closed.join("below")] {
            let mut command = mesher.command(arguments);
            ordinary(&mut command);
            refusal(
                command.env("MESHER_DATA_DIR", &directory),
                &["closed", "MESHER_DATA_DIR"],
            );
        }
    }
}
