//! `Name`: a validated registry key.

use std::sync::Arc;

use crate::limits::NAME_BYTES_MAX;

/// A key of the registry: one to 255 bytes without control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name(Arc<str>);

impl Name {
    /// Checks a text; `None` when it cannot be a name.
    pub(crate) fn new(text: &str) -> Option<Name> {
        let valid =
            !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control);
        valid.then(|| Name(Arc::from(text)))
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}
