//! A timer set for a process in every order with the end of that process: none is left that waits for nobody.

use std::time::Duration;

use loom::thread;

use crate::process::context::Context;
use crate::process::every_order::{Turn, born, model, work};

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
