//! Turns: chunks are stored one after the other, and each is told when the one before it is.

use tokio::sync::watch;

/// How many chunks may be with the writers at once: one that is settled, one whose rows are on their way, and one that is ready or nearly, so
/// that nobody waits for either.
pub const CHUNKS_UNDER_WAY_MAX: usize = 3;

/// When a chunk may move its spool. Clones stand for the same chunk.
#[derive(Clone, Debug)]
pub struct Turn {
    lane: usize,
    /// Whether the chunk before is stored; none before the first.
    before: Option<watch::Receiver<bool>>,
}

/// Lets the chunk behind have its turn; dropped unused, that one never has it.
#[derive(Debug)]
pub struct TurnGiver(watch::Sender<bool>);

impl Turn {
    /// That of a chunk before which there is none.
    #[must_use]
    pub fn now() -> Turn {
        Turn {
            lane: 0,
            before: None,
        }
    }

    /// That of the chunk behind, and by whom it is given.
    #[must_use]
    pub fn next(&self) -> (Turn, TurnGiver) {
        let (giver, before) = watch::channel(false);
        let turn = Turn {
            lane: (self.lane + 1) % CHUNKS_UNDER_WAY_MAX,
            before: Some(before),
        };
        (turn, TurnGiver(giver))
    }

    /// Which of the writers, below [`CHUNKS_UNDER_WAY_MAX`]: neighbours have different ones.
    #[must_use]
    pub fn lane(&self) -> usize {
        self.lane
    }

    /// Whether it has come.
    #[must_use]
    pub fn has_come(&self) -> bool {
        self.before.as_ref().is_none_or(|before| *before.borrow())
    }

    /// Waits for it; `false` if it never comes.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn comes(&self) -> bool {
        match self.before.clone() {
            None => true,
            Some(mut before) => before.wait_for(|is_stored| *is_stored).await.is_ok(),
        }
    }
}

impl TurnGiver {
    /// The chunk before is stored.
    pub fn give(self) {
        self.0.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::{CHUNKS_UNDER_WAY_MAX, Turn};

    #[test]
    fn a_turn_comes_when_it_is_given_and_never_when_it_cannot_be() {
        let first = Turn::now();
        assert!(first.has_come());
        let (second, giver) = first.next();
        assert_ne!(first.lane(), second.lane());
        assert!(!second.has_come());
        assert_eq!(second.comes().now_or_never(), None);
        giver.give();
        assert!(second.has_come());
        assert_eq!(second.clone().comes().now_or_never(), Some(true));
        let (third, giver) = second.next();
        assert!(third.lane() < CHUNKS_UNDER_WAY_MAX);
        drop(giver);
        assert!(!third.has_come());
        assert_eq!(third.comes().now_or_never(), Some(false));
    }
}
