//! The desk before the connections: what was just given back lies on it and is lent again at once, first come first served.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Who lends: owns the desk, and judges what comes back.
pub(super) trait Lender: Sized {
    /// What is lent. Dropped, it goes back behind the desk, to where others wait for a fresh one.
    type Connection;

    fn desk(&self) -> &Desk<Self>;

    /// Whether a connection that comes back may be lent again as it is. Called once each time.
    fn takes_back(&self, connection: &mut Self::Connection) -> bool;
}

/// A place among those who have a connection or get one, and the connection once there is one. The next in line gets both when this is
/// dropped.
pub(super) struct Loan<L: Lender> {
    // None only while it is being dropped.
    lender: Option<Arc<L>>,
    connection: Option<L::Connection>,
}

/// The queue of callers, and what waits for them.
///
/// A connection lies on the desk only while nobody waits and nobody looks for one behind it, so who comes takes nothing from who was
/// first.
pub(super) struct Desk<L: Lender> {
    state: Mutex<State<L>>,
}

struct State<L: Lender> {
    /// What may be lent at once; given back first, lent first. What still runs on one that was just given back has time to end.
    free: VecDeque<L::Connection>,
    /// Loans that may still be made.
    places: usize,
    /// Loans without a connection yet.
    seeking: usize,
    queue: VecDeque<(u64, oneshot::Sender<Loan<L>>)>,
    /// The next number in the queue.
    number: u64,
    closed: bool,
}

/// What there is for a caller.
pub(super) enum Turn<'a, L: Lender> {
    /// A place at once, mostly with a connection; without one the caller looks for its own.
    Now(Loan<L>),
    /// A place in the queue.
    Later(Queued<'a, L>),
    /// Nothing any more.
    Never,
}

/// A place in the queue, given up when this is dropped.
pub(super) struct Queued<'a, L: Lender> {
    // Before the receiver: who is not in the queue any more is assigned nothing.
    place: Place<'a, L>,
    assigned: oneshot::Receiver<Loan<L>>,
}

struct Place<'a, L: Lender>(Option<(&'a Desk<L>, u64)>);

impl<L: Lender> Desk<L> {
    pub(super) fn new(places: usize) -> Self {
        Self {
            state: Mutex::new(State {
                free: VecDeque::new(),
                places,
                seeking: 0,
                queue: VecDeque::new(),
                number: 0,
                closed: false,
            }),
        }
    }

    /// Callers without a place.
    #[cfg(test)]
    fn queued(&self) -> usize {
        self.state.lock().queue.len()
    }

    /// What lies here, unused. What is looked at together with it must take no loan and give none back.
    pub(super) fn free<R>(&self, look: impl FnOnce(usize) -> R) -> R {
        look(self.state.lock().free.len())
    }

    /// Takes away from the front, where it has lain longest, what is `stale`.
    pub(super) fn sweep(&self, stale: impl FnMut(&L::Connection) -> bool) {
        let mut state = self.state.lock();
        let count = state.free.partition_point(stale);
        let swept: Vec<_> = state.free.drain(..count).collect();
        drop(state);
        drop(swept);
    }

    /// Tells who waits, and who comes, that nothing is lent any more.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let waiting = std::mem::take(&mut state.queue);
        let free = std::mem::take(&mut state.free);
        drop(state);
        drop((waiting, free));
    }
}

/// Asks for a loan: what lies on the desk and is `fit`, else a place.
pub(super) fn ask<'a, L: Lender>(
    lender: &'a Arc<L>,
    mut fit: impl FnMut(&L::Connection) -> bool,
) -> Turn<'a, L> {
    let desk = lender.desk();
    let mut unfit = Vec::new();
    let mut state = desk.state.lock();
    if state.closed {
        return Turn::Never;
    }
    if state.places == 0 {
        let (assign, assigned) = oneshot::channel();
        let number = state.number;
        state.number += 1;
        state.queue.push_back((number, assign));
        let place = Place(Some((desk, number)));
        return Turn::Later(Queued { place, assigned });
    }
    state.places -= 1;
    let connection = loop {
        match state.free.pop_front() {
            Some(connection) if !fit(&connection) => unfit.push(connection),
            fit => break fit,
        }
    };
    state.seeking += usize::from(connection.is_none());
    drop(state);
    // Behind the desk they are asked how they are, or replaced.
    drop(unfit);
    Turn::Now(Loan::new(lender, connection))
}

impl<L: Lender> Queued<'_, L> {
    /// The place of who gives one back, with its connection if that can be lent again. `None` when the desk is closed.
    ///
    /// # Cancel safety
    /// Safe: the place is given up, one already assigned goes to the next.
    pub(super) async fn wait(mut self) -> Option<Loan<L>> {
        let loan = (&mut self.assigned).await.ok();
        self.place.0 = None;
        loan
    }
}

