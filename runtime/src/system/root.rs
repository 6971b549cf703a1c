//! What hangs on the system itself: the trees, in the order of their start.

use parking_lot::Mutex;

use crate::pid::Pid;
use crate::process::kernel::Part;

/// The supervisors started by `System::supervise`.
#[derive(Default)]
pub(super) struct Trees {
    started: Mutex<Vec<Pid>>,
}

impl Part for Trees {
    fn process_exited(&self, pid: Pid) {
        let mut started = self.started.lock();
        if let Some(at) = started.iter().rposition(|tree| *tree == pid) {
            started.remove(at);
        }
    }
}

impl Trees {
    pub(super) fn add(&self, pid: Pid) {
        self.started.lock().push(pid);
    }

    /// The tree started last.
    pub(super) fn all(&self) -> Vec<Pid> {
        self.started.lock().clone()
    }
}
