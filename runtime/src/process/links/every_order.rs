//! The end of a linked process in every order with `unlink`: no signal is left behind.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::time::Duration;

use loom::thread;

use crate::exit::ExitReason;
use crate::mailbox::MailboxNumbers;
use crate::mailbox::lanes::SystemLane;
use crate::pid::Pid;
use crate::process::exit_signal::arrive_by_link;
use crate::process::{Inner, MailboxView, Process};
use crate::sync::Mutex;

struct NoMailbox;

impl MailboxView for NoMailbox {
    fn numbers(&self) -> MailboxNumbers {
        MailboxNumbers::default()
    }

    fn message_type(&self) -> &'static str {
        "none"
    }
}

fn trapping(linked: Pid) -> Process {
    Process {
        pid: Pid::next(),
        parent: None,
        behaviour: "model",
        answers: false,
        started: Duration::ZERO,
        restarts: 0,
        handled: AtomicU64::new(0),
        reductions: AtomicU64::new(0),
        busy_us: AtomicU64::new(0),
        last_panic: ExitReason::normal(),
        poll_phase: AtomicU64::new(0),
        in_message: AtomicBool::new(false),
        mailbox: Arc::new(NoMailbox),
        signals: AtomicUsize::new(0),
        interrupted: AtomicBool::new(false),
        inner: Mutex::new(Inner {
            lane: SystemLane::default(),
            traps_exits: true,
            over: false,
            ended: None,
            running: true,
            label: None,
            links: HashSet::from([linked]),
            watching: HashMap::new(),
            watchers: HashMap::new(),
        }),
    }
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
