//! Timers of a process in every order with its end, which leaves none that waits for nobody, and with the driver, who finds all that is set
//! and nothing that is cancelled.

use std::time::Duration;

use loom::thread;

use crate::process::context::Context;
use crate::process::every_order::{Turn, born, born_at, model, model_within, work};
use crate::timer::every_order::{Hands, fire_all};

use super::{Address, send_after};

#[test]
fn every_order_of_setting_a_timer_and_the_end_of_its_life_leaves_no_timer() {
    model(|| {
        let born = born(async |_: Context<u64>| {});
        let task = born.task;
        let worker = thread::spawn(move || work(task, Turn::new()));
        send_after(&Address::of(born.home.clone()), Duration::from_secs(9), 1);
        worker.join().unwrap();
        assert_eq!(born.kernel.timers().len(), 0, "it would wait for nobody");
    });
}

const fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn every_order_of_a_timer_that_is_due_and_its_cancel_does_one_of_both() {
    model_within(2, || {
        let clock = Hands::at(0);
        let born = born_at(clock.clone(), async |_: Context<u64>| {});
        let target = Address::of(born.home.clone());
        // The wheel knows the second only after it has looked at the first.
        let timers = [10, 12].map(|ms| send_after(&target, millis(ms), ms));
        let theirs = born.kernel.timers().clone();
        let driver = thread::spawn(move || {
            clock.set(15);
            fire_all(&theirs);
        });
        let cancelled = timers.map(|timer| usize::from(born.kernel.cancel_timer(timer).is_some()));
        driver.join().unwrap();
        assert_eq!(target.len() + cancelled[0] + cancelled[1], 2);
        fire_all(born.kernel.timers());
        assert_eq!(born.kernel.timers_len(), 0, "none is left");
    });
}

#[test]
fn every_order_of_setting_a_timer_and_looking_at_another_lets_both_come() {
    model_within(2, || {
        let clock = Hands::at(0);
        let born = born_at(clock.clone(), async |_: Context<u64>| {});
        let target = Address::of(born.home.clone());
        send_after(&target, millis(10), 1);
        let (time, theirs) = (clock.clone(), born.kernel.timers().clone());
        let driver = thread::spawn(move || {
            time.set(15);
            fire_all(&theirs);
        });
        send_after(&target, millis(5), 2);
        send_after(&target, millis(20), 3);
        driver.join().unwrap();
        clock.set(100);
        fire_all(born.kernel.timers());
        assert_eq!(target.len(), 3);
        assert_eq!(born.kernel.timers_len(), 0, "none is left");
    });
}
