//! A call in every order of its answer, its deadline and its caller: one result, and no timer that is left.

use std::sync::Arc;
use std::time::Duration;

use loom::future::block_on;
use loom::thread;

use crate::error::CallError;
use crate::process::every_order::{Hand, kernel, model_within};
use crate::reply_to::ReplyTo;
use crate::timer::every_order::{Hands, Patient, fire_all};

use super::Answer;

/// A call that is due at `limit` ms and `ends` somehow, beside an answer and a driver who fires at 15 ms; `others` are in its list and due then.
/// Two that are due later fill the list with it, so that the caller gives it a timer of its own; one that is due before lets the driver do so.
fn call(limit: u64, others: &[u64], ends: fn(Answer<'_, u64>)) {
    let clock = Hands::at(0);
    let kernel = kernel(clock.clone(), Arc::new(Hand::default()));
    for other in others {
        let deadline = Duration::from_millis(*other);
        kernel
            .timers()
            .expect(deadline, Arc::new(Patient::default()));
    }
    let (reply_to, slot) = ReplyTo::new();
    let callee = thread::spawn(move || reply_to.reply(7));
    let (time, timers) = (clock.clone(), kernel.timers().clone());
    let driver = thread::spawn(move || {
        time.set(15);
        fire_all(&timers);
    });
    let answer = Answer {
        slot,
        limit: Some(Duration::from_millis(limit)),
        kernel: &kernel,
        over: false,
    };
    ends(answer);
    callee.join().unwrap();
    driver.join().unwrap();
    let late = others.iter().filter(|other| **other > 15).count();
    assert_eq!(kernel.timers().len(), late, "of the call none is left");
}

/// Waits for the result.
fn is_awaited(answer: Answer<'_, u64>) {
    match block_on(answer) {
        Ok(answer) => assert_eq!(answer, 7),
        Err(error) => assert_eq!(error, CallError::Timeout),
    }
}

/// Looks once and waits no longer.
fn is_given_up(mut answer: Answer<'_, u64>) {
    let mut task = std::task::Context::from_waker(std::task::Waker::noop());
    let looked = std::pin::Pin::new(&mut answer).poll(&mut task);
    drop((looked, answer));
}

#[test]
fn every_order_of_an_answer_and_a_deadline_ends_the_call_once() {
    model_within(2, || call(10, &[], is_awaited));
}

#[test]
fn every_order_of_an_answer_and_a_timer_of_its_own_ends_the_call_once() {
    model_within(2, || call(10, &[50, 51], is_awaited));
}

#[test]
fn every_order_of_a_call_that_is_given_up_leaves_no_timer() {
    model_within(2, || call(30, &[12], is_given_up));
}
