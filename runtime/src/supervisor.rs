//! Supervisors: a tree of processes in which a crash is repaired by starting anew.

use std::sync::Arc;
use std::time::Duration;

use crate::address::Address;
use crate::error::{CallError, NameError, StartError};
use crate::limits::{RESTARTS_MAX, RESTARTS_WITHIN, SUPERVISOR_CALL_TIMEOUT};
use crate::pid::Pid;
use crate::reply_to::ReplyTo;

mod child_spec;
mod children;
mod dynamic;
mod manage;
mod pending;
mod plan;
mod restart;
mod restarted;
pub(crate) mod serve;
mod shutdown;
mod strategy;

pub use child_spec::{ChildSpec, ChildType};
pub use dynamic::DynamicSupervisor;
pub use restart::RestartType;
pub use shutdown::ShutdownType;
pub use strategy::{AutoShutdown, Strategy};

/// What a supervisor is to be: strategy, intensity, and children in the order of their start.
#[derive(Debug)]
pub struct Supervisor {
    pub(crate) name: Option<String>,
    pub(crate) strategy: Strategy,
    pub(crate) auto_shutdown: AutoShutdown,
    pub(crate) max_restarts: u32,
    pub(crate) within: Duration,
    pub(crate) children: Vec<ChildSpec>,
    pub(crate) max_children: usize,
    pub(crate) dynamic: bool,
}

impl Supervisor {
    /// A supervisor without children that accepts 3 restarts in 5 seconds.
    #[must_use]
    pub fn new(strategy: Strategy) -> Supervisor {
        Supervisor {
            name: None,
            strategy,
            auto_shutdown: AutoShutdown::Never,
            max_restarts: RESTARTS_MAX,
            within: RESTARTS_WITHIN,
            children: Vec::new(),
            max_children: usize::MAX,
            dynamic: false,
        }
    }

    /// Registers the supervisor itself. A nested one is named by its child id.
    #[must_use]
    pub fn named(mut self, name: &str) -> Supervisor {
        self.name = Some(name.to_owned());
        self
    }

    /// Gives up when there are more than `max_restarts` restarts within any window of `within`. With zero restarts the first crash is the
    /// end, as in OTP; a window of zero is refused at the start with `StartError::Intensity`.
    #[must_use]
    pub fn intensity(mut self, max_restarts: u32, within: Duration) -> Supervisor {
        self.max_restarts = max_restarts;
        self.within = within;
        self
    }

    /// Ends by itself when significant children have ended for good.
    #[must_use]
    pub fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Supervisor {
        self.auto_shutdown = auto_shutdown;
        self
    }

    /// Adds a child, started after those added before and stopped before them.
    #[must_use]
    pub fn child(mut self, spec: ChildSpec) -> Supervisor {
        self.children.push(spec);
        self
    }
}

/// What supervisors are asked.
pub(crate) enum Message {
    Start(Box<ChildSpec>, ReplyTo<Result<Pid, StartError>>),
    Terminate(String, ReplyTo<Result<(), StartError>>),
    Restart(String, ReplyTo<Result<Pid, StartError>>),
    Delete(String, ReplyTo<Result<(), StartError>>),
    Which(ReplyTo<Vec<ChildInfo>>),
    Count(ReplyTo<ChildCounts>),
    Stop,
}

/// One child as its supervisor sees it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct ChildInfo {
    /// Its id.
    pub id: String,
    /// Its current life; `None` when it does not run.
    pub pid: Option<Pid>,
    /// Worker or supervisor.
    pub child_type: ChildType,
    /// When it is restarted.
    pub restart: RestartType,
    /// How often it was.
    pub restarts: u32,
}

/// How many children there are, as OTP's `count_children`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct ChildCounts {
    /// Children in the table, running or not.
    pub specs: usize,
    /// Children that run.
    pub active: usize,
    /// Children that are supervisors, running or not.
    pub supervisors: usize,
    /// Children that are workers, running or not.
    pub workers: usize,
}

/// The client side of a running supervisor. Stays good across its restarts.
#[derive(Clone, Debug)]
pub struct SupervisorHandle(Address<Message>);

impl std::fmt::Debug for Message {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("supervisor::Message")
    }
}

