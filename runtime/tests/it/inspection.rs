//! Seeing inside: as data and as text, without disturbing anybody.

use mesh_runtime::{ProcessStatus, Strategy, Supervisor, System};

use crate::support::{Message, address, crash, journal, supervise, total, until, worker};

#[tokio::test]
async fn inspection_shows_the_tree() {
    let system = System::builder().name("shop").build();
    let (sender, _seen) = journal();
    let tree = Supervisor::new(Strategy::OneForOne)
        .named("top")
        .child(worker("till", &sender));
    let top = supervise(&system, tree).await;
    crash(&system, "till", Message::Panic("x".into())).await;
    assert_eq!(total(&system, "till").await, Ok(0));
    until(&system, || {
        system
            .inspect()
            .processes
            .iter()
            .all(|process| process.status == ProcessStatus::Waiting)
    })
    .await;
    let inspection = system.inspect();
    let till = inspection
        .processes
        .iter()
        .find(|process| process.names == ["till"])
        .expect("it runs");
    assert_eq!(till.pid, address(&system, "till").pid());
    assert_eq!(till.parent, Some(top.pid()));
    assert_eq!(till.links, [top.pid()]);
    assert_eq!(till.label, "Worker");
    assert_eq!((till.restarts, till.messages_handled), (1, 1));
    assert!(till.reductions > 0);
    assert_eq!(
        (inspection.counts.panicked, inspection.counts.restarts),
        (1, 1)
    );
    let text = inspection.to_string();
    assert!(text.starts_with("shop up "), "{text}");
    assert!(text.contains(&format!("\ntop {}", top.pid())), "{text}");
    assert!(text.contains(&format!("\n  till {}", till.pid)), "{text}");
    let json = serde_json::to_value(&inspection).unwrap();
    assert_eq!(json["processes"][1]["pid"], till.pid.to_string());
    assert_eq!(json["processes"][1]["status"], "waiting");
}

#[test]
fn several_systems_live_in_one_program_on_any_runtime() {
    let current = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let multi = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    for runtime in [&current, &multi] {
        runtime.block_on(async {
            let (first, second) = (System::new(), System::new());
            let a =
                first.spawn(|mut cx: mesh_runtime::Context<()>| async move { cx.receive().await });
            let b =
                second.spawn(|mut cx: mesh_runtime::Context<()>| async move { cx.receive().await });
            assert_ne!(a.pid(), b.pid());
            assert!(first.is_alive(a.pid()) && !first.is_alive(b.pid()));
            first.register("name", &a).unwrap();
            second.register("name", &b).unwrap();
            first.shutdown(crate::support::PATIENCE).await.unwrap();
            assert!(second.is_alive(b.pid()));
        });
    }
}
