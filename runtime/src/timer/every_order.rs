//! The lists of what is awaited in every order of those who put something there and the driver: each deadline comes, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use loom::thread;

use crate::clock::Clock;
use crate::telemetry::Counters;

use super::awaited::Awaited;
use super::{TimerRef, Timers};

/// Stands still until it is set.
#[derive(Debug)]
pub(crate) struct Hands(AtomicU64);

impl Hands {
    pub(crate) fn at(ms: u64) -> Arc<Hands> {
        Arc::new(Hands(AtomicU64::new(ms)))
    }

    pub(crate) fn set(&self, ms: u64) {
        self.0.store(ms, Ordering::Relaxed);
    }
}

impl Clock for Hands {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}

/// Counts how often its deadline came.
#[derive(Default)]
pub(crate) struct Patient(AtomicUsize);

impl Awaited for Patient {
    fn is_over(&self) -> bool {
        false
    }

    fn expire(&self, _counters: &Arc<Counters>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn keep(&self, _timer: TimerRef) -> bool {
        true
    }
}

pub(crate) fn fire_all(timers: &Timers) {
    while timers.fire_due() == Some(Duration::ZERO) {}
}

/// `early` and then `late` are put into one list with these deadlines, in milliseconds, the late ones while the driver fires what is due after 15.
fn each_comes_once(early: &'static [u64], late: &'static [u64]) {
    let clock = Hands::at(0);
    let timers = Arc::new(Timers::new(clock.clone(), Arc::new(Counters::default())));
    let put = |timers: &Arc<Timers>, deadlines: &[u64]| -> Vec<(u64, Arc<Patient>)> {
        let put = |deadline: &u64| {
            let patient = Arc::new(Patient::default());
            timers.expect(Duration::from_millis(*deadline), patient.clone());
            (*deadline, patient)
        };
        deadlines.iter().map(put).collect()
    };
    let mut patients = put(&timers, early);
    clock.set(15);
    let theirs = timers.clone();
    let others = thread::spawn(move || put(&theirs, late));
    fire_all(&timers);
    patients.extend(others.join().unwrap());
    clock.set(100);
    fire_all(&timers);
    for (deadline, patient) in patients {
        assert_eq!(patient.0.load(Ordering::Relaxed), 1, "due at {deadline} ms");
    }
    assert_eq!(timers.len(), 0);
}

/// A list gets hot, and is put more into, which reads no clock, while the driver stamps it and lets it cool.
fn each_comes_to_a_hot_list() {
    let clock = Hands::at(0);
    let timers = Arc::new(Timers::new(clock.clone(), Arc::new(Counters::default())));
    let put = |timers: &Arc<Timers>, how_many: usize| -> Vec<Arc<Patient>> {
        let put = |_| {
            let patient = Arc::new(Patient::default());
            timers.expect_within(Duration::from_millis(30), patient.clone());
            patient
        };
        (0..how_many).map(put).collect()
    };
    let mut patients = put(&timers, 3);
    let theirs = timers.clone();
    let others = thread::spawn(move || put(&theirs, 2));
    clock.set(15);
    fire_all(&timers);
    patients.extend(others.join().unwrap());
    for now in [29, 100, 200, 300] {
        clock.set(now);
        fire_all(&timers);
        let expired = |patient: &Arc<Patient>| patient.0.load(Ordering::Relaxed) > 0;
        assert!(now > 29 || !patients.iter().any(expired), "early");
    }
    for patient in patients {
        assert_eq!(patient.0.load(Ordering::Relaxed), 1);
    }
    assert_eq!(timers.len(), 0);
}

#[test]
fn every_order_of_awaiting_and_stamping_a_hot_list_lets_each_deadline_come() {
    loom::model(each_comes_to_a_hot_list);
}

#[test]
fn every_order_of_awaiting_and_looking_through_lets_each_deadline_come() {
    loom::model(|| each_comes_once(&[10], &[20]));
}

#[test]
fn every_order_of_filling_a_list_and_looking_through_lets_each_deadline_come() {
    loom::model(|| each_comes_once(&[10, 30], &[20, 12]));
}
