//! About how many bytes wait to be read, so that a reader is not made to linger for more than fits into a chunk.

/// Where the last reading ended, and how much lies behind that: told too high rather than too low, and right once everything was read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unread {
    from: Option<u64>,
    bytes: u64,
}

impl Unread {
    pub(super) fn bytes(self) -> u64 {
        self.bytes
    }

    pub(super) fn was_appended(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Somebody asks for what is behind `from`; the log reaches up to `end`, and all it holds takes `used_bytes`.
    pub(super) fn asked(&mut self, from: u64, end: u64, used_bytes: u64) {
        if from >= end {
            self.bytes = 0;
        } else if self.from != Some(from) {
            self.bytes = used_bytes;
        }
        self.from = Some(from);
    }

    /// So many bytes were read, up to `next`.
    pub(super) fn was_read(&mut self, next: u64, bytes: u64) {
        self.from = Some(next);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::Unread;

    #[test]
    fn it_knows_what_was_appended_since_everything_was_read() {
        let mut unread = Unread::default();
        unread.asked(7, 7, 500);
        assert_eq!(unread.bytes(), 0);
        unread.was_appended(30);
        unread.was_appended(12);
        unread.was_read(9, 30);
        unread.asked(9, 10, 500);
        assert_eq!(unread.bytes(), 12);
    }

    #[test]
    fn of_what_it_did_not_see_it_believes_there_is_much() {
        let mut unread = Unread::default();
        unread.asked(3, 10, 500);
        assert_eq!(unread.bytes(), 500, "what a life before left");
        unread.was_read(6, 200);
        unread.asked(6, 10, 500);
        assert_eq!(unread.bytes(), 300);
        unread.asked(3, 10, 500);
        assert_eq!(unread.bytes(), 500, "a reader that begins again");
        unread.was_read(10, 700);
        assert_eq!(unread.bytes(), 0);
    }
}
