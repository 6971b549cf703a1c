//! Groups: many members, one picked; left on death.

use std::collections::HashMap;

use mesh_runtime::{Address, Context, NameError, Pid, System};

use crate::support::{PATIENCE, soon, until};

fn member(system: &System) -> Address<u32> {
    system.spawn(|cx: Context<u32>| async move { cx.sleep(PATIENCE).await })
}

fn three(system: &System) -> Vec<Address<u32>> {
    let members: Vec<_> = (0..3).map(|_| member(system)).collect();
    for member in &members {
        for _ in 0..2 {
            assert_eq!(system.groups().join("pool", member), Ok(()));
        }
    }
    members
}

#[tokio::test]
async fn group_is_typed_and_left_on_death() {
    let system = System::new();
    let groups = system.groups();
    let members = three(&system);
    assert_eq!(groups.members::<u32>("pool"), Ok(members.clone()));
    assert_eq!(groups.members::<u32>("nobody"), Ok(Vec::new()));
    assert_eq!(groups.members::<u8>("pool"), Err(NameError::WrongType));
    let other = system.spawn(|cx: Context<u8>| async move { cx.sleep(PATIENCE).await });
    assert_eq!(groups.join("pool", &other), Err(NameError::WrongType));
    assert_eq!(groups.join("", &other), Err(NameError::Invalid));
    assert!(groups.leave("pool", members[0].pid()));
    assert!(!groups.leave("pool", members[0].pid()));
    let ended = system.wait_for_exit(members[1].pid());
    system.kill(members[1].pid());
    soon(&system, ended).await;
    assert_eq!(groups.members::<u32>("pool"), Ok(vec![members[2].clone()]));
    assert_eq!(groups.join("pool", &members[1]), Err(NameError::Gone));
    system.kill(members[2].pid());
    until(&system, || {
        groups.round_robin::<u32>("pool") == Err(NameError::NotFound)
    })
    .await;
    assert_eq!(
        groups.join("pool", &other),
        Ok(()),
        "an empty group has no type"
    );
}

#[tokio::test]
async fn round_robin_takes_turns_and_least_busy_avoids_the_busy() {
    let system = System::new();
    let groups = system.groups();
    let members = three(&system);
    let mut picked: HashMap<Pid, usize> = HashMap::new();
    for _ in 0..30 {
        let member = groups.round_robin::<u32>("pool").unwrap();
        *picked.entry(member.pid()).or_default() += 1;
    }
    assert_eq!(picked.into_values().collect::<Vec<_>>(), [10, 10, 10]);
    members[0].send(1).unwrap();
    members[2].send(1).unwrap();
    for _ in 0..5 {
        assert_eq!(groups.least_busy::<u32>("pool"), Ok(members[1].clone()));
    }
    members[1].send(1).unwrap();
    for _ in 0..27 {
        groups.least_busy::<u32>("pool").unwrap().send(2).unwrap();
    }
    assert!(members.iter().all(|member| member.len() == 10));
}

#[tokio::test]
async fn key_stays_with_its_member_and_only_its_keys_move() {
    let system = System::new();
    let groups = system.groups();
    let members = three(&system);
    let of = |key: u32| groups.by_key::<u32>("pool", &key).unwrap();
    let before: Vec<_> = (0..300).map(of).collect();
    for member in &members {
        let share = before.iter().filter(|picked| *picked == member).count();
        assert!(share > 50, "{share} of 300 keys");
    }
    assert!(groups.leave("pool", members[1].pid()));
    for (key, old) in before.iter().enumerate() {
        let new = of(u32::try_from(key).unwrap());
        assert_eq!(new == *old, *old != members[1], "key {key}");
    }
}
