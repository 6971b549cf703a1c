//! Encode once, fan out: every member gets the same bytes.

use std::sync::Arc;

use bytes::Bytes;

use crate::mailbox::FramePush;
use crate::pid::Pid;

use super::BroadcastReport;
use super::members::Snapshot;

pub(super) fn fan_out(
    room: &Arc<str>,
    payload: &Bytes,
    members: &Snapshot,
    except: Option<Pid>,
) -> BroadcastReport {
    let mut report = BroadcastReport::default();
    for (pid, member) in members.iter() {
        if Some(*pid) == except {
            continue;
        }
        match member.deliver(room, payload) {
            FramePush::Delivered => report.delivered += 1,
            FramePush::Lagging => {
                report.delivered += 1;
                report.lagging += 1;
            }
            FramePush::Gone => {}
        }
    }
    report
}
