//! The GenServer contract on an address: a call is a message that carries its reply token.
//!
//! The client verbs of a service stand beside its server, as functions on its handle:
//!
//! ```
//! use mesh_runtime::{Address, CallError, ReplyTo, SendError};
//!
//! pub enum Message {
//!     Add(u64),
//!     Total(ReplyTo<u64>),
//! }
//!
//! #[derive(Clone)]
//! pub struct CounterHandle(Address<Message>);
//!
//! impl CounterHandle {
//!     pub fn add(&self, n: u64) -> Result<(), SendError<Message>> {
//!         self.0.send(Message::Add(n))
//!     }
//!     pub async fn total(&self) -> Result<u64, CallError> {
//!         self.0.call(Message::Total).await
//!     }
//! }
//! ```

mod call;
pub(crate) mod state;
