//! Documents: one title each, links inside the tree that lead somewhere, and a reason for every dependency.

use crate::Entry;

/// The decision record that gives each dependency its line.
const DEPENDENCIES: &str = "docs/decisions/0003-dependencies.md";

pub(crate) fn complaints(tree: &[Entry], exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let documents = tree.iter().filter(|entry| entry.path.ends_with(".md"));
    let each = |entry: &Entry| {
        let lines = outside_code(&entry.text);
        titles(&entry.path, &lines)
            .into_iter()
            .chain(dead_links(entry, &lines, tree, exists))
            .collect::<Vec<_>>()
    };
    documents.flat_map(each).collect()
}

/// Every workspace dependency, and every one of a `package.json` or `requirements.txt`, must be named in backticks.
pub(crate) fn unexplained_dependencies(tree: &[Entry]) -> Vec<String> {
    let Some(record) = tree.iter().find(|entry| entry.path == DEPENDENCIES) else {
        return vec![format!("{DEPENDENCIES} is missing")];
    };
    let mut found = Vec::new();
    for entry in tree {
        for name in dependencies(entry) {
            if !record.text.contains(&format!("`{name}`")) {
                found.push(format!(
                    "{}: {name} has no line in {DEPENDENCIES}",
                    entry.path
                ));
            }
        }
    }
    found
}

fn titles(path: &str, lines: &[(usize, &str)]) -> Option<String> {
    let titles = lines
        .iter()
        .filter(|(_, line)| line.starts_with("# "))
        .count();
    (titles != 1).then(|| format!("{path}: {titles} titles (`# `), not one"))
}

fn dead_links(
    entry: &Entry,
    lines: &[(usize, &str)],
    tree: &[Entry],
    exists: &dyn Fn(&str) -> bool,
) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in lines {
        for target in links(line) {
            let outside = target.contains("://") || target.starts_with("mailto:");
            if !outside && !leads_somewhere(&entry.path, target, tree, exists) {
                found.push(format!("{}:{number}: dead link {target}", entry.path));
            }
        }
    }
    found
}

fn leads_somewhere(
    from: &str,
    target: &str,
    tree: &[Entry],
    exists: &dyn Fn(&str) -> bool,
) -> bool {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() {
        from.to_owned()
    } else {
        resolve(from, path)
    };
    if !exists(&path) {
        return false;
    }
    let Some(document) = tree
        .iter()
        .find(|entry| entry.path == path && path.ends_with(".md"))
    else {
        return true;
    };
    let headings = outside_code(&document.text);
    anchor.is_empty()
        || headings
            .iter()
            .any(|(_, line)| line.starts_with('#') && slug(line) == anchor)
}

fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// The anchor that the usual renderers give a heading.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn links(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find("](") {
        rest = &rest[at + 2..];
        let end = rest.find([')', ' ']).unwrap_or(rest.len());
        found.push(&rest[..end]);
    }
    found
}

/// The numbered lines outside fenced code.
fn outside_code(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut kept = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            kept.push((at + 1, line));
        }
    }
    kept
}

fn dependencies(entry: &Entry) -> Vec<String> {
    match entry.path.rsplit('/').next().unwrap_or_default() {
        "Cargo.toml" => cargo_dependencies(&entry.text),
        "package.json" => npm_dependencies(&entry.text),
        "requirements.txt" => {
            let named = entry.text.lines().filter_map(|line| line.split_once("=="));
            named.map(|(name, _)| name.to_owned()).collect()
        }
        _ => Vec::new(),
    }
}

fn cargo_dependencies(text: &str) -> Vec<String> {
    let mut in_table = false;
    let mut names = Vec::new();
    for line in text.lines() {
        if line.starts_with('[') {
            in_table = line.trim_end_matches(']').ends_with("dependencies");
        } else if in_table && line.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            if !["mesh-runtime", "mesher"].contains(&name) {
                names.push(name.to_owned());
            }
        }
    }
    names
}

fn npm_dependencies(text: &str) -> Vec<String> {
    let package: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let tables = ["dependencies", "devDependencies"]
        .map(|table| package[table].as_object().cloned().unwrap_or_default());
    tables
        .into_iter()
        .flat_map(|table| table.into_iter().map(|(name, _)| name))
        .collect()
}

#[test]
fn one_title() {
    let complain = |text: &str| complaints(&[Entry::new("a.md", text)], &|_| true).len();
    assert_eq!(complain("# One\n```\n# a comment\n```\n## Two\n"), 0);
    assert_eq!(complain("## None\n"), 1);
    assert_eq!(complain("# One\n# Two\n"), 1);
}

#[test]
fn dead_links_are_named() {
    let tree = [Entry::new(
        "docs/a.md",
        "# A\n[up](../README.md) [web](https://example.org) [gone](b.md)\n[top](#a) [bad](#b)",
    )];
    let found = complaints(&tree, &|path| path == "README.md" || path == "docs/a.md");
    assert_eq!(
        found,
        ["docs/a.md:2: dead link b.md", "docs/a.md:3: dead link #b"]
    );
}

#[test]
fn an_unexplained_dependency_is_named() {
    let manifest = Entry::new(
        "Cargo.toml",
        "[package]\nname = \"x\"\n[workspace.dependencies]\nbytes = \"1\"\ntokio = { version = \"1\" }\n",
    );
    let npm = Entry::new(
        "app/dashboard/package.json",
        "{\"devDependencies\": {\"vite\": \"1\"}}",
    );
    let python = Entry::new("sdk/requirements.txt", "sentry-sdk==2\n");
    let record = Entry::new(DEPENDENCIES, "# D\n- `bytes`: shared buffers\n");
    let found = unexplained_dependencies(&[manifest, npm, python, record]);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found[0].contains("tokio") && found[1].contains("vite") && found[2].contains("sentry-sdk")
    );
}
