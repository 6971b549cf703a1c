//! Ours holds every row, and the committed table is of these rows and these versions.

use super::{DOCUMENT, column, rows, version};
use crate::subject::mesh::Mesh;

#[test]
fn ours_holds_every_row() {
    let exceptions = column::<Mesh>().exceptions();
    assert!(exceptions.is_empty(), "{}", exceptions.join("\n"));
}

#[test]
fn the_committed_table_has_these_rows_and_versions() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
    let text = std::fs::read_to_string(path).expect("the table is committed");
    let written: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()))
        .filter_map(|line| line.split(" | ").nth(1))
        .collect();
    let promised: Vec<&str> = rows::<Mesh>().iter().map(|row| row.promise).collect();
    assert_eq!(
        written, promised,
        "run `cargo run -p conformance` and commit the table"
    );
    for name in ["mesh-runtime", "bastion", "ractor", "kameo"] {
        let head = format!("{name} {}", version(name));
        assert!(text.contains(&head), "the table is not of {head}");
    }
}
