//! Hand on a message with the proof of what its sender has shown.

use std::fmt;

use crate::connection::Connection;

/// A message `M` from a peer, with the proof `P` of what that peer has shown so far.
///
/// Only the driver and the layers make one: there is no public constructor, so a handler that takes
/// `Inbound<T, Authenticated<U>>` cannot be called with a message whose sender was not authenticated.
pub struct Inbound<M, P> {
    /// The message.
    pub message: M,
    proof: P,
    connection: Connection,
}

impl<M, P> Inbound<M, P> {
    pub(crate) fn new(message: M, proof: P, connection: Connection) -> Self {
        Self { message, proof, connection }
    }

    /// What the sender has shown.
    pub fn proof(&self) -> &P {
        &self.proof
    }

    /// The connection the message came on.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The message, the proof and the connection.
    pub fn into_parts(self) -> (M, P, Connection) {
        (self.message, self.proof, self.connection)
    }

    /// The same proof and connection with another message: what a decoding layer does.
    pub fn map<N>(self, map: impl FnOnce(M) -> N) -> Inbound<N, P> {
        Inbound { message: map(self.message), proof: self.proof, connection: self.connection }
    }
}

impl<M, P: fmt::Debug> fmt::Debug for Inbound<M, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound")
            .field("proof", &self.proof)
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}
