//! The end of a linked process in every order with `unlink`: no signal is left behind.

use std::sync::Arc;
use std::time::Duration;

use loom::thread;

use crate::exit::ExitReason;
use crate::mailbox::MailboxNumbers;
use crate::pid::Pid;
use crate::process::exit_signal::arrive_by_link;
use crate::process::{Birth, MailboxView, Process};
use crate::timer::Held;

struct NoMailbox;

impl MailboxView for NoMailbox {
    fn numbers(&self) -> MailboxNumbers {
        MailboxNumbers::default()
    }

    fn message_type(&self) -> &'static str {
        "none"
    }

    fn cancel_timer(&self, _life: Pid, _held: Held) -> Option<u64> {
        None
    }
}

fn trapping(linked: Pid) -> Process {
    let process = Process::new(&Birth::default(), Duration::ZERO, Arc::new(NoMailbox));
    let mut inner = process.inner.lock();
    inner.traps_exits = true;
    inner.ties().links.insert(linked, ());
    drop(inner);
    process
}

#[test]
fn every_order_of_unlink_and_the_peers_end_leaves_no_signal() {
    loom::model(|| {
        let peer = Pid::next();
        let process = Arc::new(trapping(peer));
        let other = process.clone();
        let ends = thread::spawn(move || arrive_by_link(&other, peer, &ExitReason::error("late")));
        process.forget_link(peer);
        ends.join().unwrap();
        assert!(process.next_item(false).is_none(), "a signal came late");
    });
}
