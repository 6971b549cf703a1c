//! What every public type promises to the compiler.

use mesh_runtime::{
    Address, CallError, ChildSpec, Context, ExitReason, Inspection, Job, Pid, Probe, Ref, ReplyTo,
    Rooms, SendError, Signal, Supervisor, SupervisorHandle, System, TimerRef,
};

fn send<T: Send>() {}
fn sync<T: Send + Sync>() {}

/// A message that may move between threads but not be shared.
type Message = std::cell::Cell<u8>;

#[test]
fn public_types_cross_threads() {
    sync::<System>();
    sync::<Address<Message>>();
    sync::<Pid>();
    sync::<Ref>();
    sync::<TimerRef>();
    sync::<ExitReason>();
    sync::<Signal>();
    sync::<CallError>();
    sync::<Rooms>();
    sync::<SupervisorHandle>();
    sync::<ReplyTo<Message>>();
    sync::<Inspection>();
    send::<SendError<Message>>();
    send::<Context<Message>>();
    send::<Supervisor>();
    send::<ChildSpec>();
    send::<Job<Message>>();
    send::<Probe<Message>>();
}

#[cfg(feature = "sim")]
#[test]
fn public_types_of_the_laboratory_cross_threads() {
    use mesh_runtime::sim::{Check, Endpoint, Failure, Faults, Network, Sim, SimError, Trace};
    // One thread runs it; processes on other systems' threads may hold it.
    sync::<Sim>();
    sync::<Network>();
    sync::<Endpoint>();
    sync::<Faults>();
    sync::<Trace>();
    sync::<Check>();
    sync::<Failure>();
    sync::<SimError>();
}