impl<L: Lender> Drop for Place<'_, L> {
    fn drop(&mut self) {
        let Some((desk, number)) = self.0 else { return };
        let mut state = desk.state.lock();
        let queue = &mut state.queue;
        let found = queue.binary_search_by_key(&number, |(number, _)| *number);
        let left = found.ok().and_then(|at| queue.remove(at));
        drop(state);
        // Whoever it wakes may come to the desk.
        drop(left);
    }
}

impl<L: Lender> Loan<L> {
    fn new(lender: &Arc<L>, connection: Option<L::Connection>) -> Self {
        Self {
            lender: Some(lender.clone()),
            connection,
        }
    }

    pub(super) fn lender(&self) -> &Arc<L> {
        self.lender.as_ref().expect("it is not being dropped")
    }

    pub(super) fn connection(&self) -> Option<&L::Connection> {
        self.connection.as_ref()
    }

    pub(super) fn connection_mut(&mut self) -> Option<&mut L::Connection> {
        self.connection.as_mut()
    }

    /// The connection that was looked for behind the desk.
    pub(super) fn found(&mut self, connection: L::Connection) {
        if self.connection.replace(connection).is_none() {
            self.lender().desk().state.lock().seeking -= 1;
        }
    }

    /// Takes it apart, so that nothing of it goes back.
    fn undo(mut self) -> Option<L::Connection> {
        self.lender = None;
        self.connection.take()
    }
}

impl<L: Lender> Drop for Loan<L> {
    fn drop(&mut self) {
        if let Some(lender) = self.lender.take() {
            give_back(&lender, self.connection.take());
        }
    }
}

