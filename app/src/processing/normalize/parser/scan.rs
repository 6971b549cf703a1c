//! The end of a text in JSON, found sixteen bytes at a time, and on the way what a search for secrets would start from.

use crate::processing::lanes::{self, LANES, Lanes};
use crate::processing::scrub::Hints;

/// Where the bytes from `at` on that stand in a text as they are end: at a quote, a backslash, a control character or the end.
#[inline]
pub(super) fn plain_end(bytes: &[u8], at: usize) -> usize {
    end_with(bytes, at, |_, _| {})
}

/// The same, telling `hints` what it passes.
#[inline]
pub(super) fn plain_end_seen(bytes: &[u8], at: usize, hints: &mut Hints) -> usize {
    end_with(bytes, at, |run, these| hints.add(run, these))
}

/// Calls `pass` with sixteen bytes and which of them stand before the end.
#[inline]
fn end_with(bytes: &[u8], mut at: usize, mut pass: impl FnMut(&[u8; LANES], Lanes)) -> usize {
    while let Some(run) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let special = lanes::specials(run);
        if special != 0 {
            pass(run, lanes::before(special));
            return at + special.trailing_zeros() as usize;
        }
        pass(run, Lanes::MAX);
        at += LANES;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    // A zero ends a text as the end does.
    let mut run = [0; LANES];
    run[..rest.len()].copy_from_slice(rest);
    let special = lanes::specials(&run);
    pass(&run, lanes::before(special));
    at + special.trailing_zeros() as usize
}

/// A text that ends with its quote within sixteen bytes: most keys do, and many values.
#[derive(Clone, Copy)]
pub(super) struct Short<'a> {
    pub(super) len: usize,
    /// Its bytes and what follows.
    pub(super) run: &'a [u8; LANES],
    /// The bits of its bytes.
    pub(super) these: Lanes,
}

impl<'a> Short<'a> {
    /// The one that begins at `start`, behind its opening quote.
    #[inline]
    pub(super) fn of(bytes: &'a [u8], start: usize) -> Option<Short<'a>> {
        let run = bytes.get(start..)?.first_chunk()?;
        let special = lanes::specials(run);
        if special == 0 {
            return None;
        }
        let len = special.trailing_zeros() as usize;
        let these = lanes::before(special);
        (run.get(len) == Some(&b'"')).then_some(Short { len, run, these })
    }
}
