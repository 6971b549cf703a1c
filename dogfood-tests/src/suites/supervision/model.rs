//! What OTP's supervisor does, written from its documentation: which children stop and start, in which order.

use mesh_runtime::{RestartType, Strategy};

/// How a child ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Panic,
    Error,
    Normal,
    Shutdown,
    Kill,
}

impl How {
    pub(crate) const ALL: [How; 5] = [
        How::Panic,
        How::Error,
        How::Normal,
        How::Shutdown,
        How::Kill,
    ];
}

/// What can be seen of a tree from outside: a start, and a `terminate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Start(usize),
    Stop(usize),
}

#[derive(Clone, Copy)]
struct Child {
    restart: RestartType,
    runs: bool,
    present: bool,
}

/// A supervisor and its children as the documentation has them.
pub(crate) struct Model {
    strategy: Strategy,
    children: Vec<Child>,
    pub(crate) steps: Vec<Step>,
}

impl Model {
    pub(crate) fn new(strategy: Strategy, types: &[RestartType]) -> Model {
        let child = |restart: &RestartType| Child {
            restart: *restart,
            runs: true,
            present: true,
        };
        Model {
            strategy,
            children: types.iter().map(child).collect(),
            steps: (0..types.len()).map(Step::Start).collect(),
        }
    }

    pub(crate) fn running(&self) -> Vec<usize> {
        let all = 0..self.children.len();
        all.filter(|index| self.children[*index].runs).collect()
    }

    pub(crate) fn runs(&self, index: usize) -> bool {
        self.children[index].runs
    }

    pub(crate) fn present(&self) -> usize {
        self.children.iter().filter(|child| child.present).count()
    }

    /// Whether its end is followed by a restart, and counts as one.
    pub(crate) fn is_restarted(&self, died: usize, how: How) -> bool {
        let abnormal = !matches!(how, How::Normal | How::Shutdown);
        match self.children[died].restart {
            RestartType::Permanent => true,
            RestartType::Transient => abnormal,
            RestartType::Temporary => false,
        }
    }

    /// The crash is one too many: everybody stops.
    pub(crate) fn crash_too_many(&mut self, died: usize, how: How) {
        self.end(died, how);
        self.stop_all();
    }

    fn end(&mut self, died: usize, how: How) {
        // Only a kill skips the callback.
        if how != How::Kill {
            self.steps.push(Step::Stop(died));
        }
        self.children[died].runs = false;
    }

    pub(crate) fn crash(&mut self, died: usize, how: How) {
        self.end(died, how);
        let abnormal = !matches!(how, How::Normal | How::Shutdown);
        match self.children[died].restart {
            RestartType::Temporary => {
                self.children[died].present = false;
                return;
            }
            RestartType::Transient if !abnormal => return,
            RestartType::Transient | RestartType::Permanent => {}
        }
        let concerned: Vec<usize> = match self.strategy {
            Strategy::OneForOne => vec![died],
            Strategy::OneForAll => (0..self.children.len()).collect(),
            Strategy::RestForOne => (died..self.children.len()).collect(),
        };
        for index in concerned.iter().rev() {
            self.stop(*index);
        }
        for index in concerned {
            let child = &mut self.children[index];
            if child.restart == RestartType::Temporary {
                child.present = false;
            } else {
                child.runs = true;
                self.steps.push(Step::Start(index));
            }
        }
    }

    fn stop(&mut self, index: usize) {
        if std::mem::replace(&mut self.children[index].runs, false) {
            self.steps.push(Step::Stop(index));
        }
    }

    pub(crate) fn stop_all(&mut self) {
        for index in (0..self.children.len()).rev() {
            self.stop(index);
        }
    }
}
