//! Finding 2: a process started while the system stops outlived `System::shutdown`, which said that all had ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dogfood_tests::stage::until;
use mesh_runtime::{Context, System};

#[test]
fn nobody_outlives_a_shutdown_that_says_all_have_ended() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let system = System::new();
        let ready = Arc::new(AtomicBool::new(false));
        let traps = ready.clone();
        system.spawn(move |mut cx: Context<()>| async move {
            cx.trap_exit(true);
            traps.store(true, Ordering::Release);
            let _told_to_stop = cx.receive_event().await;
            cx.spawn(|_cx: Context<()>| std::future::pending::<()>());
        });
        assert!(until(|| ready.load(Ordering::Acquire)).await);
        let stopped = system.shutdown(Duration::from_secs(1)).await;
        let left = system.inspect().processes.len();
        assert_eq!(left, 0, "shutdown said {stopped:?}");
    });
}