impl SupervisorHandle {
    pub(crate) fn of(address: Address<Message>) -> SupervisorHandle {
        SupervisorHandle(address)
    }

    /// The supervisor's current life.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.0.pid()
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.0.is_alive()
    }

    /// Adds a child at the end and starts it. A dynamic supervisor forgets it when it ends for good; an empty id is replaced by a fresh one.
    ///
    /// # Errors
    /// [`StartError`]; a child that does not start is not added.
    pub async fn start_child(&self, spec: ChildSpec) -> Result<Pid, StartError> {
        self.ask(|reply_to| Message::Start(Box::new(spec), reply_to))
            .await
    }

    /// Stops a child. Its spec stays, for `restart_child`; a temporary child, and any child of a dynamic supervisor, is forgotten.
    ///
    /// # Errors
    /// `NotFound`, or `Supervisor` when it could not be asked.
    pub async fn terminate_child(&self, id: &str) -> Result<(), StartError> {
        self.ask(|reply_to| Message::Terminate(id.to_owned(), reply_to))
            .await
    }

    /// Starts a child that was terminated or has ended.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyStarted`, or why it did not start.
    pub async fn restart_child(&self, id: &str) -> Result<Pid, StartError> {
        self.ask(|reply_to| Message::Restart(id.to_owned(), reply_to))
            .await
    }

    /// Forgets a child that does not run.
    ///
    /// # Errors
    /// `NotFound`, or `AlreadyStarted` while it runs.
    pub async fn delete_child(&self, id: &str) -> Result<(), StartError> {
        self.ask(|reply_to| Message::Delete(id.to_owned(), reply_to))
            .await
    }

    /// The children in the order of their start.
    ///
    /// # Errors
    /// When the supervisor could not be asked.
    pub async fn which_children(&self) -> Result<Vec<ChildInfo>, CallError> {
        self.0
            .call_timeout(SUPERVISOR_CALL_TIMEOUT, Message::Which)
            .await
    }

    /// How many children there are.
    ///
    /// # Errors
    /// When the supervisor could not be asked.
    pub async fn count_children(&self) -> Result<ChildCounts, CallError> {
        self.0
            .call_timeout(SUPERVISOR_CALL_TIMEOUT, Message::Count)
            .await
    }

    /// Stops the supervisor and its children, in reverse order, and waits for it.
    ///
    /// # Errors
    /// `NoProcess` when it does not run, `Full` when it is flooded.
    pub async fn stop(&self) -> Result<(), CallError> {
        let pid = self.pid();
        self.0
            .send(Message::Stop)
            .map_err(|error| match error.is_full() {
                true => CallError::Full,
                false => CallError::NoProcess,
            })?;
        self.0.kernel().wait_for_exit(pid).await;
        Ok(())
    }

    async fn ask<T: Send + 'static>(
        &self,
        make: impl FnOnce(ReplyTo<Result<T, StartError>>) -> Message,
    ) -> Result<T, StartError> {
        self.0
            .call_timeout(SUPERVISOR_CALL_TIMEOUT, make)
            .await
            .unwrap_or_else(|error| Err(StartError::Supervisor(error)))
    }
}

/// Starts a tree that hangs on the system itself.
pub(crate) async fn start_tree(
    kernel: &Arc<crate::process::kernel::Kernel>,
    tree: Supervisor,
) -> Result<SupervisorHandle, StartError> {
    let home = crate::process::home::Home::new(kernel, crate::mailbox::Capacity::default());
    let address = Address::of(home.clone());
    if let Some(name) = &tree.name {
        let bound = kernel
            .part::<crate::registry::Registry>()
            .bind(name, address.home().clone());
        bound.map_err(|error: NameError| StartError::Name {
            name: name.clone(),
            error,
        })?;
    }
    let name = tree.name.clone();
    let birth = crate::process::Birth {
        parent: Some(kernel.root()),
        ..crate::process::Birth::default()
    };
    let started = serve::start(&home, birth, tree).finish().await;
    if started.is_err()
        && let Some(name) = &name
    {
        kernel
            .part::<crate::registry::Registry>()
            .release(name, &**address.home());
    }
    started.map(|_| SupervisorHandle(address))
}
