//! Files: at most 500 lines, a first sentence that says what it is, no `mod.rs`, and every source file reached by a `mod` line.

use crate::Entry;

const LINES_MAX: usize = 500;

/// Written by a tool and never edited.
const GENERATED: [&str; 3] = ["package-lock.json", "schema.ts", "openapi.json"];

pub(crate) fn complaints(tree: &[Entry]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in tree {
        found.extend(too_long(entry));
        if entry.path.ends_with(".rs") {
            found.extend(headless(entry));
            found.extend(old_module_form(entry));
            found.extend(orphan(entry, tree));
        }
    }
    found
}

fn too_long(entry: &Entry) -> Option<String> {
    let written = [
        ".rs", ".ts", ".vue", ".css", ".mjs", ".js", ".py", ".sql", ".toml", ".yml",
    ];
    let script = entry.path.starts_with("script/") || entry.path.starts_with(".ci/");
    let counts = script || written.iter().any(|end| entry.path.ends_with(end));
    let generated = GENERATED.iter().any(|name| entry.path.ends_with(name));
    let lines = entry.text.lines().count();
    (counts && !generated && lines > LINES_MAX)
        .then(|| format!("{}: {lines} lines, more than {LINES_MAX}", entry.path))
}

fn headless(entry: &Entry) -> Option<String> {
    let first = entry.text.lines().next().unwrap_or_default();
    let says = first
        .strip_prefix("//! ")
        .is_some_and(|sentence| sentence.trim().len() > 3);
    (!says).then(|| {
        format!(
            "{}: must open with a `//!` sentence that says what it is",
            entry.path
        )
    })
}

fn old_module_form(entry: &Entry) -> Option<String> {
    entry.path.ends_with("/mod.rs").then(|| {
        format!(
            "{}: a module's face is `foo.rs` beside `foo/`, never mod.rs",
            entry.path
        )
    })
}

/// A file under `src/` that no `mod` line of its parent names is never compiled.
fn orphan(entry: &Entry, tree: &[Entry]) -> Option<String> {
    let (package, inside) = entry.path.split_once("/src/")?;
    let stem = inside.strip_suffix(".rs")?;
    if ["lib", "main", "build"].contains(&stem) || inside.starts_with("bin/") {
        return None;
    }
    let parents = match stem.rsplit_once('/') {
        Some((folder, _)) => vec![format!("{package}/src/{folder}.rs")],
        None => vec![
            format!("{package}/src/lib.rs"),
            format!("{package}/src/main.rs"),
        ],
    };
    let name = stem.rsplit('/').next().unwrap_or(stem);
    let line = format!("mod {name};");
    let names_it = |text: &str| text.lines().any(|l| l.trim_end().ends_with(&line));
    let reached = tree
        .iter()
        .any(|other| parents.contains(&other.path) && names_it(&other.text));
    (!reached).then(|| {
        format!(
            "{}: orphan, no `{line}` in {}",
            entry.path,
            parents.join(" or ")
        )
    })
}

#[test]
fn a_long_file_is_named() {
    let long = Entry::new("app/src/a.rs", &"x\n".repeat(501));
    assert!(too_long(&long).is_some());
    assert!(too_long(&Entry::new("app/src/a.rs", &"x\n".repeat(500))).is_none());
    assert!(too_long(&Entry::new("script/test", &"x\n".repeat(501))).is_some());
    assert!(
        too_long(&Entry::new(
            "app/dashboard/package-lock.json",
            &"x\n".repeat(9000)
        ))
        .is_none()
    );
}

#[test]
fn a_file_without_a_sentence_is_named() {
    assert!(headless(&Entry::new("a.rs", "use x;\n//! Late.")).is_some());
    assert!(headless(&Entry::new("a.rs", "//!\n")).is_some());
    assert!(headless(&Entry::new("a.rs", "//! What it is.\n")).is_none());
}

#[test]
fn mod_rs_is_named() {
    assert!(old_module_form(&Entry::new("app/src/a/mod.rs", "")).is_some());
    assert!(old_module_form(&Entry::new("app/src/a_mod.rs", "")).is_none());
}

#[test]
fn an_orphan_is_named() {
    let face = Entry::new("app/src/a.rs", "//! A.\npub(crate) mod part;\n");
    let lib = Entry::new("app/src/lib.rs", "//! L.\nmod a;\n");
    let tree = [
        face,
        lib,
        Entry::new("app/src/a/part.rs", ""),
        Entry::new("app/src/a/lost.rs", ""),
        Entry::new("app/src/b.rs", ""),
    ];
    let lost: Vec<String> = tree.iter().filter_map(|file| orphan(file, &tree)).collect();
    assert_eq!(lost.len(), 2, "{lost:?}");
    assert!(lost[0].starts_with("app/src/a/lost.rs") && lost[1].starts_with("app/src/b.rs"));
}
