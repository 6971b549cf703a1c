//! Imports: who may name whom. The tables are the law; a module not in them, or a name not in its row, is a complaint.

use std::collections::BTreeMap;

use crate::{Entry, source};

/// The crates with a table: folder, and rows of (module, what it may import of its own crate).
type Table = &'static [(&'static str, &'static [&'static str])];

/// Layer 0, which any mechanism, process or behaviour may use.
macro_rules! words {
    ($($more:literal),* $(,)?) => {
        &[
            "limits", "telemetry", "clock", "entropy", "node_id", "pid", "name", "reference", "exit", "signal", "error", "reply_to",
            $($more),*
        ]
    };
}

const RUNTIME: Table = &[
    // Layer 0: words.
    ("limits", &[]),
    ("clock", &[]),
    ("entropy", &[]),
    ("sync", &[]),
    ("node_id", &[]),
    ("pid", &["node_id"]),
    ("telemetry", &["pid", "limits"]),
    ("name", &["limits"]),
    ("reference", &["pid"]),
    ("exit", &["pid"]),
    ("signal", &["pid", "reference", "exit", "node_id"]),
    ("error", &["pid", "exit", "name"]),
    (
        "reply_to",
        &["reference", "exit", "error", "sync", "telemetry"],
    ),
    // Layer 1: mechanisms.
    (
        "scheduler",
        &["pid", "exit", "clock", "limits", "telemetry"],
    ),
    (
        "timer",
        &[
            "clock",
            "reference",
            "pid",
            "limits",
            "scheduler",
            "sync",
            "telemetry",
        ],
    ),
    (
        "mailbox",
        &[
            "pid",
            "reference",
            "exit",
            "signal",
            "error",
            "limits",
            "sync",
            "telemetry",
            // The messages of timers wait in the mailbox; a timer knows mailboxes only as its targets.
            "timer",
        ],
    ),
    // Layer 2: processes.
    ("process", words!("mailbox", "scheduler", "timer", "sync")),
    ("address", words!("mailbox", "timer", "process")),
    // Layer 3: behaviours.
    ("actor", words!("mailbox", "process", "address")),
    (
        "service",
        words!("mailbox", "timer", "process", "address", "actor"),
    ),
    (
        "job",
        words!("mailbox", "timer", "process", "address", "actor"),
    ),
    ("group", words!("process", "address", "actor")),
    ("registry", words!("process", "address")),
    (
        "supervisor",
        words!(
            "mailbox", "timer", "process", "address", "actor", "service", "job", "registry"
        ),
    ),
    (
        "worker_pool",
        words!("address", "service", "supervisor", "group"),
    ),
    ("room", words!("mailbox", "process", "address")),
    // Layer 5: assembly.
    (
        "system",
        words!(
            "mailbox",
            "scheduler",
            "timer",
            "process",
            "address",
            "actor",
            "job",
            "supervisor",
            "registry",
            "group",
            "room"
        ),
    ),
    // For tests: a process that is read, and the laboratory, behind its feature.
    (
        "probe",
        words!("mailbox", "timer", "process", "address", "system"),
    ),
    (
        "sim",
        words!("scheduler", "process", "address", "system", "probe"),
    ),
    // The edges, behind features: they stand on what users have, and the core does not know them.
    ("tls", words!()),
    ("http", EDGE),
    ("postgres", EDGE),
    (
        "ws",
        words!(
            "mailbox",
            "timer",
            "process",
            "address",
            "actor",
            "supervisor",
            "room",
            "system",
            "http",
            // A connection's queue is filled by whoever broadcasts: under the same short lock as a mailbox.
            "sync"
        ),
    ),
];

const EDGE: &[&str] = words!(
    "mailbox",
    "timer",
    "process",
    "address",
    "actor",
    "job",
    "supervisor",
    "registry",
    "room",
    "system",
    "tls"
);

