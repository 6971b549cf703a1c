//! Finding 3: an exit signal could arrive after `unlink` when the other side died at that moment.
//!
//! Whoever tells of the death took the link away under the process's lock and queued the signal under the lock again; an `unlink` between
//! the two found neither link nor signal to take back. Many links that die while they are unlinked meet the gap.

use std::future::pending;

use dogfood_tests::stage::{Tally, until};
use mesh_runtime::{Context, Event, Pid, System};

const LINKS: usize = 2_000;
const ROUNDS: u64 = 20;

#[test]
fn nothing_of_a_link_arrives_after_unlink() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let system = System::new();
        let (done, late) = (Tally::default(), Tally::default());
        for round in 0..ROUNDS {
            let victims: Vec<Pid> = (0..LINKS)
                .map(|_| system.spawn(|_cx: Context<()>| pending::<()>()).pid())
                .collect();
            let turns = Tally::default();
            let (ended, signals, turn) = (done.clone(), late.clone(), turns.clone());
            let linked = victims.clone();
            system.spawn(move |mut cx: Context<()>| async move {
                cx.trap_exit(true);
                for victim in &linked {
                    cx.link(*victim);
                }
                // Each dies on another worker, and its link is undone a little after it is known to be over.
                for (index, victim) in linked.iter().enumerate() {
                    turn.add();
                    while cx.system().is_alive(*victim) {
                        std::hint::spin_loop();
                    }
                    for _ in 0..index % 100 {
                        std::hint::spin_loop();
                    }
                    cx.unlink(*victim);
                }
                // Signals pass messages: those that are here are seen before a message to oneself. All the dead are told of by then.
                let me = cx.address();
                while linked.iter().any(|victim| cx.system().is_alive(*victim)) {
                    cx.consume_budget(4000).await;
                }
                for _ in 0..100 {
                    cx.consume_budget(4000).await;
                }
                let _ = me.send(());
                while matches!(cx.receive_event().await, Event::Signal(_)) {
                    signals.add();
                }
                ended.add();
            });
            for (index, victim) in victims.iter().enumerate() {
                while turns.get() <= index as u64 {
                    tokio::task::yield_now().await;
                }
                system.kill(*victim);
            }
            assert!(until(|| done.get() == round + 1).await);
        }
        assert_eq!(late.get(), 0, "signals of links that had been undone");
    });
}
