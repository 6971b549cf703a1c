//! Probes: what a test reads.

use std::time::Duration;

use mesh_runtime::{Context, Probe, Signal, System};

fn in_process(actors: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime on this thread")
        .block_on(actors);
}

#[test]
fn probe_reads_messages_in_order_and_keeps_what_it_goes_past() {
    in_process(async {
        let system = System::new();
        let mut probe = Probe::start(&system);
        let address = probe.address();
        for number in 0..200 {
            address.send(number).expect("a probe has no bound");
        }
        assert_eq!(probe.expect().await, 0);
        assert_eq!(probe.expect_match(|number| *number == 100).await, 100);
        assert_eq!(probe.expect().await, 1);
        let rest = probe.drain().await;
        let expected: Vec<i32> = (2..200).filter(|number| *number != 100).collect();
        assert_eq!(rest, expected);
        probe.refute(Duration::from_millis(1)).await;
    });
}

#[test]
fn probe_reads_downs_and_exits() {
    in_process(async {
        let system = System::new();
        let mut probe = Probe::<u8>::start(&system);
        let idle = |mut cx: Context<u8>| async move { while cx.receive().await > 0 {} };
        let (watched, linked) = (system.spawn(idle), system.spawn(idle));
        let reference = probe.monitor(watched.pid());
        probe.link(linked.pid());
        system.kill(watched.pid());
        match probe.expect_signal().await {
            Signal::Down {
                reference: seen,
                pid,
                reason,
            } => {
                assert_eq!((seen, pid), (reference, watched.pid()));
                assert_eq!(reason, mesh_runtime::ExitReason::killed());
            }
            other => panic!("expected a Down, got {other:?}"),
        }
        system.kill(linked.pid());
        assert!(
            matches!(probe.expect_signal().await, Signal::Exit { from, .. } if from == linked.pid())
        );
        assert!(system.is_alive(probe.pid()), "a probe traps exits");
        let pid = probe.pid();
        drop(probe);
        system.wait_for_exit(pid).await;
    });
}

#[test]
fn expectation_that_is_not_met_panics_and_says_what_came() {
    let failed = std::panic::catch_unwind(|| {
        in_process(async {
            let system = System::new();
            let mut probe = Probe::start(&system).patience(Duration::from_millis(1));
            probe.address().send(1).expect("a probe has no bound");
            probe.expect_match(|number| *number == 2).await;
        });
    });
    let message = failed.expect_err("it was not met");
    let message = message.downcast_ref::<String>().expect("a text");
    assert!(
        message.contains("1 messages and 0 signals wait"),
        "{message}"
    );
    let failed = std::panic::catch_unwind(|| {
        in_process(async {
            let system = System::new();
            let mut probe = Probe::start(&system);
            probe.address().send(1).expect("a probe has no bound");
            probe.refute(Duration::from_millis(1)).await;
        });
    });
    assert!(failed.is_err(), "something had come");
}