fn give_back<L: Lender>(lender: &Arc<L>, connection: Option<L::Connection>) {
    let sought = connection.is_none();
    // What is not taken back is dropped before the next in line is let in, who then finds room for another behind the desk.
    let mut connection = connection
        .and_then(|mut connection| lender.takes_back(&mut connection).then_some(connection));
    let mut state = lender.desk().state.lock();
    state.seeking -= usize::from(sought);
    loop {
        if connection.is_some() && (state.seeking > 0 || state.closed) {
            // Who looks for one behind the desk was there first.
            drop(state);
            drop(connection.take());
            state = lender.desk().state.lock();
        }
        let Some((_, next)) = state.queue.pop_front() else {
            state.places += 1;
            state.free.extend(connection);
            return;
        };
        state.seeking += usize::from(connection.is_none());
        drop(state);
        let Err(refused) = next.send(Loan::new(lender, connection)) else {
            return;
        };
        // It has left just now.
        connection = refused.undo();
        state = lender.desk().state.lock();
        state.seeking -= usize::from(connection.is_none());
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Wake, Waker};

    use super::*;

    /// Lends numbers; odd ones are not taken back.
    struct Shop {
        desk: Desk<Shop>,
        behind: Arc<Mutex<Vec<u32>>>,
    }

    struct Number(u32, Arc<Mutex<Vec<u32>>>);

    impl Drop for Number {
        fn drop(&mut self) {
            self.1.lock().push(self.0);
        }
    }

    impl Lender for Shop {
        type Connection = Number;

        fn desk(&self) -> &Desk<Shop> {
            &self.desk
        }

        fn takes_back(&self, connection: &mut Number) -> bool {
            connection.0.is_multiple_of(2)
        }
    }

    fn shop(places: usize) -> Arc<Shop> {
        Arc::new(Shop {
            desk: Desk::new(places),
            behind: Arc::default(),
        })
    }

    impl Shop {
        fn number(&self, number: u32) -> Number {
            Number(number, self.behind.clone())
        }

        /// What went back behind the desk since the last look.
        fn went_back(&self) -> Vec<u32> {
            std::mem::take(&mut *self.behind.lock())
        }
    }

    fn now(shop: &Arc<Shop>) -> Loan<Shop> {
        match ask(shop, |_| true) {
            Turn::Now(loan) => loan,
            Turn::Later(_) | Turn::Never => panic!("there is a place"),
        }
    }

    fn later(shop: &Arc<Shop>) -> Queued<'_, Shop> {
        match ask(shop, |_| true) {
            Turn::Later(queued) => queued,
            Turn::Now(_) | Turn::Never => panic!("there is no place"),
        }
    }

    fn number(loan: &Loan<Shop>) -> Option<u32> {
        loan.connection().map(|number| number.0)
    }

    #[tokio::test]
    async fn what_comes_back_goes_to_the_first_in_line() {
        let shop = shop(1);
        let mut loan = now(&shop);
        assert_eq!(number(&loan), None, "nothing lies on a new desk");
        loan.found(shop.number(2));
        let (first, gone, second) = (later(&shop), later(&shop), later(&shop));
        drop(gone);
        drop(loan);
        let loan = first.wait().await.expect("it is open");
        assert_eq!(number(&loan), Some(2));
        drop(loan);
        let mut loan = second.wait().await.expect("it is open");
        assert_eq!(number(&loan), Some(2));
        assert!(shop.went_back().is_empty());
        // One that cannot be lent again is gone before the next in line is told to look for another.
        loan.found(shop.number(3));
        assert_eq!(shop.went_back(), [2]);
        let third = later(&shop);
        drop(loan);
        assert_eq!(shop.went_back(), [3]);
        let loan = third.wait().await.expect("it is open");
        assert_eq!(number(&loan), None);
    }

    #[tokio::test]
    async fn who_leaves_takes_no_place_along() {
        let shop = shop(1);
        let mut loan = now(&shop);
        loan.found(shop.number(2));
        let assigned = later(&shop);
        drop(loan);
        // Assigned, and never looked at.
        drop(assigned);
        let loan = now(&shop);
        assert_eq!(number(&loan), Some(2));
        drop(loan);
        // Without a connection it is the same.
        shop.desk.sweep(|_| true);
        assert_eq!(shop.went_back(), [2]);
        let seeking = now(&shop);
        let assigned = later(&shop);
        drop(seeking);
        drop(assigned);
        assert_eq!(number(&now(&shop)), None);
    }

    /// Looks whether the desk can be come to when it is woken.
    struct Comes(Arc<Shop>, Mutex<Vec<bool>>);

    impl Wake for Comes {
        fn wake(self: Arc<Self>) {
            let free = self.0.desk.state.try_lock().is_some();
            self.1.lock().push(free);
        }
    }

    #[test]
    fn who_leaves_wakes_nobody_while_the_desk_is_locked() {
        let shop = shop(1);
        let loan = now(&shop);
        let comes = Arc::new(Comes(shop.clone(), Mutex::default()));
        let waker = Waker::from(comes.clone());
        let mut queued = later(&shop);
        let asked = Pin::new(&mut queued.assigned).poll(&mut Context::from_waker(&waker));
        assert!(asked.is_pending());
        drop(queued);
        assert_eq!(*comes.1.lock(), [true]);
        drop(loan);
    }

    #[test]
    fn who_looks_behind_the_desk_was_there_first() {
        let shop = shop(2);
        let (mut lent, mut seeking) = (now(&shop), now(&shop));
        lent.found(shop.number(2));
        drop(lent);
        assert_eq!(shop.went_back(), [2], "it is found there");
        seeking.found(shop.number(2));
        let mut lent = now(&shop);
        lent.found(shop.number(4));
        drop((seeking, lent));
        assert!(shop.went_back().is_empty());
        assert_eq!(shop.desk.free(|free| free), 2);
        // Those that are not fit any more go behind, too.
        let Turn::Now(loan) = ask(&shop, |number| number.0 == 4) else {
            panic!("there is a place");
        };
        assert_eq!(number(&loan), Some(4));
        assert_eq!(shop.went_back(), [2]);
    }

    /// A statement may still run on what was given back last.
    #[test]
    fn what_was_given_back_first_is_lent_first_and_swept_first() {
        let shop = shop(3);
        let mut loans = [now(&shop), now(&shop), now(&shop)];
        for (loan, number) in loans.iter_mut().zip([2, 4, 6]) {
            loan.found(shop.number(number));
        }
        drop(loans);
        for expected in [2, 4, 6, 2] {
            assert_eq!(number(&now(&shop)), Some(expected));
        }
        shop.desk.sweep(|number| number.0 != 2);
        assert_eq!(shop.went_back(), [4, 6]);
        assert_eq!(number(&now(&shop)), Some(2));
    }

    #[tokio::test]
    async fn a_closed_desk_keeps_nothing() {
        let shop = shop(2);
        let (mut lent, mut free) = (now(&shop), now(&shop));
        lent.found(shop.number(2));
        free.found(shop.number(4));
        let waiting = later(&shop);
        drop(free);
        let free = waiting.wait().await.expect("it is open");
        let waiting = later(&shop);
        drop(free);
        shop.desk.close();
        drop(waiting);
        drop(lent);
        let mut back = shop.went_back();
        back.sort_unstable();
        assert_eq!(back, [2, 4]);
        assert!(matches!(ask(&shop, |_| true), Turn::Never));
        assert_eq!(shop.desk.queued(), 0);
    }
}
