//! The whole matrix on running trees: strategies, restart types, exit reasons, below, at and above the intensity.

use mesh_runtime::{
    ChildSpec, DynamicSupervisor, ExitReason, RestartType, Strategy, Supervisor, SupervisorHandle,
    System,
};

use crate::support::{
    Journal, Life, Message, PATIENCE, Pen, address, crash, journal, soon, supervise, worker,
};

/// The children in the order of their start; the second is the one that ends.
const NAMES: [&str; 3] = ["first", "ends", "last"];
const ENDS: usize = 1;

/// How the child ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Normal,
    Shutdown,
    Error,
    Panic,
    Kill,
}

const ENDINGS: [End; 5] = [
    End::Normal,
    End::Shutdown,
    End::Error,
    End::Panic,
    End::Kill,
];

/// The strategies by their rows: who is stopped and started with the child. A dynamic supervisor has the first row.
const STRATEGIES: [(Option<Strategy>, &[usize]); 4] = [
    (None, &[ENDS]),
    (Some(Strategy::OneForOne), &[ENDS]),
    (Some(Strategy::OneForAll), &[0, 1, 2]),
    (Some(Strategy::RestForOne), &[1, 2]),
];

/// Whether OTP restarts it, written as its table.
fn is_restarted(restart: RestartType, end: End) -> bool {
    match (restart, end) {
        (RestartType::Permanent, _) => true,
        (RestartType::Transient, End::Error | End::Panic | End::Kill) => true,
        (RestartType::Transient, End::Normal | End::Shutdown) => false,
        (RestartType::Temporary, _) => false,
    }
}

async fn start(
    system: &System,
    strategy: Option<Strategy>,
    restart: RestartType,
    limit: u32,
    pen: &Pen<Life>,
) -> SupervisorHandle {
    let children = NAMES.map(|name| {
        let child = worker(name, pen);
        if name == NAMES[ENDS] {
            child.restart(restart)
        } else {
            child
        }
    });
    match strategy {
        Some(strategy) => {
            let tree = Supervisor::new(strategy).intensity(limit, PATIENCE);
            supervise(system, children.into_iter().fold(tree, Supervisor::child)).await
        }
        None => {
            let dynamic = DynamicSupervisor::new().intensity(limit, PATIENCE);
            // Temporary, so that what the dynamic supervisor does is the end of it.
            let spec = ChildSpec::dynamic("dynamic", dynamic).restart(RestartType::Temporary);
            supervise(system, Supervisor::new(Strategy::OneForOne).child(spec)).await;
            let handle = system.supervisor("dynamic").expect("it runs");
            for child in children {
                handle.start_child(child).await.expect("it starts");
            }
            handle
        }
    }
}

async fn end(system: &System, how: End) {
    let name = NAMES[ENDS];
    let message = match how {
        End::Normal => Message::Stop(ExitReason::normal()),
        End::Shutdown => Message::Stop(ExitReason::shutdown()),
        End::Error => Message::Stop(ExitReason::error("x")),
        End::Panic => Message::Panic("x".into()),
        End::Kill => {
            let pid = address(system, name).pid();
            let ended = system.wait_for_exit(pid);
            system.kill(pid);
            assert_eq!(soon(system, ended).await, ExitReason::killed());
            return;
        }
    };
    crash(system, name, message).await;
}

/// What the children wrote since the last look, without the reasons.
fn lives(seen: &mut Journal<Life>) -> Vec<String> {
    let lines = seen.rest().into_iter().map(|life| match life {
        Life::Started(name) => format!("+{name}"),
        Life::Terminated(name, _) => format!("-{name}"),
    });
    lines.collect()
}

fn expected_restart(row: &[usize], end: End) -> Vec<String> {
    let mut lines = Vec::new();
    // A kill skips `terminate`.
    if !matches!(end, End::Kill) {
        lines.push(format!("-{}", NAMES[ENDS]));
    }
    let others = row.iter().rev().filter(|index| **index != ENDS);
    lines.extend(others.map(|index| format!("-{}", NAMES[*index])));
    lines.extend(row.iter().map(|index| format!("+{}", NAMES[*index])));
    lines
}

#[tokio::test]
async fn running_trees_do_what_the_table_says() {
    let mut trees = 0;
    for (strategy, row) in STRATEGIES {
        for restart in [
            RestartType::Permanent,
            RestartType::Transient,
            RestartType::Temporary,
        ] {
            for how in ENDINGS {
                for limit in 0..=2 {
                    let what = format!("{strategy:?} {restart:?} {how:?} limit {limit}");
                    one_tree(strategy, row, restart, how, limit, &what).await;
                    trees += 1;
                }
            }
        }
    }
    assert_eq!(trees, 180);
}

async fn one_tree(
    strategy: Option<Strategy>,
    row: &[usize],
    restart: RestartType,
    how: End,
    limit: u32,
    what: &str,
) {
    let system = System::new();
    let (pen, mut seen) = journal();
    let handle = start(&system, strategy, restart, limit, &pen).await;
    assert_eq!(lives(&mut seen), ["+first", "+ends", "+last"], "{what}");
    let ended = system.wait_for_exit(handle.pid());
    for restarts in 1..=limit {
        end(&system, how).await;
        // The supervisor has the exit signal before this question.
        let children = soon(&system, handle.which_children())
            .await
            .expect("the supervisor answers");
        if !is_restarted(restart, how) {
            let rests = restart != RestartType::Temporary && strategy.is_some();
            assert_eq!(children.len(), 2 + usize::from(rests), "{what}");
            let expected = expected_restart(&[], how);
            assert_eq!(lives(&mut seen), expected, "{what}: left alone");
            return;
        }
        assert_eq!(
            lives(&mut seen),
            expected_restart(row, how),
            "{what}: restart {restarts}"
        );
        assert_eq!(children[ENDS].restarts, restarts, "{what}");
        assert!(children.iter().all(|child| child.pid.is_some()), "{what}");
    }
    // One more is above the limit, unless this end needs no restart.
    end(&system, how).await;
    let mut expected = expected_restart(&[], how);
    if is_restarted(restart, how) {
        assert_eq!(
            soon(&system, ended).await,
            ExitReason::restart_intensity(),
            "{what}"
        );
        expected.extend(["-last".to_owned(), "-first".to_owned()]);
    } else {
        soon(&system, handle.count_children())
            .await
            .expect("it answers");
        assert!(handle.is_alive(), "{what}");
    }
    let mut found = lives(&mut seen);
    if strategy.is_none() {
        // A dynamic supervisor stops its children all at once.
        found.sort();
        expected.sort();
    }
    assert_eq!(found, expected, "{what}: above the limit");
}
