//! Seeing inside: as data and as text, without disturbing anybody.

use std::time::Duration;

use mesh_runtime::{ProcessStatus, Strategy, Supervisor, System};

use crate::support::{Message, PATIENCE, address, crash, journal, supervise, total, until, worker};

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
    assert!(
        text.contains(&format!("\ntop      {}", top.pid())),
        "{text}"
    );
    assert!(text.contains(&format!("\n└─ till  {}", till.pid)), "{text}");
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

#[tokio::test]
async fn text_shows_what_an_operator_looks_for() {
    let system = System::builder().name("shop").measure_busy().build();
    let (sender, _seen) = journal();
    let tree = Supervisor::new(Strategy::OneForOne)
        .named("top")
        .child(worker("quiet", &sender))
        .child(worker("till", &sender));
    supervise(&system, tree).await;
    crash(&system, "till", Message::Panic("out of paper".into())).await;
    assert_eq!(total(&system, "till").await, Ok(0));
    let idle: Vec<_> = (0..30)
        .map(|_| {
            system.spawn(|mut cx: mesh_runtime::Context<u8>| async move {
                cx.sleep(PATIENCE).await;
                cx.receive().await;
            })
        })
        .collect();
    idle[7].send(1).unwrap();
    let text = system.inspect().to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains(": 33 processes ("), "{text}");
    assert!(
        lines[1].contains(" 1 panicked, 1 restart, 0 stuck"),
        "{text}"
    );
    let names: Vec<&str> = lines
        .iter()
        .skip_while(|line| !line.starts_with("process "))
        .map(|line| line.split_once("  ").map_or(*line, |(name, _)| name))
        .collect();
    assert_eq!(names[1], "top", "trees come first\n{text}");
    assert_eq!(
        names[2], "├─ till",
        "who crashed comes before who did not\n{text}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.contains("last panic at ") && line.contains("out of paper")),
        "{text}"
    );
    assert!(names.contains(&"└─ quiet"), "{text}");
    let busy = lines
        .iter()
        .position(|line| line.contains(&idle[7].pid().to_string()));
    let other = lines
        .iter()
        .position(|line| line.contains(&idle[0].pid().to_string()));
    assert!(busy < other, "whoever is behind comes first\n{text}");
    assert!(
        text.contains("… and 6 more: 0 messages waiting, 0 restarts"),
        "{text}"
    );
    // The columns stand one under the other.
    let widths: Vec<usize> = lines
        .iter()
        .filter(|line| line.contains(" <0."))
        .filter_map(|line| line.find(" <0.").map(|at| line[..at].chars().count()))
        .collect();
    assert!(
        widths.len() > 20 && widths.iter().all(|width| *width == widths[0]),
        "{text}"
    );
    let till = system
        .inspect()
        .processes
        .into_iter()
        .find(|process| process.names == ["till"]);
    let till = till.expect("it runs");
    assert!(till.busy_us.is_some());
    assert!(
        till.last_panic
            .is_some_and(|panic| panic.contains("out of paper"))
    );
}

#[tokio::test]
async fn busy_time_is_measured_when_it_is_asked_for() {
    for measured in [false, true] {
        let builder = System::builder();
        let system = if measured {
            builder.measure_busy()
        } else {
            builder
        }
        .build();
        let process = system.spawn(|cx: mesh_runtime::Context<()>| async move {
            let system = cx.system();
            let start = system.clock().now();
            while system.clock().now() - start < Duration::from_millis(2) {}
            cx.sleep(PATIENCE).await;
        });
        let waits = || {
            let info = system.inspect().processes.remove(0);
            info.status == ProcessStatus::Waiting
        };
        until(&system, waits).await;
        let info = system.inspect().processes.remove(0);
        assert_eq!(info.pid, process.pid());
        assert_eq!(info.busy_us.is_some(), measured);
        assert!(
            info.busy_us.is_none_or(|busy| busy >= 2_000),
            "{:?}",
            info.busy_us
        );
    }
}
