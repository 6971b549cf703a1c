//! Runs one set of supervision scenarios against mesh-runtime and its peers, prints the table, and writes it to `runtime/docs`.

use std::path::Path;
use std::process::ExitCode;

use mesh_runtime::System;

mod scenario;
mod subject;
mod table;

use subject::bastion::Bastion;
use subject::kameo::Kameo;
use subject::mesh::Mesh;
use subject::ractor::Ractor;

fn main() -> ExitCode {
    // Every panic here is a scenario's; the libraries are asked what they make of it, the terminal is not.
    std::panic::set_hook(Box::new(|_| {}));
    let columns = [
        table::column::<Mesh>(),
        table::column::<Bastion>(),
        table::column::<Ractor>(),
        table::column::<Kameo>(),
    ];
    let (text, held) = (table::render(&columns), columns[0].holds_all());
    println!("{text}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(table::DOCUMENT);
    if let Err(error) = std::fs::write(&path, table::document(&text, &today())) {
        eprintln!("{}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    // A peer may have left a thread that never ends.
    std::process::exit(i32::from(!held))
}

/// The day by the runtime's own clock.
fn today() -> String {
    let runtime = table::runtime();
    let _entered = runtime.enter();
    let now = System::new().clock().wall();
    jiff::Timestamp::try_from(now).map_or_else(
        |_| "?".to_owned(),
        |now| now.strftime("%Y-%m-%d").to_string(),
    )
}
