//! Where in an event a value stands, and so what may be taken there as it is.

use crate::processing::normalize::bounds::{self, Bounds};

/// Where in an event a value stands, as far as it leads to what may go out as it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Event,
    /// Exceptions or threads, one or all of them.
    Carriers,
    Stack,
    Frame,
    Variables,
    Lines,
    Contexts,
    /// An object of free shape.
    Data,
    Sdk,
    /// A list of free shape within the SDK.
    SdkList,
    Elsewhere,
}

impl Place {
    /// Where the value of `key` stands.
    pub(super) fn below(self, key: &str) -> Place {
        match (self, key) {
            (Place::Event, "exception" | "threads") | (Place::Carriers, "values") => {
                Place::Carriers
            }
            (Place::Event | Place::Carriers, "stacktrace")
            | (Place::Carriers, "raw_stacktrace")
            | (Place::Stack, "frames") => Place::Stack,
            (Place::Frame, "vars") => Place::Variables,
            (Place::Frame, "pre_context" | "post_context") => Place::Lines,
            (Place::Event, "contexts") => Place::Contexts,
            (Place::Event, "extra" | "modules" | "transaction_info" | "debug_meta" | "errors") => {
                Place::Data
            }
            (Place::Event, "sdk") => Place::Sdk,
            (Place::Sdk, "integrations" | "packages" | "features") => Place::SdkList,
            _ => Place::Elsewhere,
        }
    }

    /// How many keys an object there has, mostly: room for them is made once.
    pub(super) fn len_guess(self) -> usize {
        match self {
            Place::Event => 24,
            Place::Frame => 12,
            Place::Carriers => 6,
            _ => 4,
        }
    }

    /// Where the entries of a list stand.
    pub(super) fn within(self) -> Place {
        match self {
            Place::Carriers => Place::Carriers,
            Place::Stack => Place::Frame,
            _ => Place::Elsewhere,
        }
    }

    /// What of a value there is kept at most, where [`bounds::trim`] is what decides about it.
    pub(super) fn bounds(self) -> Bounds {
        match self {
            Place::Variables => bounds::VARIABLES,
            // One level is the SDK's own object.
            Place::SdkList => Bounds {
                depth: bounds::DATA.depth - 1,
                ..bounds::DATA
            },
            _ => bounds::DATA,
        }
    }
}
