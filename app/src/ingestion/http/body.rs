//! Reading a request's body under two bounds: its own, and that of all bodies together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};

use crate::ingestion::refusal::Refusal;

/// What all bodies being read may take of the memory; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    left: Arc<AtomicUsize>,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Budget {
        Budget {
            left: Arc::new(AtomicUsize::new(bytes)),
        }
    }

    fn take(&self, bytes: usize) -> bool {
        self.left
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            })
            .is_ok()
    }
}

/// A share of the budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Budget,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

/// A body read whole, and the share of the budget it holds.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    pub(super) share: Share,
}

/// Reads a body of at most `bytes_max` bytes, and of `announced` if the client said so.
pub(super) async fn read<B: Buf>(
    stream: impl Stream<Item = Result<B, warp::Error>>,
    announced: Option<usize>,
    bytes_max: usize,
    budget: &Budget,
) -> Result<Body, Refusal> {
    let mut stream = std::pin::pin!(stream);
    let mut share = Share {
        budget: budget.clone(),
        bytes: 0,
    };
    let mut body = Growing::Empty;
    while let Some(piece) = stream.next().await {
        let mut piece = piece.map_err(|_| Refusal::Invalid("the body broke off".to_owned()))?;
        let len = piece.remaining();
        if body.len() + len > bytes_max {
            return Err(Refusal::TooLarge(bytes_max));
        }
        if !budget.take(len) {
            return Err(Refusal::Full);
        }
        share.bytes += len;
        body.add(piece.copy_to_bytes(len), announced);
    }
    Ok(Body {
        bytes: body.finish(),
        share,
    })
}

/// A body as it grows: what comes in one piece is never copied.
enum Growing {
    Empty,
    Whole(Bytes),
    Joined(BytesMut),
}

impl Growing {
    fn len(&self) -> usize {
        match self {
            Growing::Empty => 0,
            Growing::Whole(piece) => piece.len(),
            Growing::Joined(pieces) => pieces.len(),
        }
    }

    fn add(&mut self, piece: Bytes, announced: Option<usize>) {
        *self = match std::mem::replace(self, Growing::Empty) {
            Growing::Empty => Growing::Whole(piece),
            Growing::Whole(first) => {
                // What is announced and does not come must not take memory.
                let guess = 4 * first.len().max(piece.len());
                let capacity = announced.map_or(guess, |announced| announced.min(guess));
                let mut pieces = BytesMut::with_capacity(capacity);
                pieces.extend_from_slice(&first);
                pieces.extend_from_slice(&piece);
                Growing::Joined(pieces)
            }
            Growing::Joined(mut pieces) => {
                pieces.extend_from_slice(&piece);
                Growing::Joined(pieces)
            }
        };
    }

    fn finish(self) -> Bytes {
        match self {
            Growing::Empty => Bytes::new(),
            Growing::Whole(piece) => piece,
            Growing::Joined(pieces) => pieces.freeze(),
        }
    }
}

/// Reads a refused request's body to its end and keeps none of it: a client that is still sending
/// would otherwise see a broken connection in place of the answer.
pub(super) async fn discard<B: Buf>(
    stream: impl Stream<Item = Result<B, warp::Error>>,
    bytes_max: usize,
) {
    let mut stream = std::pin::pin!(stream);
    let mut seen = 0;
    while let Some(Ok(piece)) = stream.next().await {
        seen += piece.remaining();
        if seen > bytes_max {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, read};
    use crate::ingestion::refusal::Refusal;
    use bytes::Bytes;
    use futures_util::{FutureExt as _, stream};

    fn pieces(lens: &[usize]) -> impl futures_util::Stream<Item = Result<Bytes, warp::Error>> {
        let pieces: Vec<_> = lens.iter().map(|&len| Ok(vec![7; len].into())).collect();
        stream::iter(pieces)
    }

    #[test]
    fn both_bounds_hold_and_the_budget_comes_back() {
        let budget = Budget::new(100);
        let read = |lens: &[usize], max| {
            let announced = lens.first().copied();
            read(pieces(lens), announced, max, &budget)
                .now_or_never()
                .unwrap()
        };
        let first = read(&[30, 30], 60).unwrap();
        assert_eq!(first.bytes.len(), 60);
        assert_eq!(read(&[30, 31], 60).unwrap_err(), Refusal::TooLarge(60));
        assert_eq!(read(&[41], 60).unwrap_err(), Refusal::Full);
        drop(first);
        assert!(read(&[60], 60).is_ok());
        assert!(read(&[60], 60).is_ok());
    }
}
