//! `Name`: a validated registry key.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::limits::NAME_BYTES_MAX;

/// Bytes of a name that stands in the key itself, so that a look-up compares it without going elsewhere.
const SHORT_BYTES_MAX: usize = 22;

/// A key of the registry: one to 255 bytes without control characters.
#[derive(Clone)]
pub(crate) struct Name(Text);

#[derive(Clone)]
enum Text {
    Short {
        len: u8,
        bytes: [u8; SHORT_BYTES_MAX],
    },
    Long(Arc<str>),
}

impl Name {
    /// Checks a text; `None` when it cannot be a name.
    pub(crate) fn new(text: &str) -> Option<Name> {
        let valid =
            !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control);
        if !valid {
            return None;
        }
        if text.len() > SHORT_BYTES_MAX {
            return Some(Name(Text::Long(Arc::from(text))));
        }
        let mut bytes = [0; SHORT_BYTES_MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        let len = u8::try_from(text.len()).ok()?;
        Some(Name(Text::Short { len, bytes }))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Text::Short { len, bytes } => &bytes[..usize::from(*len)],
            Text::Long(text) => text.as_bytes(),
        }
    }
}

/// As bytes, not as text: a short name is not checked to be UTF-8 at every look.
impl std::borrow::Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Name {}

impl std::fmt::Display for Name {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = std::str::from_utf8(self.as_bytes()).expect("a name is made of a text");
        formatter.write_str(text)
    }
}
