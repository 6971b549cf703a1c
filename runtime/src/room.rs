//! Rooms: named sets of members. A broadcast encodes once and waits for nobody.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::address::Address;
use crate::error::NameError;
use crate::exit::ExitReason;
use crate::mailbox::FramePush;
pub use crate::mailbox::lanes::{RoomMessage, RoomPolicy};
use crate::name::Name;
use crate::pid::Pid;
use crate::process::home::Home;
use crate::process::kernel::{Kernel, Part};
use crate::telemetry::{Counters, count_by};

mod broadcast;
mod members;

pub(crate) use broadcast::Letter;
use members::Members;

/// The rooms of one system.
pub struct Rooms {
    members: Mutex<Members>,
    counters: std::sync::OnceLock<Arc<Counters>>,
}

impl fmt::Debug for Rooms {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Rooms").finish_non_exhaustive()
    }
}

/// What became of one broadcast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BroadcastReport {
    /// Members whose queue took the frame.
    pub delivered: usize,
    /// Of these, members that lost room frames for it, their oldest that waited, and will be told: a WebSocket, whose queue is bounded by bytes
    /// too, may lose several. One that lost only what it had to say itself is told, and not counted here.
    pub lagging: usize,
    /// Members that were too far behind, had joined with [`RoomPolicy::Disconnect`], and were put out of the room by this frame.
    pub disconnected: usize,
}

/// A member without its message type.
pub(crate) trait Member: Send + Sync {
    fn deliver(&self, letter: &Letter<'_>) -> FramePush;
    /// Tells it that it was put out of a room.
    fn disconnect(&self);
}

struct RoomMember<M> {
    home: Arc<Home<M>>,
    life: Pid,
    policy: RoomPolicy,
    wrap: fn(RoomMessage) -> M,
}

impl<M: Send + 'static> Member for RoomMember<M> {
    fn deliver(&self, letter: &Letter<'_>) -> FramePush {
        let (room, payload) = (letter.room, letter.payload);
        self.home
            .mailbox
            .push_frame(room, payload, self.wrap, self.policy, || {
                self.home.is_life(self.life)
            })
    }

    fn disconnect(&self) {
        let kernel = self.home.kernel();
        kernel.exit(kernel.root(), self.life, ExitReason::too_slow());
    }
}

impl Part for Rooms {
    fn process_exited(&self, pid: Pid) {
        let left = self.members.lock().leave_all(pid);
        drop(left);
    }
}

impl Rooms {
    pub(crate) fn new() -> Rooms {
        Rooms {
            members: Mutex::new(Members::default()),
            counters: std::sync::OnceLock::new(),
        }
    }

    /// Adds the life behind `member` to a room; `wrap` turns the room's messages into its own. Joining twice changes nothing.
    ///
    /// Broadcasts wait in a bounded queue of their own beside the mailbox, in order with the messages sent to it. A member that is too slow
    /// loses the oldest, see [`RoomPolicy::DropOldest`].
    ///
    /// # Errors
    /// `Gone` when the member has ended, `Invalid` when `room` cannot be a name.
    pub fn join<M: Send + 'static>(
        &self,
        room: &str,
        member: &Address<M>,
        wrap: fn(RoomMessage) -> M,
    ) -> Result<(), NameError> {
        self.join_with(room, member, RoomPolicy::DropOldest, wrap)
    }

    /// As [`Rooms::join`], and says what becomes of the member when it is too slow for this room. A member's rooms share its queue: whose
    /// frame finds it full decides.
    ///
    /// # Errors
    /// As [`Rooms::join`].
    pub fn join_with<M: Send + 'static>(
        &self,
        room: &str,
        member: &Address<M>,
        policy: RoomPolicy,
        wrap: fn(RoomMessage) -> M,
    ) -> Result<(), NameError> {
        let life = member.pid();
        let entry = RoomMember {
            home: member.home().clone(),
            life,
            policy,
            wrap,
        };
        self.admit(room, member.kernel(), life, || Arc::new(entry))
    }

    /// Adds a life to a room, as whatever takes its frames.
    ///
    /// # Errors
    /// As [`Rooms::join`].
    pub(crate) fn admit(
        &self,
        room: &str,
        kernel: &Kernel,
        life: Pid,
        member: impl FnOnce() -> Arc<dyn Member>,
    ) -> Result<(), NameError> {
        if Name::new(room).is_none() {
            return Err(NameError::Invalid);
        }
        self.counters.get_or_init(|| kernel.counters().clone());
        self.members.lock().join(room, life, member());
        if !kernel.hold_for(life) {
            self.process_exited(life);
            return Err(NameError::Gone);
        }
        Ok(())
    }

    /// Takes a member out of a room; `false` when it was not in it.
    pub fn leave(&self, room: &str, member: Pid) -> bool {
        let left = self.members.lock().leave(room, member);
        left.is_some()
    }

    /// Sends bytes to every member. Never waits: of a member too far behind, its [`RoomPolicy`] decides.
    pub fn broadcast(&self, room: &str, payload: Bytes) -> BroadcastReport {
        self.send(room, &payload, None)
    }

    /// As [`Rooms::broadcast`], but not to `except`.
    pub fn broadcast_except(&self, room: &str, payload: Bytes, except: Pid) -> BroadcastReport {
        self.send(room, &payload, Some(except))
    }

    fn send(&self, room: &str, payload: &Bytes, except: Option<Pid>) -> BroadcastReport {
        let Some((room, members)) = self.members.lock().snapshot(room) else {
            return BroadcastReport::default();
        };
        let (mut report, missed, overrun) = broadcast::fan_out(&room, payload, &members, except);
        for (pid, member) in overrun.into_iter().map(|at| &members[at]) {
            // Of two broadcasts at the same time, one puts it out and tells it.
            if self.leave(&room, *pid) {
                report.disconnected += 1;
                member.disconnect();
            }
        }
        if let Some(counters) = self.counters.get() {
            count_by(&counters.room_frames_missed, missed);
            count_by(
                &counters.room_members_disconnected,
                report.disconnected as u64,
            );
        }
        report
    }

    /// The members of a room, by pid.
    #[must_use]
    pub fn members(&self, room: &str) -> Vec<Pid> {
        self.members.lock().of(room)
    }

    /// Every room and how many members it has, by name.
    #[must_use]
    pub fn all(&self) -> Vec<(String, usize)> {
        self.members.lock().rooms()
    }
}