const APP: Table = &[
    ("domain", &[]),
    ("pressure", &[]),
    ("dashboard", &[]),
    ("config", &["domain"]),
    ("protocol", &["domain"]),
    ("telemetry", &["config", "domain"]),
    ("storage", &["domain", "config", "pressure", "telemetry"]),
    ("cluster", &["domain", "config", "storage", "telemetry"]),
    ("streaming", &["domain", "config", "storage", "telemetry"]),
    (
        "alerting",
        &[
            "domain",
            "config",
            "storage",
            "cluster",
            "streaming",
            "telemetry",
        ],
    ),
    (
        "processing",
        &[
            "domain",
            "config",
            "storage",
            "streaming",
            "alerting",
            "telemetry",
        ],
    ),
    (
        "ingestion",
        &[
            "domain",
            "config",
            "protocol",
            "pressure",
            "storage",
            "cluster",
            "processing",
            "telemetry",
        ],
    ),
    (
        "api",
        &[
            "domain",
            "config",
            "storage",
            "alerting",
            "cluster",
            "telemetry",
        ],
    ),
    (
        "http",
        &[
            "config",
            "telemetry",
            "ingestion",
            "streaming",
            "api",
            "dashboard",
        ],
    ),
    (
        "supervision",
        &[
            "config",
            "telemetry",
            "pressure",
            "storage",
            "cluster",
            "streaming",
            "api",
            "alerting",
            "processing",
            "ingestion",
            "api",
            "http",
        ],
    ),
    (
        "cli",
        &[
            "config",
            "domain",
            "protocol",
            "telemetry",
            "storage",
            "supervision",
        ],
    ),
];

pub(crate) fn complaints(tree: &[Entry]) -> Vec<String> {
    let mut found = Vec::new();
    for (folder, table) in [("runtime/src/", RUNTIME), ("app/src/", APP)] {
        let lib = tree
            .iter()
            .find(|entry| entry.path == format!("{folder}lib.rs"));
        let exports = lib.map(|lib| re_exports(&lib.text)).unwrap_or_default();
        for entry in tree {
            if let Some(inside) = entry
                .path
                .strip_prefix(folder)
                .and_then(|path| path.strip_suffix(".rs"))
            {
                found.extend(of_file(entry, inside, table, &exports));
            }
        }
    }
    let below = tree
        .iter()
        .filter(|entry| entry.path.starts_with("runtime/src/"));
    found.extend(below.filter_map(names_the_product));
    found
}

/// The runtime never names the product built on it, in any letter case, not even in prose.
fn names_the_product(entry: &Entry) -> Option<String> {
    let text = entry.text.to_lowercase();
    let word = ["mesher", "sentry"]
        .into_iter()
        .find(|word| text.contains(word))?;
    Some(format!("{}: the runtime must not name {word}", entry.path))
}

fn of_file(
    entry: &Entry,
    inside: &str,
    table: Table,
    exports: &BTreeMap<String, String>,
) -> Vec<String> {
    let module = inside.split('/').next().unwrap_or(inside);
    let is_test = inside
        .rsplit('/')
        .next()
        .is_some_and(|name| name.starts_with("tests"));
    if is_test || ["lib", "main"].contains(&module) {
        return Vec::new();
    }
    let Some((_, allowed)) = table.iter().find(|(name, _)| *name == module) else {
        return vec![format!(
            "{}: module {module} has no row in the import table",
            entry.path
        )];
    };
    let code = source::without_tests(&source::code_only(&entry.text));
    let mut found = Vec::new();
    for (line, name) in crate_paths(&code) {
        let target = exports.get(&name).unwrap_or(&name);
        if target != module && !allowed.contains(&target.as_str()) {
            found.push(format!(
                "{}:{line}: {module} may not import {target}",
                entry.path
            ));
        }
    }
    if !inside.contains('/') {
        let up = code
            .lines()
            .position(|line| line.trim_start().starts_with("use super::"));
        found.extend(up.map(|at| format!("{}:{}: say crate::, not super::", entry.path, at + 1)));
    }
    let up = code
        .lines()
        .position(|line| line.contains("super::super::"));
    found
        .extend(up.map(|at| format!("{}:{}: say crate::, not super::super::", entry.path, at + 1)));
    found
}

