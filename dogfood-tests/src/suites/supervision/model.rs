//! What OTP's supervisor does, written from its documentation: which children stop and start, in which order.

use mesh_runtime::{RestartType, Strategy};

/// How a child ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Panic,
    Error,
    Normal,
    Shutdown,
    Kill,
}

impl How {
    pub(super) const ALL: [How; 5] = [
        How::Panic,
        How::Error,
        How::Normal,
        How::Shutdown,
        How::Kill,
    ];
}

/// What can be seen of a tree from outside: a start, and a `terminate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
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
pub(super) struct Model {
    strategy: Strategy,
    children: Vec<Child>,
    pub(super) steps: Vec<Step>,
}

impl Model {
    pub(super) fn new(strategy: Strategy, types: &[RestartType]) -> Model {
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

    pub(super) fn running(&self) -> Vec<usize> {
        let all = 0..self.children.len();
        all.filter(|index| self.children[*index].runs).collect()
    }

    pub(super) fn runs(&self, index: usize) -> bool {
        self.children[index].runs
    }

    pub(super) fn present(&self) -> usize {
        self.children.iter().filter(|child| child.present).count()
    }

    pub(super) fn crash(&mut self, died: usize, how: How) {
        // Only a kill skips the callback.
        if how != How::Kill {
            self.steps.push(Step::Stop(died));
        }
        self.children[died].runs = false;
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

    pub(super) fn stop_all(&mut self) {
        for index in (0..self.children.len()).rev() {
            self.stop(index);
        }
    }
}
