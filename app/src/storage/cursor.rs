//! Cursors of keyset pagination: the place of the last row of a page, as an opaque text.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

/// Rows on a page when nobody says.
pub const LIMIT_DEFAULT: u16 = 25;

/// The most rows on a page.
pub const LIMIT_MAX: u16 = 100;

/// Nothing in a list is older than the year 1; a cursor that says so was not given out here.
const TIME_MIN: Timestamp = Timestamp::constant(-62_135_596_800, 0);

/// One page of a list, in the shape of the API.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Page<T> {
    /// The rows.
    pub data: Vec<T>,
    /// Where the next page begins; `None` on the last.
    pub next_cursor: Option<String>,
}

/// The place of a row in a list sorted by a time, then an id, both descending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub(crate) time: Timestamp,
    pub(crate) id: Uuid,
}

impl Cursor {
    /// Reads what [`Page::next_cursor`] said; `None` if the text is no cursor.
    #[must_use]
    pub fn parse(text: &str) -> Option<Cursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (time, id) = bytes.split_first_chunk::<8>()?;
        let time = Timestamp::from_microsecond(i64::from_be_bytes(*time)).ok()?;
        // The database's years begin later than ours; a place out there would be its error, and ours to answer for.
        if time < TIME_MIN {
            return None;
        }
        Some(Cursor {
            time,
            id: Uuid::from_slice(id).ok()?,
        })
    }

    fn text(self) -> String {
        let mut bytes = self.time.as_microsecond().to_be_bytes().to_vec();
        bytes.extend_from_slice(self.id.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// The number of rows to ask for: one more than shown, which tells whether there is a next page.
pub(crate) fn fetch(limit: u16) -> i64 {
    i64::from(limit.clamp(1, LIMIT_MAX)) + 1
}

/// A page of `rows`, of which [`fetch`] asked for one more than the page holds.
pub(crate) fn page<T>(mut rows: Vec<T>, limit: u16, place: impl Fn(&T) -> Cursor) -> Page<T> {
    let limit = usize::from(limit.clamp(1, LIMIT_MAX));
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = rows.last().filter(|_| more).map(|last| place(last).text());
    Page {
        data: rows,
        next_cursor,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{Cursor, page};

    fn cursor(n: u128) -> Cursor {
        Cursor {
            time: "2026-11-21T22:49:27.123456Z".parse().unwrap(),
            id: Uuid::from_u128(n),
        }
    }

    #[test]
    fn cursors_read_back_and_strangers_are_refused() {
        assert_eq!(Cursor::parse(&cursor(7).text()), Some(cursor(7)));
        for stranger in ["", "x", "AAAA", "%%%", &"A".repeat(99)] {
            assert_eq!(Cursor::parse(stranger), None);
        }
        for (time, is_ours) in [
            ("0001-01-01T00:00:00Z", true),
            ("-009000-01-01T00:00:00Z", false),
        ] {
            let time = time.parse().unwrap();
            let text = Cursor { time, ..cursor(7) }.text();
            assert_eq!(Cursor::parse(&text).is_some(), is_ours, "{time}");
        }
    }

    #[test]
    fn a_page_knows_whether_it_is_the_last() {
        let full = page(vec![1, 2, 3], 2, |n| cursor(*n));
        assert_eq!(full.data, [1, 2]);
        assert_eq!(full.next_cursor, Some(cursor(2).text()));
        assert_eq!(page(vec![1, 2], 2, |n| cursor(*n)).next_cursor, None);
    }
}
