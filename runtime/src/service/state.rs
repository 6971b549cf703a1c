//! `get_state`: a look at the state of a running actor, for tests and debugging. OTP's `sys:get_state`.

use std::any::Any;
use std::fmt;

use tokio::sync::oneshot;

use crate::actor::Actor;
use crate::address::Address;
use crate::exit::ExitReason;
use crate::limits::CALL_TIMEOUT;
use crate::mailbox::lanes::Question;
use crate::pid::Pid;
use crate::process::{current, run};
use crate::timer;

/// The state of a process could not be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// There is no process behind the address, or it ended before it could answer.
    Gone,
    /// A process asked for its own state, which it would wait for for ever.
    CallingSelf,
    /// It is a closure process, a job or a supervisor: its state is not an [`Actor`].
    NotAnActor,
    /// It is an actor of another type.
    WrongType,
    /// It was busy with one message, or with its `init`, for 5 s.
    Timeout,
    /// The closure panicked; the process lives on.
    Panicked(ExitReason),
}

impl fmt::Display for StateError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateError::Gone => formatter.write_str("process is gone"),
            StateError::CallingSelf => formatter.write_str("process asked for its own state"),
            StateError::NotAnActor => formatter.write_str("process is not an actor"),
            StateError::WrongType => formatter.write_str("process is an actor of another type"),
            StateError::Timeout => formatter.write_str("process was busy for too long"),
            StateError::Panicked(reason) => write!(formatter, "the look panicked: {reason}"),
        }
    }
}

impl std::error::Error for StateError {}

impl<M: Send + 'static> Address<M> {
    /// Shows the state of the actor behind this address to a closure, and gives what that returns. For tests and debugging: a service
    /// that others depend on has a message for what it tells.
    ///
    /// The closure runs in the actor's process, between two messages and ahead of those that wait, at most 5 s later.
    ///
    /// # Errors
    /// [`StateError`].
    ///
    /// Cancel safety: a dropped future leaks nothing; the closure may still run.
    ///
    /// ```
    /// # use mesh_runtime::{Actor, Context, ExitReason, Flow, System};
    /// struct Counter(u64);
    ///
    /// impl Actor for Counter {
    ///     type Args = u64;
    ///     type Message = u64;
    ///     async fn init(start: u64, _cx: &mut Context<u64>) -> Result<Self, ExitReason> {
    ///         Ok(Counter(start))
    ///     }
    ///     async fn handle(&mut self, n: u64, _cx: &mut Context<u64>) -> Flow {
    ///         self.0 += n;
    ///         Flow::Continue
    ///     }
    /// }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let system = System::new();
    /// let counter = system.start::<Counter>(42).await?;
    /// assert_eq!(counter.get_state(|counter: &Counter| counter.0).await?, 42);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_state<A, R>(
        &self,
        look: impl FnOnce(&A) -> R + Send + 'static,
    ) -> Result<R, StateError>
    where
        A: Actor<Message = M>,
        R: Send + 'static,
    {
        let pid = self.pid();
        if current::pid() == Some(pid) {
            return Err(StateError::CallingSelf);
        }
        let process = self.kernel().table().get(pid).ok_or(StateError::Gone)?;
        if !process.answers {
            return Err(StateError::NotAnActor);
        }
        let (sender, answer) = oneshot::channel();
        let asked = process.ask(Question::new(move |state| {
            // Nobody may wait any more; the answer is then the user's, and dropped where its panic harms nobody.
            if let Err(unwanted) = sender.send(seen(pid, state, look)) {
                run::discard(pid, unwanted);
            }
        }));
        drop(process);
        if !asked {
            return Err(StateError::Gone);
        }
        timer::timeout(self.kernel().timers(), CALL_TIMEOUT, answer)
            .await
            .map_err(|_| StateError::Timeout)?
            .unwrap_or(Err(StateError::Gone))
    }
}

fn seen<A: 'static, R>(
    pid: Pid,
    state: &dyn Any,
    look: impl FnOnce(&A) -> R,
) -> Result<R, StateError> {
    let state = state.downcast_ref().ok_or(StateError::WrongType)?;
    run::contain(pid, || look(state)).map_err(StateError::Panicked)
}
