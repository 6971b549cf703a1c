//! The house rules, as a test: file size and headers, who imports whom, no orphan file, banned words, documents and their links.
//!
//! Each rule is a pure function from text to complaints in `tidy/`; this file walks the tree and gathers them.

#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/files.rs"]
mod files;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/words.rs"]
mod words;

use std::fs;
use std::path::{Path, PathBuf};

/// Folders and files that tools make.
const FOREIGN: [&str; 8] = [
    "target",
    "node_modules",
    "dist",
    ".git",
    ".cache",
    ".mesher",
    ".vite",
    "__pycache__",
];

/// One file of the tree: its path from the root, with `/`, and its text.
struct Entry {
    path: String,
    text: String,
}

impl Entry {
    fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every text file that is ours: not built, not installed, not of a tool.
fn tree() -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(&folder).expect("a folder of the tree") {
            let path = item.expect("an entry").path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if FOREIGN.contains(&name) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let path = path
                    .strip_prefix(root())
                    .expect("inside the root")
                    .to_string_lossy()
                    .replace('\\', "/");
                entries.push(Entry { path, text });
            }
        }
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    entries
}

fn assert_tidy(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn files_are_short_headed_and_reached() {
    assert_tidy(files::complaints(&tree()));
}

#[test]
fn imports_point_one_way() {
    assert_tidy(imports::complaints(&tree()));
}

#[test]
fn no_banned_word() {
    assert_tidy(words::complaints(&tree()));
}

#[test]
fn documents_have_one_title_and_links_that_lead_somewhere() {
    assert_tidy(documents::complaints(&tree(), &|path| {
        root().join(path).exists()
    }));
}

#[test]
fn every_dependency_has_its_reason() {
    assert_tidy(documents::unexplained_dependencies(&tree()));
}

#[test]
fn the_walk_sees_the_house() {
    let paths: Vec<String> = tree().into_iter().map(|entry| entry.path).collect();
    for expected in [
        "Cargo.toml",
        "app/src/main.rs",
        "runtime/src/lib.rs",
        ".ci/run",
        "README.md",
    ] {
        assert!(
            paths.iter().any(|path| path == expected),
            "{expected} is missing from the walk"
        );
    }
}
