//! The mailbox in every order of senders and receiver: nothing lost, nothing twice, nobody left asleep.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use loom::future::block_on;
use loom::sync::atomic::AtomicBool;
use loom::thread;

use super::lanes::{RoomMessage, RoomPolicy};
use super::{Batch, Capacity, FramePush, Mailbox, Overflow, Own, Push};

/// Every order with at most three moments in which a thread is set aside though it could go on: more are said to find no more, and take
/// hours.
fn model(orders: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(orders);
}

type Shared = Arc<Mailbox<u64>>;

fn mailbox(capacity: Capacity) -> Shared {
    Arc::new(Mailbox::new(capacity))
}

fn receive(mailbox: &Mailbox<u64>, batch: &mut Batch<u64>) -> u64 {
    block_on(poll_fn(|task| mailbox.poll_next(batch, task, || Own::No)))
}

/// As one task, whose waker is the same at every poll: it goes to sleep without the lock.
fn receive_armed<const N: usize>(
    mailbox: &Mailbox<u64>,
    batch: &mut Batch<u64>,
    own: Own,
) -> [u64; N] {
    block_on(async {
        let mut seen = [0; N];
        for place in &mut seen {
            *place = poll_fn(|task| mailbox.poll_next(batch, task, || own)).await;
        }
        seen
    })
}

const FRAME: u64 = 1_000;

fn broadcast(mailbox: &Mailbox<u64>) -> FramePush {
    let wrap = |_: RoomMessage| FRAME;
    mailbox.push_frame(
        &Arc::from("room"),
        &Bytes::new(),
        wrap,
        RoomPolicy::DropOldest,
        || true,
    )
}

#[test]
fn every_order_of_send_and_receive_wakes_and_keeps_the_order() {
    model(|| {
        let mailbox = mailbox(Capacity::unbounded());
        let sender = mailbox.clone();
        let sends = thread::spawn(move || {
            for number in 0..2 {
                assert!(matches!(sender.push(number), Push::Queued));
            }
        });
        let mut batch = mailbox.batch();
        assert_eq!(receive(&mailbox, &mut batch), 0);
        assert_eq!(receive(&mailbox, &mut batch), 1);
        sends.join().unwrap();
    });
}

#[test]
fn every_order_of_two_senders_loses_nothing() {
    model(|| {
        let mailbox = mailbox(Capacity::unbounded());
        let sends = [1, 2].map(|number| {
            let sender = mailbox.clone();
            thread::spawn(move || assert!(matches!(sender.push(number), Push::Queued)))
        });
        let mut batch = mailbox.batch();
        assert_eq!(
            receive(&mailbox, &mut batch) + receive(&mailbox, &mut batch),
            3
        );
        for send in sends {
            send.join().unwrap();
        }
    });
}

#[test]
fn every_order_of_frames_and_messages_keeps_the_senders_order() {
    model(|| {
        let mailbox = mailbox(Capacity::unbounded());
        let sender = mailbox.clone();
        let sends = thread::spawn(move || {
            assert!(matches!(sender.push(1), Push::Queued));
            assert_eq!(broadcast(&sender), FramePush::Delivered);
            assert!(matches!(sender.push(2), Push::Queued));
        });
        let mut batch = mailbox.batch();
        let seen = [(); 3].map(|()| receive(&mailbox, &mut batch));
        assert_eq!(seen, [1, FRAME, 2]);
        sends.join().unwrap();
    });
}

#[test]
fn every_order_of_overflow_keeps_the_newest() {
    model(|| {
        let mailbox = mailbox(Capacity::bounded(1).overflow(Overflow::DropOldest));
        let sender = mailbox.clone();
        let sends = thread::spawn(move || {
            let mut dropped = Vec::new();
            for number in 0..3 {
                if let Push::Evicted(old) = sender.push(number) {
                    dropped.push(old);
                }
                assert!(sender.len() <= 1);
            }
            dropped
        });
        let mut batch = mailbox.batch();
        let mut seen = Vec::new();
        while seen.last() != Some(&2) {
            seen.push(receive(&mailbox, &mut batch));
        }
        seen.extend(sends.join().unwrap());
        seen.sort();
        assert_eq!(seen, [0, 1, 2], "each is received or given back");
    });
}

#[test]
fn every_order_of_send_and_close_gives_back_or_leaves_behind() {
    model(|| {
        let mailbox = mailbox(Capacity::unbounded());
        let sender = mailbox.clone();
        let sends = thread::spawn(move || matches!(sender.push(1), Push::Queued));
        let remains = mailbox.clear(true).messages;
        assert_eq!(remains.len() == 1, sends.join().unwrap());
        assert_eq!(mailbox.len(), 0);
    });
}

#[test]
fn every_order_of_a_timer_and_the_end_of_its_life_spares_the_next() {
    model(|| {
        let mailbox = mailbox(Capacity::unbounded());
        let living = Arc::new(AtomicBool::new(true));
        let (target, asks) = (mailbox.clone(), living.clone());
        let fires = thread::spawn(move || drop(target.push_if(1, || asks.load(Ordering::Acquire))));
        living.store(false, Ordering::Release);
        drop(mailbox.clear(false));
        fires.join().unwrap();
        assert_eq!(mailbox.len(), 0, "the next life finds nothing of it");
    });
}

/// The lock is not taken to go to sleep: after the first message of a slice, and after a look in vain.
#[test]
fn every_order_of_send_and_an_armed_receiver_wakes() {
    for own in [Own::First, Own::Yes] {
        model(move || {
            let mailbox = mailbox(Capacity::unbounded());
            let sender = mailbox.clone();
            let sends = thread::spawn(move || {
                for number in 0..3 {
                    assert!(matches!(sender.push(number), Push::Queued));
                }
            });
            let mut batch = mailbox.batch();
            let seen = receive_armed(&mailbox, &mut batch, own);
            assert_eq!(seen, [0, 1, 2]);
            sends.join().unwrap();
        });
    }
}
