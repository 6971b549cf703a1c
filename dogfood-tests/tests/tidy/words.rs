//! Words that may not stand in the tree: paths of one machine, hosts of registries, notes to nobody, and names with a better name.

use crate::{Entry, source};

/// In any file. Written in two halves, so that this file does not ban itself.
const ANYWHERE: [(&str, &str, &str); 8] = [
    ("/wo", "rk/", "a path of one machine"),
    ("/tmp/", "wt/", "a path of one machine"),
    ("/tmp/", "brief", "a path of one machine"),
    ("registry.npm", "js.org", "a registry host"),
    ("index.crates", ".io", "a registry host"),
    ("static.crates", ".io", "a registry host"),
    ("files.python", "hosted.org", "a registry host"),
    ("deb.deb", "ian.org", "a registry host"),
];

/// In comments and code of ours.
const NOTES: [(&str, &str); 3] = [("TO", "DO"), ("FIX", "ME"), ("XX", "X")];

/// In Rust code: the vocabulary has another word.
const CODE: [(&str, &str); 4] = [
    ("ActorRef", "Address"),
    ("ActorId", "Pid"),
    ("UnboundedSender", "a bounded mailbox"),
    ("unbounded_channel", "a bounded mailbox"),
];

pub(crate) fn complaints(tree: &[Entry]) -> Vec<String> {
    tree.iter()
        .flat_map(|entry| {
            anywhere(entry)
                .into_iter()
                .chain(notes(entry))
                .chain(code(entry))
        })
        .collect()
}

fn anywhere(entry: &Entry) -> Vec<String> {
    let hit = |(a, b, why): &(&str, &str, &str)| {
        let line = line_of(&entry.text, &format!("{a}{b}"))?;
        Some(format!("{}:{line}: {why}", entry.path))
    };
    ANYWHERE.iter().filter_map(hit).collect()
}

fn notes(entry: &Entry) -> Vec<String> {
    let ours = [
        ".rs", ".ts", ".vue", ".css", ".mjs", ".py", ".sql", ".md", ".toml", ".yml",
    ];
    if !ours.iter().any(|end| entry.path.ends_with(end)) {
        return Vec::new();
    }
    let hit = |(a, b): &(&str, &str)| {
        let word = format!("{a}{b}");
        let whole = |line: &str| {
            line.split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|part| part == word)
        };
        let line = entry.text.lines().position(whole)? + 1;
        Some(format!(
            "{}:{line}: {word}: an issue, or nothing",
            entry.path
        ))
    };
    NOTES.iter().filter_map(hit).collect()
}

fn code(entry: &Entry) -> Vec<String> {
    if !entry.path.ends_with(".rs") || entry.path.starts_with("benches/") {
        return Vec::new();
    }
    let code = source::without_tests(&source::code_only(&entry.text));
    let mut found = Vec::new();
    for (word, instead) in CODE {
        if let Some(line) = line_of(&code, word) {
            found.push(format!("{}:{line}: {word}: say {instead}", entry.path));
        }
    }
    if entry.path.starts_with("app/") {
        for library in ["hyper", "bb8", "bb8_postgres", "rustls", "tokio_rustls"] {
            if let Some(line) = line_of(&code, &format!(" {library}::")) {
                found.push(format!(
                    "{}:{line}: app names {library}; it belongs to the runtime's edges",
                    entry.path
                ));
            }
        }
    }
    found
}

fn line_of(text: &str, needle: &str) -> Option<usize> {
    text.lines()
        .position(|line| line.contains(needle))
        .map(|at| at + 1)
}

#[test]
fn a_machine_path_is_named_with_its_line() {
    let text = format!("one\n# see {}{}shared", "/wo", "rk/");
    assert_eq!(
        anywhere(&Entry::new("docs/a.md", &text)),
        ["docs/a.md:2: a path of one machine"]
    );
    assert!(anywhere(&Entry::new("a.md", "the network/ and /workers")).is_empty());
}

#[test]
fn a_note_to_nobody_is_named() {
    let text = format!("// {}{}: later", "TO", "DO");
    assert_eq!(notes(&Entry::new("a.rs", &text)).len(), 1);
    assert!(notes(&Entry::new("a.rs", "let method = to_do;")).is_empty());
    assert!(notes(&Entry::new("a.json", &text)).is_empty());
}

#[test]
fn a_name_with_a_better_name_is_named() {
    assert_eq!(
        code(&Entry::new("app/src/a.rs", "fn f(x: ActorRef) {}")).len(),
        1
    );
    assert_eq!(
        code(&Entry::new(
            "app/src/a.rs",
            "use hyper::body;\nuse tokio_rustls::server;"
        ))
        .len(),
        2
    );
    assert!(code(&Entry::new("runtime/src/http.rs", "use hyper::body;")).is_empty());
    assert!(
        code(&Entry::new(
            "app/src/a.rs",
            "// not hyper::body, nor ActorRef"
        ))
        .is_empty()
    );
}
