//! Names: unique, typed, released on exit by any cause.

use mesh_runtime::{Context, NameError, Strategy, Supervisor, System};

use crate::support::{PATIENCE, journal, soon, supervise, until, worker};

#[tokio::test]
async fn name_is_unique_and_typed() {
    let system = System::new();
    let first = system.spawn(|cx: Context<u8>| async move { cx.sleep(PATIENCE).await });
    let second = system.spawn(|cx: Context<u8>| async move { cx.sleep(PATIENCE).await });
    system.register("one", &first).unwrap();
    assert_eq!(system.register("one", &second), Err(NameError::Taken));
    assert_eq!(system.whereis::<u8>("one"), Ok(first.clone()));
    assert_eq!(
        system.whereis::<u16>("one").unwrap_err(),
        NameError::WrongType
    );
    assert_eq!(
        system.whereis::<u8>("two").unwrap_err(),
        NameError::NotFound
    );
    assert_eq!(system.register("", &second), Err(NameError::Invalid));
    assert_eq!(system.names(), [("one".to_owned(), first.pid())]);
    assert!(system.unregister("one"));
    assert!(!system.unregister("one"));
    assert_eq!(system.register("one", &second), Ok(()));
}

#[tokio::test]
async fn name_is_released_by_any_exit() {
    let system = System::new();
    for how in ["return", "panic", "kill"] {
        let process = system.spawn(|mut cx: Context<bool>| async move {
            let panics = cx.receive().await;
            assert!(!panics);
        });
        system.register("name", &process).unwrap();
        let wait = system.wait_for_exit(process.pid());
        match how {
            "kill" => drop(system.kill(process.pid())),
            other => process.send(other == "panic").unwrap(),
        }
        soon(&system, wait).await;
        assert_eq!(system.whereis_pid("name"), None, "{how}");
        assert_eq!(system.register("name", &process), Err(NameError::Gone));
    }
}

#[tokio::test]
async fn process_names_itself() {
    let system = System::new();
    let process = system.spawn(|mut cx: Context<()>| async move {
        cx.register("me").expect("free");
        cx.sleep(PATIENCE).await;
    });
    until(&system, || system.whereis_pid("me") == Some(process.pid())).await;
}

#[tokio::test]
async fn supervisor_gives_back_only_its_own_name() {
    let system = System::new();
    let (sender, _seen) = journal();
    let tree = Supervisor::new(Strategy::OneForOne).child(worker("taken over", &sender));
    let handle = supervise(&system, tree).await;
    let other = system.spawn(|cx: Context<u8>| async move { cx.sleep(PATIENCE).await });
    assert!(system.unregister("taken over"));
    system.register("taken over", &other).unwrap();
    soon(&system, handle.stop()).await.unwrap();
    assert_eq!(system.whereis_pid("taken over"), Some(other.pid()));
}
