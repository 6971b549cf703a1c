//! What a flood leaves of a mailbox.

use std::task::{Context, Poll, Waker};

use super::{Batch, Capacity, Mailbox, Own, is_flooded};
use crate::limits::QUEUE_SPARE_MAX;

fn next(mailbox: &Mailbox<usize>, batch: &mut Batch<usize>, own: Own) -> Option<usize> {
    match mailbox.poll_next(batch, &Context::from_waker(Waker::noop()), || own) {
        Poll::Ready(message) => Some(message),
        Poll::Pending => None,
    }
}

#[test]
fn buffer_of_a_flood_goes_though_one_message_comes_for_each_poll() {
    let mailbox = Mailbox::new(Capacity::unbounded());
    let mut batch = Mailbox::<usize>::first_batch();
    for turn in 0..2 {
        // The second flood goes into the buffer that was the batch's.
        for message in 0..=QUEUE_SPARE_MAX {
            mailbox.push(message);
        }
        for message in 0..=QUEUE_SPARE_MAX {
            assert_eq!(next(&mailbox, &mut batch, Own::Yes), Some(message));
        }
        assert!(is_flooded(&batch.queue), "flood {turn} was one");
        // From here on each poll takes one message, and the last look finds none.
        for message in 0..3 {
            mailbox.push(message);
            assert_eq!(next(&mailbox, &mut batch, Own::First), Some(message));
            assert_eq!(next(&mailbox, &mut batch, Own::Yes), None);
        }
        assert!(!is_flooded(&batch.queue) && !is_flooded(&mailbox.state.lock().inbound));
    }
}
