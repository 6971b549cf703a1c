//! The whole program at small sizes: every row runs, and what it leaves behind can be read.

use std::process::{Command, Output};

fn benches(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_benches"));
    command.args(words).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Two of row 10 never come back from the flood, so this is not everybody.
const ASKED: [&str; 11] = [
    "tokio",
    "tokio recv_many",
    "tokio mpsc + oneshot",
    "tokio Vec of senders",
    "tokio bare respawn",
    "DelayQueue",
    "DashMap of senders",
    "warp by hand",
    "tokio-websockets",
    "bb8",
    "bb8 untested",
];

#[test]
fn every_row_runs_and_is_written_down() {
    let folder = tempfile::tempdir().expect("a folder");
    let into = folder.path().to_str().expect("a plain path");
    let mut words = vec!["--quick", "--pairs", "2", "--into", into];
    words.extend(ASKED.iter().flat_map(|name| ["--only", name]));
    let output = benches(&words);
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}");

    let read =
        |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("it was written");
    let results: serde_json::Value = serde_json::from_str(&read("results.json")).expect("JSON");
    let rows = results["rows"].as_object().expect("rows by id");
    assert_eq!(rows.len(), 21, "{said}");
    for (id, row) in rows {
        let entries = row["entries"].as_array().expect("contenders");
        assert!(
            id == "5b" || entries.len() > 1,
            "nobody beside ours in {id}"
        );
        for entry in entries {
            assert_eq!(entry["note"], serde_json::Value::Null, "{id}: {entry}");
            assert_eq!(
                entry["runs"].as_array().map(Vec::len),
                Some(2),
                "{id}: {entry}"
            );
        }
    }
    assert_eq!(read("RESULTS.md").matches("\n## ").count(), 2 + rows.len());
    assert!(read("results.svg").ends_with("</svg>\n"));
}

#[test]
fn a_run_of_one_row_leaves_the_others_as_they_were() {
    let folder = tempfile::tempdir().expect("a folder");
    let into = folder.path().to_str().expect("a plain path");
    let run = |row| {
        let words = [
            "--quick", "--pairs", "1", "--only", "tokio", "--into", into, row,
        ];
        assert!(benches(&words).status.success());
        let file = std::fs::read_to_string(folder.path().join("results.json"));
        serde_json::from_str::<serde_json::Value>(&file.expect("it was written")).expect("JSON")
    };
    let first = run("tell");
    let both = run("4");
    assert_eq!(first["rows"]["1"], both["rows"]["1"]);
    assert!(first["rows"]["4"].is_null() && both["rows"]["4"].is_object());
}

/// Those that are quick to ask.
const PEERS: [&str; 9] = [
    "ractor",
    "kameo",
    "xtra",
    "actix",
    "warp serve",
    "axum",
    "warp::ws",
    "tokio-tungstenite",
    "deadpool",
];

#[test]
fn peers_do_the_same_work() {
    for row in [
        "tell",
        "call",
        "ring",
        "spawn-stop",
        "crash",
        "broadcast",
        "registry",
        "timer-lateness",
        "http",
        "ws-fan-out",
        "pool-checkout",
    ] {
        let mut words = vec!["--quick", "--pairs", "1", row];
        words.extend(PEERS.iter().flat_map(|name| ["--only", name]));
        let output = benches(&words);
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{said}");
        for failure in ["the run failed", "did not end"] {
            assert!(!said.contains(failure), "{said}");
        }
    }
}

#[test]
fn rows_are_listed_and_an_unknown_one_is_refused() {
    let listed = text(&benches(&["--list"]).stdout);
    // A line for what a row asks, and one for who answers: 15 rows of the runtime, 6 of the edges.
    assert_eq!(listed.lines().count(), 42, "{listed}");
    let refused = benches(&["eleven"]);
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).contains("no row `eleven`"));
}
