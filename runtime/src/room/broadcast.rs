//! Encode once, fan out: every member gets the same bytes.

use std::sync::Arc;

use bytes::Bytes;

use crate::mailbox::FramePush;
use crate::pid::Pid;

use super::BroadcastReport;
use super::members::Snapshot;

/// What became of it, and the places in `members` of those that are to be disconnected.
pub(super) fn fan_out(
    room: &Arc<str>,
    payload: &Bytes,
    members: &Snapshot,
    except: Option<Pid>,
) -> (BroadcastReport, Vec<usize>) {
    let mut report = BroadcastReport::default();
    let mut overrun = Vec::new();
    for (at, (pid, member)) in members.iter().enumerate() {
        if Some(*pid) == except {
            continue;
        }
        match member.deliver(room, payload) {
            FramePush::Delivered => report.delivered += 1,
            FramePush::Lagging => {
                report.delivered += 1;
                report.lagging += 1;
            }
            FramePush::Overrun => overrun.push(at),
            FramePush::Gone => {}
        }
    }
    (report, overrun)
}
