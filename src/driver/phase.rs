//! Name the stages of a connection, in their order.

/// The stages of a connection.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Phase {
    /// Messages flow.
    Open,
    /// Nothing more is handled: the call in flight may finish and the queue go out.
    Finishing,
    /// The queue may go out; the call is gone.
    Flushing,
    /// The close frame is to be written; everything else is gone.
    Closing,
    /// The close frame is out and the write half shut: what the peer still sends is discarded.
    Lingering,
    /// The socket may be dropped.
    Done,
}
