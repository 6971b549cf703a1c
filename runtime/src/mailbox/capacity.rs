//! How much a mailbox holds, and what happens at the bound.

use crate::limits::MAILBOX_MESSAGES_MAX;

/// What a mailbox does with a message that finds it full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// Gives it back as `SendError::Full`.
    #[default]
    Reject,
    /// As `Reject` for `send`; `send_wait` waits for room.
    Wait,
    /// Drops the oldest waiting message. Counted; a dropped call ends as `CallError::Full`.
    DropOldest,
    /// Drops the message just sent. Counted; a dropped call ends as `CallError::Full`.
    DropNewest,
}

/// The bound of a mailbox and its policy. The default is 65,536 messages and `Reject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    bound: usize,
    policy: Overflow,
}

impl Capacity {
    /// At most `messages`; what is more is rejected unless [`Capacity::overflow`] says otherwise. A mailbox of zero takes none: every message
    /// is one too many.
    #[must_use]
    pub const fn bounded(messages: usize) -> Capacity {
        Capacity {
            bound: messages,
            policy: Overflow::Reject,
        }
    }

    /// No bound. For selective receive, and for processes whose senders are bounded themselves.
    #[must_use]
    pub const fn unbounded() -> Capacity {
        Capacity {
            bound: usize::MAX,
            policy: Overflow::Reject,
        }
    }

    /// What happens at the bound.
    #[must_use]
    pub const fn overflow(mut self, policy: Overflow) -> Capacity {
        self.policy = policy;
        self
    }

    pub(crate) const fn bound(self) -> usize {
        self.bound
    }

    pub(crate) const fn policy(self) -> Overflow {
        self.policy
    }
}

impl Default for Capacity {
    fn default() -> Capacity {
        Capacity::bounded(MAILBOX_MESSAGES_MAX)
    }
}

/// What became of a pushed message.
pub(crate) enum Push<M> {
    /// It waits in the mailbox.
    Queued,
    /// This message (the new or an old one) was dropped by the policy.
    Evicted(M),
    /// The mailbox is at its bound.
    Full(M),
    /// The mailbox is closed.
    Gone(M),
}
