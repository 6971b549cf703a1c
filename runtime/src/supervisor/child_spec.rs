//! `ChildSpec`: how a supervisor starts a child, and how it stops it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::actor::{self, Actor, Starting};
use crate::exit::ExitReason;
use crate::limits::SHUTDOWN_TIMEOUT;
use crate::mailbox::Capacity;
use crate::pid::Pid;
use crate::process::context::Context;
use crate::process::home::Home;
use crate::process::kernel::Kernel;
use crate::process::{Birth, run, spawn};
use crate::registry::Named;

use super::dynamic::DynamicSupervisor;
use super::restart::{BackOff, RestartType};
use super::shutdown::ShutdownType;
use super::{Message, Supervisor, serve};

/// What a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildType {
    /// A process that does work.
    Worker,
    /// A supervisor of its own children.
    Supervisor,
}

/// The mailbox a child's lives follow each other behind.
pub(crate) trait Seat: Send {
    /// Begins a life, or tells of the panic of the user's code that makes its arguments.
    fn start(&mut self, supervisor: Pid, birth: Birth) -> Result<Starting, ExitReason>;
    fn named(&self) -> Arc<dyn Named>;
    /// Nobody will be behind the mailbox: empties and closes it.
    fn close(&self, reason: &ExitReason);
    fn reopen(&self);
}

type MakeSeat = Box<dyn FnOnce(&Arc<Kernel>) -> Box<dyn Seat> + Send>;

/// How a supervisor starts, knows, restarts and stops one child.
///
/// By default permanent, registered under its id, given 5 s to stop (a supervisor: as long as it needs), its queue dropped on a restart.
pub struct ChildSpec {
    pub(crate) id: String,
    pub(crate) child_type: ChildType,
    pub(crate) restart: RestartType,
    pub(crate) shutdown: ShutdownType,
    pub(crate) registered: bool,
    pub(crate) keeps_mailbox: bool,
    pub(crate) significant: bool,
    pub(crate) back_off: Option<BackOff>,
    pub(crate) make_seat: MakeSeat,
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ChildSpec")
            .field("id", &self.id)
            .field("child_type", &self.child_type)
            .field("restart", &self.restart)
            .field("shutdown", &self.shutdown)
            .finish_non_exhaustive()
    }
}

type Begin<M> = Box<dyn FnMut(&Arc<Home<M>>, Birth) -> Starting + Send>;

struct BodySeat<M: Send + 'static> {
    home: Arc<Home<M>>,
    begin: Begin<M>,
}

impl<M: Send + 'static> Seat for BodySeat<M> {
    fn start(&mut self, supervisor: Pid, birth: Birth) -> Result<Starting, ExitReason> {
        run::contain(supervisor, || (self.begin)(&self.home, birth))
    }

    fn named(&self) -> Arc<dyn Named> {
        self.home.clone()
    }

    fn close(&self, reason: &ExitReason) {
        self.home.clear(reason, true);
    }

    fn reopen(&self) {
        self.home.mailbox.reopen();
    }
}

impl ChildSpec {
    fn new<M, B>(id: &str, capacity: Capacity, child_type: ChildType, begin: B) -> ChildSpec
    where
        M: Send + 'static,
        B: FnMut(&Arc<Home<M>>, Birth) -> Starting + Send + 'static,
    {
        ChildSpec {
            id: id.to_owned(),
            child_type,
            restart: RestartType::Permanent,
            shutdown: match child_type {
                ChildType::Worker => ShutdownType::Timeout(SHUTDOWN_TIMEOUT),
                ChildType::Supervisor => ShutdownType::Infinity,
            },
            registered: true,
            keeps_mailbox: false,
            significant: false,
            back_off: None,
            make_seat: Box::new(move |kernel| {
                Box::new(BodySeat {
                    home: Home::new(kernel, capacity),
                    begin: Box::new(begin),
                })
            }),
        }
    }

    /// An actor, given a copy of `args` at every start.
    #[must_use]
    pub fn worker<A: Actor>(id: &str, args: A::Args) -> ChildSpec
    where
        A::Args: Clone + Sync,
    {
        ChildSpec::worker_with::<A>(id, move || args.clone())
    }

    /// An actor, given fresh arguments at every start.
    #[must_use]
    pub fn worker_with<A: Actor>(
        id: &str,
        mut args: impl FnMut() -> A::Args + Send + 'static,
    ) -> ChildSpec {
        ChildSpec::new(
            id,
            A::mailbox(),
            ChildType::Worker,
            move |home: &Arc<Home<A::Message>>, birth| actor::start::<A>(home, birth, args()),
        )
    }

    /// A closure process, run again at every restart. It counts as started once it is spawned.
    #[must_use]
    pub fn process<M, F, Fut>(id: &str, body: F) -> ChildSpec
    where
        M: Send + 'static,
        F: Fn(Context<M>) -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Into<ExitReason>,
    {
        let body = Arc::new(body);
        ChildSpec::new(
            id,
            Capacity::default(),
            ChildType::Worker,
            move |home: &Arc<Home<M>>, birth| {
                let (birth, ready, starting) = Starting::prepare(Birth {
                    behaviour: Some(std::any::type_name::<F>),
                    ..birth
                });
                // The receiver is held by `starting`, so this cannot fail.
                drop(ready.send(Ok(())));
                let body = body.clone();
                starting(spawn(home, birth, move |context| body(context)))
            },
        )
    }

    /// A nested supervisor, built anew at every start.
    #[must_use]
    pub fn supervisor(
        id: &str,
        build: impl Fn() -> Supervisor + Send + Sync + 'static,
    ) -> ChildSpec {
        ChildSpec::new(
            id,
            Capacity::default(),
            ChildType::Supervisor,
            move |home: &Arc<Home<Message>>, birth| serve::start(home, birth, build()),
        )
    }

    /// A nested supervisor whose children come at run time.
    #[must_use]
    pub fn dynamic(id: &str, dynamic: DynamicSupervisor) -> ChildSpec {
        ChildSpec::supervisor(id, move || dynamic.into())
    }

    /// When it is restarted.
    #[must_use]
    pub fn restart(mut self, restart: RestartType) -> ChildSpec {
        self.restart = restart;
        self
    }

    /// How it is stopped.
    #[must_use]
    pub fn shutdown(mut self, shutdown: ShutdownType) -> ChildSpec {
        self.shutdown = shutdown;
        self
    }

    /// Keeps the queue across a restart, calls included: only the message in hand is lost.
    #[must_use]
    pub fn keep_mailbox(mut self) -> ChildSpec {
        self.keeps_mailbox = true;
        self
    }

    /// Waits before a restart: `first` the first time, twice as long each time, at most `longest`, each shortened by chance by up to a half. A
    /// life longer than `longest` begins anew. Every restart counts for the intensity all the same. What is sent meanwhile is for the
    /// next life; siblings that are restarted with the child wait with it.
    #[must_use]
    pub fn back_off(mut self, first: Duration, longest: Duration) -> ChildSpec {
        self.back_off = Some(BackOff::new(first, longest));
        self
    }

    /// Its end by itself and for good may end its supervisor, see `Supervisor::auto_shutdown`. For transient and temporary children.
    #[must_use]
    pub fn significant(mut self) -> ChildSpec {
        self.significant = true;
        self
    }

    /// Does not register the id as a name.
    #[must_use]
    pub fn unregistered(mut self) -> ChildSpec {
        self.registered = false;
        self
    }

    /// The child's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}
