//! Whose turn it is: the order of those who can run, drawn from the seed in one of several styles.

use std::collections::VecDeque;

use super::entropy::{Dice, Stream};

/// How turns are drawn. Bugs hide from a fair order; each seed tries one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// Everybody alike.
    Uniform,
    /// As they came, with a stray choice now and then.
    NearlyInOrder,
    /// Some always go first and some last, until that changes.
    ///
    /// Source: Burckhardt et al., "A randomized scheduler with probabilistic guarantees of finding bugs", 2010; without its bound.
    Ranked,
}

/// Draws whose turn it is.
#[derive(Debug)]
pub(super) struct Order {
    dice: Dice,
    style: Style,
    /// Choices made among two or more.
    choices: u64,
    /// After so many choices everybody has a turn in the order they came.
    choices_max: u64,
}

impl Order {
    pub(super) fn new(seed: u64, choices_max: Option<u64>) -> Order {
        let dice = Dice::new(seed, Stream::Order);
        let style = match dice.below(3) {
            0 => Style::Uniform,
            1 => Style::NearlyInOrder,
            _ => Style::Ranked,
        };
        Order {
            dice,
            style,
            choices: 0,
            choices_max: choices_max.unwrap_or(u64::MAX),
        }
    }

    /// A rank for somebody new.
    pub(super) fn rank(&self) -> u64 {
        self.dice.next()
    }

    /// The place in `ready`, which is not empty, of the one to run next.
    pub(super) fn pick(
        &mut self,
        ready: &VecDeque<usize>,
        rank_of: impl Fn(usize) -> u64,
    ) -> usize {
        if ready.len() == 1 || self.choices >= self.choices_max {
            return 0;
        }
        self.choices += 1;
        match self.style {
            Style::Uniform => self.dice.index(ready.len()),
            Style::NearlyInOrder if self.dice.below(4) > 0 => 0,
            // Now and then anybody, or one that always yields would keep the others away for ever.
            Style::Ranked if self.dice.below(8) > 0 => (0..ready.len())
                .max_by_key(|place| rank_of(ready[*place]))
                .unwrap_or(0),
            Style::NearlyInOrder | Style::Ranked => self.dice.index(ready.len()),
        }
    }

    /// Whether the one who has just been picked gets a new rank.
    pub(super) fn changes_rank(&self) -> bool {
        self.style == Style::Ranked && self.dice.below(32) == 0
    }

    /// Choices made so far.
    pub(super) fn choices(&self) -> u64 {
        self.choices
    }

    /// How much virtual time a turn takes.
    pub(super) fn cost(&self, nanos_max: u64) -> u64 {
        self.dice.below(nanos_max.saturating_add(1))
    }
}
