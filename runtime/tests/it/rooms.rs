//! Rooms: encode once, wait for nobody, tell what was missed.

use bytes::Bytes;
use mesh_runtime::{
    Context, Event, ExitKind, NameError, RoomMessage, RoomPolicy, Signal, System, limits,
};

use crate::support::{PATIENCE, journal, soon, until};

enum Message {
    Frame(RoomMessage),
    Direct(&'static str),
}

fn text(message: Message) -> String {
    match message {
        Message::Frame(frame) => format!(
            "{}:{}:{}",
            frame.room,
            String::from_utf8_lossy(&frame.payload),
            frame.missed
        ),
        Message::Direct(text) => text.to_owned(),
    }
}

/// Joins from outside and writes down what it gets once it is told to go.
fn member(
    system: &System,
) -> (
    mesh_runtime::Address<Message>,
    crate::support::Journal<String>,
) {
    let (sender, seen) = journal();
    let address = system.spawn(move |mut cx: Context<Message>| async move {
        loop {
            let message = cx.receive().await;
            if matches!(message, Message::Direct("stop")) {
                break;
            }
            let _ = sender.send(text(message));
        }
    });
    (address, seen)
}

#[tokio::test]
async fn broadcast_reaches_every_member_but_the_excepted() {
    let system = System::new();
    let (first, mut first_seen) = member(&system);
    let (second, mut second_seen) = member(&system);
    system.rooms().join("room", &first, Message::Frame).unwrap();
    system
        .rooms()
        .join("room", &second, Message::Frame)
        .unwrap();
    system
        .rooms()
        .join("room", &second, Message::Frame)
        .unwrap();
    assert_eq!(system.rooms().members("room"), [first.pid(), second.pid()]);
    assert_eq!(
        system
            .rooms()
            .broadcast("room", Bytes::from_static(b"a"))
            .delivered,
        2
    );
    assert_eq!(
        system
            .rooms()
            .broadcast_except("room", Bytes::from_static(b"b"), first.pid())
            .delivered,
        1
    );
    assert_eq!(first_seen.next(&system).await, "room:a:0");
    assert_eq!(second_seen.next(&system).await, "room:a:0");
    assert_eq!(second_seen.next(&system).await, "room:b:0");
    assert!(system.rooms().leave("room", first.pid()));
    assert_eq!(
        system
            .rooms()
            .broadcast("room", Bytes::from_static(b"c"))
            .delivered,
        1
    );
    assert_eq!(
        system.rooms().broadcast("nowhere", Bytes::new()).delivered,
        0
    );
}

#[tokio::test]
async fn broadcast_shares_one_encoding() {
    let system = System::new();
    let (sender, mut seen) = journal();
    for _ in 0..2 {
        let sender = sender.clone();
        let member = system.spawn(move |mut cx: Context<RoomMessage>| async move {
            let frame = cx.receive().await;
            let _ = sender.send(frame.payload);
        });
        system.rooms().join("room", &member, |frame| frame).unwrap();
    }
    let payload = Bytes::from(vec![1, 2, 3]);
    system.rooms().broadcast("room", payload.clone());
    for _ in 0..2 {
        assert_eq!(seen.next(&system).await.as_ptr(), payload.as_ptr());
    }
}

#[tokio::test]
async fn slow_member_loses_the_oldest_and_is_told() {
    let system = System::new();
    let (slow, mut seen) = member(&system);
    system.rooms().join("room", &slow, Message::Frame).unwrap();
    // The member has not run yet: one thread, and this test has not awaited.
    let beyond = 3;
    let mut lagging = 0;
    for number in 0..limits::ROOM_FRAMES_MAX + beyond {
        lagging += system
            .rooms()
            .broadcast("room", Bytes::from(number.to_string()))
            .lagging;
    }
    assert_eq!(lagging, beyond);
    assert_eq!(seen.next(&system).await, format!("room:{beyond}:{beyond}"));
    assert_eq!(seen.next(&system).await, format!("room:{}:0", beyond + 1));
    assert_eq!(system.inspect().counts.room_frames_missed, beyond as u64);
}

#[tokio::test]
async fn frames_keep_their_place_among_messages() {
    let system = System::new();
    let (member, mut seen) = member(&system);
    system
        .rooms()
        .join("room", &member, Message::Frame)
        .unwrap();
    member.send(Message::Direct("first")).unwrap();
    system
        .rooms()
        .broadcast("room", Bytes::from_static(b"second"));
    member.send(Message::Direct("third")).unwrap();
    system
        .rooms()
        .broadcast("room", Bytes::from_static(b"fourth"));
    for expected in ["first", "room:second:0", "third", "room:fourth:0"] {
        assert_eq!(seen.next(&system).await, expected);
    }
}

#[tokio::test]
async fn room_is_left_on_death() {
    let system = System::new();
    let (gone, _seen) = member(&system);
    let (stays, _seen) = member(&system);
    for room in ["a", "b"] {
        system.rooms().join(room, &gone, Message::Frame).unwrap();
        system.rooms().join(room, &stays, Message::Frame).unwrap();
    }
    let wait = system.wait_for_exit(gone.pid());
    system.kill(gone.pid());
    soon(&system, wait).await;
    assert_eq!(system.rooms().members("a"), [stays.pid()]);
    assert_eq!(
        system.rooms().join("a", &gone, Message::Frame),
        Err(NameError::Gone)
    );
    assert_eq!(
        system.rooms().join("", &stays, Message::Frame),
        Err(NameError::Invalid)
    );
    let wait = system.wait_for_exit(stays.pid());
    stays.send(Message::Direct("stop")).unwrap();
    soon(&system, wait).await;
    assert_eq!(system.rooms().all(), []);
}

#[tokio::test]
async fn broadcast_never_waits_for_a_member_that_does_not_read() {
    let system = System::new();
    let deaf = system.spawn(|cx: Context<Message>| async move { cx.sleep(PATIENCE).await });
    system.rooms().join("room", &deaf, Message::Frame).unwrap();
    for _ in 0..10 * limits::ROOM_FRAMES_MAX {
        assert_eq!(
            system
                .rooms()
                .broadcast("room", Bytes::from_static(b"x"))
                .delivered,
            1
        );
    }
    assert_eq!(deaf.len(), limits::ROOM_FRAMES_MAX);
}

#[tokio::test]
async fn slow_member_that_chose_so_is_disconnected_and_told() {
    let system = System::new();
    let (sender, mut seen) = journal();
    // One traps and is told; one does not and ends. Neither reads.
    let told = system.spawn(move |mut cx: Context<Message>| async move {
        cx.trap_exit(true);
        cx.system()
            .rooms()
            .join_with(
                "room",
                &cx.address(),
                RoomPolicy::Disconnect,
                Message::Frame,
            )
            .unwrap();
        cx.system()
            .rooms()
            .join("other", &cx.address(), Message::Frame)
            .unwrap();
        let Message::Direct(_) = cx.receive().await else {
            panic!("a frame before the go");
        };
        let Event::Signal(Signal::Exit { reason, .. }) = cx.receive_event().await else {
            panic!("a message before the signal");
        };
        sender.send(reason).unwrap();
        cx.sleep(PATIENCE).await;
    });
    let ended = system.spawn(|cx: Context<Message>| async move { cx.sleep(PATIENCE).await });
    let patient = system.spawn(|cx: Context<Message>| async move { cx.sleep(PATIENCE).await });
    let rooms = system.rooms();
    rooms
        .join_with("room", &ended, RoomPolicy::Disconnect, Message::Frame)
        .unwrap();
    rooms.join("room", &patient, Message::Frame).unwrap();
    until(&system, || rooms.members("other").len() == 1).await;
    told.send(Message::Direct("go")).unwrap();
    let frame = || rooms.broadcast("room", Bytes::from_static(b"x"));
    for number in 0..limits::ROOM_FRAMES_MAX {
        let report = frame();
        assert_eq!((report.delivered, report.disconnected), (3, 0), "{number}");
    }
    let end = system.wait_for_exit(ended.pid());
    let report = frame();
    assert_eq!(
        (report.delivered, report.lagging, report.disconnected),
        (1, 1, 2)
    );
    assert_eq!(seen.next(&system).await, ExitKind::TooSlow);
    assert_eq!(soon(&system, end).await, ExitKind::TooSlow);
    assert_eq!(rooms.members("room"), [patient.pid()]);
    assert_eq!(
        rooms.members("other"),
        [told.pid()],
        "only that room is left"
    );
    assert_eq!(frame().disconnected, 0, "each is disconnected once");
    let counts = system.inspect().counts;
    assert_eq!(
        (counts.room_members_disconnected, counts.room_frames_missed),
        (2, 2)
    );
}
