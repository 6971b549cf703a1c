//! Encode once, fan out: every member gets the same bytes.

use std::sync::Arc;

use bytes::Bytes;

use crate::mailbox::FramePush;
use crate::pid::Pid;

use super::BroadcastReport;
use super::members::Snapshot;

/// What one broadcast brings to each member.
pub(crate) struct Letter<'a> {
    pub(super) room: &'a Arc<str>,
    pub(super) payload: &'a Bytes,
    /// The payload as it travels to a browser: made for the first member that is one, and shared.
    #[cfg(feature = "ws")]
    framed: std::cell::OnceCell<Bytes>,
}

impl<'a> Letter<'a> {
    pub(crate) fn of(room: &'a Arc<str>, payload: &'a Bytes) -> Letter<'a> {
        Letter {
            room,
            payload,
            #[cfg(feature = "ws")]
            framed: std::cell::OnceCell::new(),
        }
    }

    /// The payload as `frame` makes it travel, the same bytes for all.
    #[cfg(feature = "ws")]
    pub(crate) fn framed(&self, frame: fn(&Bytes) -> Bytes) -> &Bytes {
        self.framed.get_or_init(|| frame(self.payload))
    }
}

/// What became of it, how many frames were lost for it, and the places in `members` of those that are to be disconnected.
pub(super) fn fan_out(
    room: &Arc<str>,
    payload: &Bytes,
    members: &Snapshot,
    except: Option<Pid>,
) -> (BroadcastReport, u64, Vec<usize>) {
    let letter = Letter::of(room, payload);
    let mut report = BroadcastReport::default();
    let (mut missed, mut overrun) = (0, Vec::new());
    for (at, (pid, member)) in members.iter().enumerate() {
        if Some(*pid) == except {
            continue;
        }
        match member.deliver(&letter) {
            FramePush::Delivered => report.delivered += 1,
            FramePush::Lagging(frames) => {
                report.delivered += 1;
                report.lagging += 1;
                missed += frames as u64;
            }
            FramePush::Overrun => overrun.push(at),
            FramePush::Gone => {}
        }
    }
    (report, missed, overrun)
}
