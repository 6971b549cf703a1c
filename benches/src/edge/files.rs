//! The limit of open files, which is what bounds the connections of a process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files a process holds besides its connections.
const OTHER_FILES: u64 = 200;

/// Makes room for so many connections.
///
/// # Panics
/// When the machine does not allow that many.
pub(crate) fn room_for(connections: u64) {
    let limit = getrlimit(Resource::Nofile);
    let wanted = connections + OTHER_FILES;
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let allowed = limit.maximum.is_none_or(|maximum| maximum >= wanted);
    assert!(
        allowed,
        "a process may open {} files here, this needs {wanted}: raise it with `ulimit -Hn`",
        limit.maximum.unwrap_or_default()
    );
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("up to the hard limit anybody may");
}
