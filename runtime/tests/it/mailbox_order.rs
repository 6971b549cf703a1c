//! mailbox_order
