//! The wheel against a model: a sorted list.

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

use super::{Due, Key, SPARE_MAX, Wheel};

#[derive(Clone, Debug)]
enum Step {
    Insert { delay: u64 },
    Cancel(usize),
    Advance { by: u64, batch: usize, keep: bool },
}

/// Delays on every level, on the edges of slots, and beyond the wheel.
fn delay() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..200_u64,
        (0..40_u32, -1..=1_i64).prop_map(|(bits, off)| (1_u64 << bits).saturating_add_signed(off)),
        0..1_u64 << 38,
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => delay().prop_map(|delay| Step::Insert { delay }),
        2 => any::<usize>().prop_map(Step::Cancel),
        4 => (delay(), prop_oneof![Just(1), Just(3), Just(1_000)], any::<bool>())
            .prop_map(|(by, batch, keep)| Step::Advance { by, batch, keep }),
    ]
}

#[derive(Clone, Debug)]
struct Pending {
    key: Key,
    tick: u64,
    id: usize,
}

/// Some end a batch.
fn is_last(id: &usize) -> bool {
    id % 5 == 0
}

/// Fires everything due at `now` in batches, as the driver does.
fn fire(wheel: &mut Wheel<usize>, model: &mut Vec<Pending>, now: u64, batch: usize, keep: bool) {
    let mut last = 0;
    loop {
        let mut due = Vec::new();
        wheel.advance(now, batch, is_last, &mut due);
        assert!(due.len() <= batch);
        let ends = due.iter().position(|due| is_last(&due.payload));
        assert!(
            ends.is_none_or(|at| at + 1 == due.len()),
            "none comes with it that is due after it"
        );
        if due.is_empty() {
            break;
        }
        for Due {
            key, payload: id, ..
        } in due
        {
            let at = model
                .iter()
                .position(|pending| pending.key == key)
                .expect("only pending timers fire, once");
            let pending = model.remove(at);
            assert_eq!(pending.id, id);
            assert!(
                model[..at]
                    .iter()
                    .all(|earlier| earlier.tick != pending.tick),
                "timers of one tick fire in the order they came"
            );
            assert!(
                pending.tick <= now,
                "timer due at {} fired at {now}",
                pending.tick
            );
            assert!(
                pending.tick >= last,
                "timers fire in the order of their ticks"
            );
            last = pending.tick;
            if keep {
                let tick = now + 1 + id as u64;
                assert_eq!(wheel.put_back(key, tick, id), None);
                model.push(Pending { tick, ..pending });
            } else {
                assert!(wheel.finish(key));
            }
        }
    }
    assert!(
        model.iter().all(|pending| pending.tick > now),
        "a timer due by {now} did not fire: {model:?}"
    );
}

proptest! {
    #[test]
    fn wheel_behaves_as_a_sorted_list(start in prop_oneof![Just(0), 0..1_u64 << 37], steps in proptest::collection::vec(step(), 1..60)) {
        let mut wheel = Wheel::new(start);
        let mut model: Vec<Pending> = Vec::new();
        let mut dead: Vec<Key> = Vec::new();
        let mut now = start;
        for (id, step) in steps.into_iter().enumerate() {
            match step {
                Step::Insert { delay } => {
                    let tick = now + delay;
                    let (key, _) = wheel.insert(tick, id);
                    model.push(Pending { key, tick: tick.max(now), id });
                }
                Step::Cancel(which) if !model.is_empty() => {
                    let pending = model.remove(which % model.len());
                    assert_eq!(wheel.remove(pending.key), Some((pending.tick, Some(pending.id))));
                    dead.push(pending.key);
                }
                Step::Cancel(_) => {}
                Step::Advance { by, batch, keep } => {
                    now += by;
                    fire(&mut wheel, &mut model, now, batch, keep);
                }
            }
            for key in &dead {
                assert_eq!(wheel.get_mut(*key), None, "a dead handle names nothing");
                assert_eq!(wheel.remove(*key), None, "a dead handle cancels nothing");
            }
            assert_eq!(wheel.len(), model.len());
            let next = wheel.sleep_until();
            match model.iter().map(|pending| pending.tick).min() {
                None => assert_eq!(next, None),
                Some(first) => assert!(next.is_some_and(|next| next <= first), "the driver would sleep until {next:?}, past {first}"),
            }
        }
    }
}

#[test]
fn cancelled_while_firing_is_not_put_back() {
    let mut wheel = Wheel::new(0);
    let (key, first) = wheel.insert(5, "interval");
    assert!(first);
    let mut due = Vec::new();
    wheel.advance(5, 10, |_| false, &mut due);
    let [
        Due {
            key: taken,
            payload,
            ..
        },
    ] = &due[..]
    else {
        panic!("one timer is due");
    };
    assert_eq!((*taken, *payload), (key, "interval"));
    assert_eq!(wheel.remove(key), Some((5, None)));
    assert!(!wheel.hold(key, "is fired"));
    assert_eq!(wheel.put_back(key, 10, "interval"), Some("interval"));
    assert_eq!((wheel.len(), wheel.sleep_until()), (0, None));
}

#[test]
fn only_an_earlier_deadline_wakes_the_driver() {
    let mut wheel = Wheel::new(0);
    assert!(wheel.insert(100, ()).1);
    let next = wheel.sleep_until().expect("one timer");
    assert!(next <= 100);
    assert!(!wheel.insert(next + 1_000, ()).1);
    assert!(next == 0 || wheel.insert(next - 1, ()).1);
}

#[test]
fn slab_of_a_flood_is_given_back_and_old_keys_name_nothing_new() {
    let mut wheel = Wheel::new(0);
    let flood = u64::try_from(SPARE_MAX).unwrap() + 1;
    let old: Vec<Key> = (0..flood).map(|id| wheel.insert(id + 1, id).0).collect();
    for key in &old {
        assert!(wheel.remove(*key).is_some());
    }
    assert_eq!(wheel.entries.capacity(), 0, "nothing is kept");
    let (new, _) = wheel.insert(5, 7);
    for key in &old {
        assert!(wheel.remove(*key).is_none());
    }
    assert_eq!(wheel.remove(new), Some((5, Some(7))));
}
