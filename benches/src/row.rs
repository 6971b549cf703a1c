//! What a row is: a question, who is asked, in which unit they answer, and what we must reach.

/// Whether a larger figure is a better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// One question of the table.
#[derive(Debug)]
pub(crate) struct Row {
    /// As in the table of bars: `3a`.
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    /// The work, in one sentence.
    pub(crate) question: &'static str,
    /// The figures of one run; most rows have one.
    pub(crate) figures: &'static [&'static str],
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    pub(crate) bars: &'static [Bar],
    /// What one run takes, roughly; for the estimate of the time left.
    pub(crate) seconds: f64,
    pub(crate) contenders: &'static [Contender],
}

impl Row {
    /// Where a figure stands among the figures of a run.
    pub(crate) fn figure(&self, name: &str) -> usize {
        let at = self.figures.iter().position(|figure| *figure == name);
        at.expect("a bar names a figure of its row")
    }

    pub(crate) fn contender(&self, name: &str) -> Option<&Contender> {
        self.contenders
            .iter()
            .find(|contender| contender.name == name)
    }
}

/// One who is asked.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) way: Way,
}

/// How one answers.
#[derive(Debug)]
pub(crate) enum Way {
    /// In a child process of this program.
    Run(fn(Scale) -> Vec<f64>),
    /// In a virtual machine of its own, by this word and these sizes, full and quick.
    Erlang(&'static str, [u64; 2]),
    /// Not at all; why.
    Lacks(&'static str),
}

/// Ours.
pub(crate) const OURS: &str = "mesh";

/// The other actor libraries for Rust, and the other WebSocket libraries.
pub(crate) const PEERS: [&str; 8] = [
    "ractor",
    "kameo",
    "actix",
    "xtra",
    "bastion",
    "warp::ws",
    "tokio-tungstenite",
    "tokio-websockets",
];

impl Contender {
    pub(crate) const fn run(name: &'static str, run: fn(Scale) -> Vec<f64>) -> Contender {
        Contender {
            name,
            way: Way::Run(run),
        }
    }

    pub(crate) const fn erlang(word: &'static str, sizes: [u64; 2]) -> Contender {
        Contender {
            name: "erlang",
            way: Way::Erlang(word, sizes),
        }
    }

    pub(crate) const fn lacks(name: &'static str, reason: &'static str) -> Contender {
        Contender {
            name,
            way: Way::Lacks(reason),
        }
    }
}

/// Full sizes, or those of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scale {
    pub(crate) quick: bool,
}

impl Scale {
    pub(crate) fn of<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// What ours must reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bar {
    pub(crate) against: Against,
    pub(crate) figure: &'static str,
    /// Ours divided by theirs must be at least this, or at most, whichever is better; or the figure itself must.
    pub(crate) factor: f64,
    /// Wanted, not demanded.
    pub(crate) stretch: bool,
}

/// Whom a bar compares ours with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Against {
    Contender(&'static str),
    /// The peer with the best median.
    BestPeer,
    /// Nobody: the bar is a figure.
    Itself,
}

impl Bar {
    const fn new(against: Against, figure: &'static str, factor: f64) -> Bar {
        Bar {
            against,
            figure,
            factor,
            stretch: false,
        }
    }

    pub(crate) const fn to(contender: &'static str, figure: &'static str, factor: f64) -> Bar {
        Bar::new(Against::Contender(contender), figure, factor)
    }

    pub(crate) const fn to_best_peer(figure: &'static str, factor: f64) -> Bar {
        Bar::new(Against::BestPeer, figure, factor)
    }

    pub(crate) const fn of_itself(figure: &'static str, limit: f64) -> Bar {
        Bar::new(Against::Itself, figure, limit)
    }

    pub(crate) const fn stretch(self) -> Bar {
        Bar {
            stretch: true,
            ..self
        }
    }
}
