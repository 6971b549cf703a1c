//! Each guarantee of `docs/SEMANTICS.md` names a test that exists.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

struct Guarantee {
    number: String,
    tests: Vec<String>,
}

/// A guarantee is a list item that opens with its number in bold; the tests are what stands in back-ticks after `Test:`.
fn guarantees(text: &str) -> Vec<Guarantee> {
    let mut found = Vec::new();
    for item in text.split("\n- **").skip(1) {
        let number = item.split("**").next().unwrap_or_default().to_owned();
        let body = item.split("\n\n").next().unwrap_or_default();
        let named = body.split("Test:").nth(1).unwrap_or_default();
        let tests = named
            .split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect();
        found.push(Guarantee { number, tests });
    }
    found
}

/// The file a test path leads to: of `tests/it`, of `tests/it_edges`, or of `src` with or without a file of its own for the tests.
fn file_of(modules: &[&str]) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let joined = modules.join("/");
    let parent = modules[..modules.len() - 1].join("/");
    [
        format!("tests/it/{joined}.rs"),
        format!("tests/it_edges/{joined}.rs"),
        format!("src/{joined}.rs"),
        format!("src/{parent}.rs"),
    ]
    .into_iter()
    .map(|path| root.join(path))
    .find(|path| path.is_file())
}

fn exists(test: &str) -> bool {
    let parts: Vec<&str> = test.split("::").collect();
    let Some((name, modules)) = parts.split_last() else {
        return false;
    };
    if modules.is_empty() {
        return false;
    }
    let text = file_of(modules)
        .and_then(|path| fs::read_to_string(path).ok())
        .unwrap_or_default();
    text.contains(&format!("fn {name}("))
}

#[test]
fn every_guarantee_names_an_existing_test() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/SEMANTICS.md");
    let text = fs::read_to_string(path).expect("the guarantees are written down");
    let guarantees = guarantees(&text);
    let mut numbers = HashSet::new();
    let mut complaints = Vec::new();
    for Guarantee { number, tests } in &guarantees {
        if !numbers.insert(number) {
            complaints.push(format!("{number} stands twice"));
        }
        if tests.is_empty() {
            complaints.push(format!("{number} names no test"));
        }
        for test in tests.iter().filter(|test| !exists(test)) {
            complaints.push(format!("{number} names {test}, which does not exist"));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    for chapter in ["A", "B", "C", "D", "E", "F", "J", "K"] {
        assert!(
            numbers.contains(&format!("{chapter}1")),
            "chapter {chapter} has guarantees"
        );
    }
}

/// Each of the chapters that are proved by breaking the runtime has a break for each guarantee, and the table of what was seen has it too.
#[test]
fn every_guarantee_was_broken_on_purpose() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| fs::read_to_string(root.join(file)).expect("it is written down");
    let (breaks, seen) = (read("tests/mutations.txt"), read("docs/BROKEN.md"));
    let unbroken: Vec<String> = guarantees(&read("docs/SEMANTICS.md"))
        .into_iter()
        .map(|guarantee| guarantee.number)
        .filter(|number| number.starts_with(['A', 'B', 'C', 'D', 'E', 'F', 'J']))
        .filter(|number| {
            !breaks.contains(&format!("\n== {number} ")) || !seen.contains(&format!("| {number} |"))
        })
        .collect();
    assert!(unbroken.is_empty(), "nobody broke {unbroken:?}");
}

#[test]
fn a_missing_test_is_noticed() {
    let text = "\n- **A1** Nothing.\n- **A2** Something. Test: `links::no_such_test`, `docs::a_missing_test_is_noticed`.\n";
    let found = guarantees(text);
    assert_eq!(found.len(), 2);
    assert!(found[0].tests.is_empty());
    assert_eq!(
        found[1]
            .tests
            .iter()
            .map(|test| exists(test))
            .collect::<Vec<_>>(),
        [false, true]
    );
}
