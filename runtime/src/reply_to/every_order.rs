//! The reply slot in every order of its two threads: one result, and whoever waits is woken.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};

use loom::future::block_on;
use loom::thread;

use crate::error::CallError;
use crate::exit::ExitReason;
use crate::telemetry::Counters;

use super::{Holder, Kept, ReplyTo, settling};

fn call() -> (ReplyTo<u64>, Arc<super::Slot<u64>>, Arc<Counters>) {
    let counters = Arc::new(Counters::default());
    let (reply_to, slot) = ReplyTo::new(Waker::noop().clone());
    (reply_to, slot, counters)
}

#[test]
fn every_order_of_reply_and_wait_answers() {
    loom::model(|| {
        let (reply_to, slot, _) = call();
        let callee = thread::spawn(move || reply_to.reply(7));
        assert_eq!(block_on(poll_fn(|task| slot.poll(task))), (Ok(7), None));
        callee.join().unwrap();
    });
}

/// As a call does: the first look, at which the token goes out, leaves it at the waker in the slot.
#[test]
fn every_order_of_reply_and_the_first_look_answers() {
    loom::model(|| {
        let mut sent = None;
        let answer = block_on(poll_fn(|task| match &sent {
            None => {
                let (reply_to, slot) = ReplyTo::new(task.waker().clone());
                let callee = thread::spawn(move || reply_to.reply(7));
                sent = Some((slot, callee));
                Poll::Pending
            }
            Some((slot, _)) => slot.poll(task),
        }));
        assert_eq!(answer, (Ok(7), None));
        if let Some((_, callee)) = sent {
            callee.join().unwrap();
        }
    });
}

#[test]
fn every_order_of_reply_and_giving_up_counts_once() {
    loom::model(|| {
        let (reply_to, slot, counters) = call();
        let callee = thread::spawn(move || reply_to.reply(7));
        let (got, _) = slot.abandon(&counters);
        callee.join().unwrap();
        let late = counters.late_replies.load(Ordering::Relaxed);
        match got {
            Some(answer) => assert_eq!((answer, late), (Ok(7), 0)),
            None => assert_eq!(late, 1),
        }
    });
}

#[test]
fn every_order_of_death_and_wait_tells_the_reason() {
    loom::model(|| {
        let (reply_to, slot, _) = call();
        let callee = thread::spawn(move || {
            let mut kept = Kept::default();
            let holder = Holder::enter(&mut kept);
            drop(reply_to);
            holder.dead(&mut kept);
            kept.settle(&ExitReason::error("over"));
        });
        let answer = block_on(poll_fn(|task| slot.poll(task)));
        assert_eq!(
            answer,
            (Err(CallError::Exited(ExitReason::error("over"))), None)
        );
        callee.join().unwrap();
    });
}

#[test]
fn every_order_of_two_fates_keeps_them_apart() {
    loom::model(|| {
        let (first, first_slot, counters) = call();
        let (second, second_slot, _) = call();
        let evicting = thread::spawn(move || settling(CallError::Full, || drop(first)));
        drop(second);
        evicting.join().unwrap();
        assert_eq!(first_slot.abandon(&counters).0, Some(Err(CallError::Full)));
        assert_eq!(
            second_slot.abandon(&counters).0,
            Some(Err(CallError::NoReply))
        );
    });
}

#[test]
fn every_order_of_reply_and_deadline_answers_once() {
    loom::model(|| {
        let (reply_to, slot, counters) = call();
        let (expires, late) = (slot.clone(), counters.clone());
        let deadline = thread::spawn(move || {
            if expires.keep(1) {
                expires.expire(&late);
            }
        });
        let callee = thread::spawn(move || reply_to.reply(7));
        let (answer, _) = block_on(poll_fn(|task| slot.poll(task)));
        callee.join().unwrap();
        deadline.join().unwrap();
        let late = counters.late_replies.load(Ordering::Relaxed);
        match answer {
            Ok(seven) => assert_eq!((seven, late), (7, 0)),
            Err(error) => assert_eq!((error, late), (CallError::Timeout, 1)),
        }
    });
}
