//! Hold a place while a connection lives.

/// What a connection holds while it lives: a place under the caps on connections.
pub(crate) trait Permit: Send + 'static {
    /// It is known whether the peer may stay: it was authenticated, or the connection is closing.
    fn verdict(&mut self);
}

impl Permit for () {
    fn verdict(&mut self) {}
}
