//! Say why a message was not queued.

use std::{error::Error, fmt};

use crate::message::Message;

/// Why a message was not queued. It holds the message.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SendError {
    /// No message to this peer may be so large
    /// ([`max_outbound_message_size`](crate::ConnectionConfig::max_outbound_message_size)). It is the
    /// fault of whoever made it: the connection goes on.
    TooLarge(Message),
    /// The peer reads too slowly: its queue is full, was dropped, and the connection closes.
    Full(Message),
    /// The connection is closed or closing.
    Closed(Message),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge(_) => "the message is larger than any to this peer may be",
            Self::Full(_) => "the peer reads too slowly: its queue is full",
            Self::Closed(_) => "the connection is closed",
        })
    }
}

impl Error for SendError {}
