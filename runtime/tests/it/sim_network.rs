//! The simulated network: loss, duplication, delay, order, cuts; and two systems joined through it.

use std::time::Duration;

use mesh_runtime::sim::{Endpoint, LinkQuality, Sim};
use mesh_runtime::{Address, Context, Probe, System};

async fn stamp(system: System, end: Endpoint, to: Address<(u8, Duration)>) {
    loop {
        let packet = end.receive().await;
        let _ = to.send((packet.payload[0], system.clock().now()));
    }
}

/// Sends these numbers from left to right, waits a while, and gives what arrived.
fn carried(seed: u64, quality: LinkQuality, count: u8) -> (Vec<u8>, Duration) {
    let sim = Sim::new(seed);
    let system = sim.system("lab");
    let net = sim.network();
    let (left, right) = (net.endpoint("left"), net.endpoint("right"));
    net.set_quality(quality);
    sim.run(async {
        let mut probe = Probe::start(&system);
        let to = probe.address();
        system.spawn(move |cx: Context<()>| stamp(cx.system(), right, to));
        for number in 0..count {
            left.send("right", vec![number]);
        }
        sim.sleep(Duration::from_secs(60)).await;
        let arrived = probe.drain().await;
        let last = arrived.last().map_or(Duration::ZERO, |(_, at)| *at);
        (
            arrived.into_iter().map(|(number, _)| number).collect(),
            last,
        )
    })
}

#[test]
fn good_link_delivers_everything_once_and_in_order() {
    let (arrived, last) = carried(1, LinkQuality::default(), 100);
    assert_eq!(arrived, (0..100).collect::<Vec<u8>>());
    assert!(last < Duration::from_millis(10));
}

#[test]
fn bad_link_loses_doubles_delays_and_reorders() {
    let (arrived, _) = carried(1, LinkQuality::default().loss(0.5), 200);
    assert!((60..140).contains(&arrived.len()), "{}", arrived.len());
    assert!(arrived.is_sorted());
    let (arrived, _) = carried(1, LinkQuality::default().duplication(1.0), 100);
    assert_eq!(arrived.len(), 200);
    let slow = Duration::from_secs(5)..Duration::from_secs(6);
    let (arrived, last) = carried(1, LinkQuality::default().delay(slow.clone()), 10);
    assert_eq!(arrived.len(), 10);
    assert!(last >= slow.start && last < slow.end + Duration::from_secs(1));
    let (mut arrived, _) = carried(1, LinkQuality::default().delay(slow).reorders(), 100);
    assert!(!arrived.is_sorted());
    arrived.sort_unstable();
    assert_eq!(arrived, (0..100).collect::<Vec<u8>>());
}

#[test]
fn cut_is_one_way_and_a_partition_is_not() {
    let sim = Sim::new(1);
    let net = sim.network();
    let ends: Vec<Endpoint> = ["a", "b", "c"]
        .iter()
        .map(|name| net.endpoint(name))
        .collect();
    let everybody_sends = async || {
        for end in &ends {
            for other in ["a", "b", "c"].iter().filter(|name| **name != end.name()) {
                end.send(other, end.name().to_owned().into_bytes());
            }
        }
        sim.sleep(Duration::from_secs(1)).await;
        let mut heard = Vec::new();
        for end in &ends {
            let mut from = String::new();
            loop {
                let mut receive = std::pin::pin!(end.receive());
                let polled = std::future::poll_fn(|task| {
                    std::task::Poll::Ready(receive.as_mut().poll(task))
                })
                .await;
                match polled {
                    std::task::Poll::Ready(packet) => from.push_str(&packet.from),
                    std::task::Poll::Pending => break,
                }
            }
            let mut letters: Vec<char> = from.chars().collect();
            letters.sort_unstable();
            heard.push(letters.into_iter().collect::<String>());
        }
        heard
    };
    sim.run(async {
        assert_eq!(everybody_sends().await, ["bc", "ac", "ab"]);
        net.cut("a", "b");
        assert_eq!(everybody_sends().await, ["bc", "c", "ab"]);
        net.heal();
        net.partition(&["a"]);
        assert_eq!(everybody_sends().await, ["", "c", "b"]);
        net.heal();
        assert_eq!(everybody_sends().await, ["bc", "ac", "ab"]);
        ends[0].send("b", "on its way");
        net.cut("a", "b");
        sim.sleep(Duration::from_secs(1)).await;
        assert_eq!(
            everybody_sends().await[1],
            "c",
            "what is on its way is lost, too"
        );
        ends[0].send("nobody", "lost");
    });
    let trace = sim.trace().to_string();
    for fate in [
        "is cut off from b",
        "the link is cut",
        "nobody is there",
        "network: a are cut off",
    ] {
        assert!(trace.contains(fate), "{fate} is missing in\n{trace}");
    }
}

/// A process that hands packets to a mailbox here, and one that sends until it hears an acknowledgement.
async fn carrier(end: Endpoint, to: Address<u8>) {
    let mut next = 0;
    loop {
        let packet = end.receive().await;
        let number = packet.payload[0];
        if number == next {
            next += 1;
            let _ = to.send(number);
        }
        if number < next {
            end.send(&packet.from, vec![number]);
        }
    }
}

fn sender(system: &System, end: Endpoint, count: u8) {
    system.spawn(move |cx: Context<()>| async move {
        let system = cx.system();
        for number in 0..count {
            loop {
                end.send("right", vec![number]);
                let answer = system.timeout(Duration::from_millis(20), async {
                    while end.receive().await.payload[0] != number {}
                });
                if answer.await.is_ok() {
                    break;
                }
            }
        }
    });
}

#[test]
fn two_systems_talk_through_a_network_that_loses_and_doubles() {
    mesh_runtime::sim::check(100, async |sim| {
        let (left, right) = (sim.system("left"), sim.system("right"));
        let net = sim.network();
        net.set_quality(
            LinkQuality::default()
                .loss(0.3)
                .duplication(0.3)
                .delay(Duration::from_millis(1)..Duration::from_millis(15))
                .reorders(),
        );
        let mut probe = Probe::start(&right).patience(Duration::from_secs(60));
        let (end, to) = (net.endpoint("right"), probe.address());
        right.spawn(move |_: Context<()>| carrier(end, to));
        sender(&left, net.endpoint("left"), 20);
        for number in 0..20 {
            if number == 10 {
                net.partition(&["left"]);
                sim.sleep(Duration::from_secs(1)).await;
                net.heal();
            }
            assert_eq!(probe.expect().await, number);
        }
        probe.refute(Duration::from_secs(1)).await;
    });
}
