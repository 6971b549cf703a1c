//! How an event came to its fingerprint.

use std::sync::Arc;

use serde::{Serialize, Serializer};

/// How an event came to its fingerprint: what the issue page explains. Written out only where an issue is born.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Grouping {
    /// The version of the algorithm.
    pub version: u16,
    /// What it grouped by: `stack`, `exception`, `message`, `client` …
    pub method: &'static str,
    /// The method in a sentence.
    pub summary: &'static str,
    /// The fingerprint the client asked for; empty means none.
    pub fingerprint: Vec<String>,
    /// What contributed, and what did not.
    pub contributions: Contributions,
    /// How many more contributions there were than are listed.
    pub left_out: usize,
}

/// What contributed to a grouping, and what did not: one list for all events of the same stack, and the texts in which they differ.
#[derive(Clone, Debug, Default)]
pub struct Contributions {
    shared: Arc<[Contribution]>,
    own: Vec<OwnText>,
    replaced: Option<&'static str>,
}

/// What a place of the list says in one event. It is put into its shown form only when the list is: few lists ever are.
#[derive(Clone, Debug)]
pub struct OwnText {
    /// The place in the list.
    pub place: usize,
    /// The event's own text.
    pub text: String,
    /// What is shown of it.
    pub shown: fn(&str) -> String,
}

impl Contributions {
    /// The list, in which some places say something else; where `replaced` gives a reason, none of them contributes after all.
    #[must_use]
    pub fn new(
        shared: Arc<[Contribution]>,
        own: Vec<OwnText>,
        replaced: Option<&'static str>,
    ) -> Self {
        Self {
            shared,
            own,
            replaced,
        }
    }

    /// The list as it is shown.
    #[must_use]
    pub fn to_vec(&self) -> Vec<Contribution> {
        let mut list = self.shared.to_vec();
        for own in &self.own {
            if let Some(contribution) = list.get_mut(own.place) {
                contribution.value = (own.shown)(&own.text);
            }
        }
        if self.replaced.is_some() {
            for contribution in list.iter_mut().filter(|part| part.contributes) {
                contribution.contributes = false;
                contribution.reason = self.replaced;
            }
        }
        list
    }
}

impl PartialEq for Contributions {
    fn eq(&self, other: &Self) -> bool {
        self.to_vec() == other.to_vec()
    }
}

impl Serialize for Contributions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_vec().serialize(serializer)
    }
}

/// One part of an event as its [`Grouping`] explains it. See `processing::grouping`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Contribution {
    /// What it is: `exception type`, `frame`, `message` …
    pub part: &'static str,
    /// What it says.
    pub value: String,
    /// Whether it went into the hash.
    pub contributes: bool,
    /// Why it did not, or what was done to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}