/// Every first name after `crate::`, with its line; a group gives each of its first names.
fn crate_paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, matched) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let line = code[..at].lines().count().max(1) + usize::from(code[..at].ends_with('\n'));
        let names = first_names(code[at + matched.len()..].trim_start());
        found.extend(names.into_iter().map(|name| (line, name)));
    }
    found
}

/// `a::b` gives a; `{a::{b, c}, d}` gives a and d.
fn first_names(tree: &str) -> Vec<String> {
    let Some(group) = tree.strip_prefix('{') else {
        return vec![word(tree)];
    };
    let (mut depth, mut names, mut expect) = (0_usize, Vec::new(), true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expect = true,
            c if expect && (c.is_alphanumeric() || c == '_') => {
                names.push(word(&group[at..]));
                expect = false;
            }
            _ => {}
        }
    }
    names
}

fn word(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

/// The names that `lib.rs` lifts to the crate's root, each with the module that owns it.
fn re_exports(lib: &str) -> BTreeMap<String, String> {
    let code = source::code_only(lib);
    let mut owners = BTreeMap::new();
    for statement in code.split(';') {
        let Some(at) = statement.find("use ") else {
            continue;
        };
        let path = statement[at + 4..]
            .trim()
            .trim_start_matches("crate::")
            .trim_start_matches("self::");
        let module = word(path);
        let lifted = path[module.len()..]
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .filter(|name| !name.is_empty());
        for name in lifted {
            owners.insert(name.to_owned(), module.clone());
        }
    }
    owners
}

#[test]
fn the_tables_hold_no_circle() {
    for table in [RUNTIME, APP] {
        for (at, (module, allowed)) in table.iter().enumerate() {
            for target in *allowed {
                let below = table[..at].iter().any(|(name, _)| name == target);
                assert!(
                    below,
                    "{module} imports {target}, which does not stand above it in the table"
                );
            }
        }
    }
}

#[cfg(test)]
fn of(path: &str, text: &str) -> Vec<String> {
    let lib = Entry::new(
        "app/src/lib.rs",
        "//! L.\npub use storage::{Database, pool::Pool};\n",
    );
    complaints(&[lib, Entry::new(path, text)])
}

#[test]
fn an_import_that_points_back_is_named() {
    let found = of(
        "app/src/storage/writer.rs",
        "use crate::domain::Issue;\nuse crate::ingestion::Spool;\n",
    );
    assert_eq!(
        found,
        ["app/src/storage/writer.rs:2: storage may not import ingestion"]
    );
}

#[test]
fn groups_paths_and_re_exports_are_seen() {
    let group = of(
        "app/src/streaming.rs",
        "use crate::{domain::{Issue, Event}, api, storage};\n",
    );
    assert_eq!(
        group,
        ["app/src/streaming.rs:1: streaming may not import api"]
    );
    let path = of(
        "app/src/domain.rs",
        "\nfn f() { crate::storage::pool::get() }\n",
    );
    assert_eq!(path, ["app/src/domain.rs:2: domain may not import storage"]);
    assert_eq!(of("app/src/domain.rs", "use crate::Pool;").len(), 1);
    assert!(of("app/src/api.rs", "use crate::Database;").is_empty());
}

#[test]
fn own_parts_tests_and_comments_are_free() {
    assert!(of("app/src/storage.rs", "use crate::storage::writer;\n// crate::api\n#[cfg(test)]\nmod tests { use crate::api; }").is_empty());
    assert!(of("app/src/storage/tests.rs", "use crate::api;").is_empty());
}

#[test]
fn a_module_without_a_row_and_a_climb_are_named() {
    assert_eq!(of("app/src/helpers.rs", "").len(), 1);
    assert_eq!(of("app/src/storage.rs", "use super::api;").len(), 1);
    assert_eq!(
        of("app/src/storage/a/b.rs", "use super::super::c;").len(),
        1
    );
}

#[test]
fn the_runtime_does_not_know_the_product() {
    assert_eq!(
        complaints(&[Entry::new("runtime/src/pid.rs", "//! Used by Mesher.")]).len(),
        1
    );
}
