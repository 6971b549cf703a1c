//! Dead letters: counted, and told to those who subscribe, who are told how many they missed.

use std::time::Duration;

use mesh_runtime::telemetry::LostTo;
use mesh_runtime::{Capacity, Context, Overflow, ReplyTo, System};

use crate::support::{PATIENCE, soon, until};

enum Message {
    Number,
    Late(ReplyTo<u8>),
}

/// Answers a call only when it has got a number, and ends with the next number.
async fn late(mut cx: Context<Message>) {
    let mut token = None;
    loop {
        match cx.receive().await {
            Message::Late(to) => token = Some(to),
            Message::Number => match token.take() {
                Some(to) => to.reply(1),
                None => return,
            },
        }
    }
}

#[tokio::test]
async fn every_kind_of_dead_letter_is_counted_and_told() {
    let system = System::new();
    let mut letters = system.dead_letters(100);
    let full = Capacity::bounded(1).overflow(Overflow::DropNewest);
    let deaf = system.spawn_with(
        full,
        |cx: Context<u32>| async move { cx.sleep(PATIENCE).await },
    );
    deaf.send(1).unwrap();
    deaf.send(2).unwrap();
    let letter = soon(&system, letters.next()).await.unwrap();
    assert_eq!(
        (letter.to, letter.lost_to),
        (Some(deaf.pid()), LostTo::Overflow)
    );
    assert!(letter.message_type.ends_with("u32"));

    let strict = system.spawn_with(Capacity::bounded(1), |cx: Context<u32>| async move {
        cx.sleep(PATIENCE).await;
    });
    strict.send(1).unwrap();
    system.send_after(&strict, Duration::ZERO, 2);
    let letter = soon(&system, letters.next()).await.unwrap();
    assert_eq!(
        (letter.to, letter.lost_to),
        (Some(strict.pid()), LostTo::Timer)
    );

    system.kill(strict.pid());
    let letter = soon(&system, letters.next()).await.unwrap();
    assert_eq!(
        (letter.to, letter.lost_to),
        (Some(strict.pid()), LostTo::Unread)
    );

    let late = system.spawn(late);
    let call = late.call_timeout(Duration::ZERO, Message::Late);
    assert!(soon(&system, call).await.is_err());
    late.send(Message::Number).unwrap();
    let letter = soon(&system, letters.next()).await.unwrap();
    assert_eq!((letter.to, letter.lost_to), (None, LostTo::LateReply));
    assert_eq!(letter.message_type, "u8");

    assert_eq!((letters.try_next(), letters.missed()), (None, 0));
    let counts = system.inspect().counts;
    assert_eq!(
        (
            counts.messages_dropped,
            counts.messages_unread,
            counts.late_replies
        ),
        (2, 1, 1)
    );
    assert_eq!(counts.dead_letters, 4);
}

#[tokio::test]
async fn full_subscription_keeps_its_bound_and_counts_the_rest() {
    let system = System::new();
    let mut few = system.dead_letters(2);
    let mut all = system.dead_letters(100);
    let gone = system.dead_letters(100);
    drop(gone);
    let deaf = Capacity::bounded(0).overflow(Overflow::DropNewest);
    let deaf = system.spawn_with(
        deaf,
        |cx: Context<u32>| async move { cx.sleep(PATIENCE).await },
    );
    for number in 0..10 {
        deaf.send(number).unwrap();
    }
    assert_eq!(few.missed(), 8, "the first two are kept");
    assert_eq!(all.missed(), 0);
    assert!(few.try_next().is_some() && few.try_next().is_some() && few.try_next().is_none());
    assert_eq!(std::iter::from_fn(|| all.try_next()).count(), 10);
    deaf.send(10).unwrap();
    assert!(few.try_next().is_some(), "there is room again");
    system.kill(deaf.pid());
    until(&system, || system.inspect().processes.is_empty()).await;
    drop((system, deaf));
    assert!(all.try_next().is_some());
    assert!(all.next().await.is_none(), "the system is gone");
}
