//! Say how far output got, and whether the socket has room for more.

/// How far the output got.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Written {
    /// The socket has everything.
    All,
    /// The socket is full.
    Pending,
    /// A walker is writing.
    PenIsOut,
    /// The queue went over its bound and is gone.
    Overflowed,
    /// The process needed the queue's memory.
    Evicted,
    /// The socket failed.
    Lost,
}

/// Whether a socket took all that there was for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SocketRoom {
    /// It did, or there is nobody to say.
    Free,
    /// It takes no more for now.
    Full,
}

impl Written {
    /// What it says of the socket; nothing if somebody else has it.
    pub(crate) fn room(self) -> Option<SocketRoom> {
        match self {
            Self::Pending => Some(SocketRoom::Full),
            Self::PenIsOut => None,
            Self::All | Self::Overflowed | Self::Evicted | Self::Lost => Some(SocketRoom::Free),
        }
    }
}
