//! Refuse bounds that contradict each other, before there is a connection to suffer from it.
//!
//! A bound that is found to be impossible behind a queue is found at the wrong end: it closes the
//! connections of those who receive, one after the other, for what the operator has written.

use std::{error::Error, fmt, time::Duration};

use super::config::{ConnectionConfig, messages_of};
use crate::quota::Quota;

/// Bounds of a connection that cannot work.
///
/// Its text is a sentence for the operator, with the values.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ConnectionConfigError {
    /// A time that is over before anything can happen.
    TooShort {
        /// The setting's name.
        setting: &'static str,
        /// What it is set to.
        time: Duration,
    },
    /// A peer that answers every ping would be closed for its pongs.
    PingsTooOften {
        /// What it is set to.
        ping_interval: Duration,
        /// Pongs and pings that a peer may send.
        control_frames: Quota,
    },
    /// What a peer may send could not be sent on.
    OutboundMessageTooSmall {
        /// What it is set to, in bytes.
        max_outbound_message_size: usize,
        /// What may come in, in bytes.
        max_message_size: usize,
    },
    /// The queue for a peer does not hold two messages.
    OutboundTooSmall {
        /// `max_outbound_bytes` or `max_outbound_messages`.
        setting: &'static str,
        /// What it is set to.
        value: usize,
        /// What it must be at least.
        least: usize,
    },
}

impl ConnectionConfigError {
    /// The name of the setting to change, as [`ConnectionConfig`] calls it.
    pub fn setting(&self) -> &'static str {
        match self {
            Self::TooShort { setting, .. } | Self::OutboundTooSmall { setting, .. } => setting,
            Self::PingsTooOften { .. } => "ping_interval",
            Self::OutboundMessageTooSmall { .. } => "max_outbound_message_size",
        }
    }
}

impl ConnectionConfig {
    /// The bounds, if they can work together.
    pub(crate) fn checked(self) -> Result<Self, ConnectionConfigError> {
        let times = [
            ("auth_timeout", Some(self.auth_timeout)),
            ("handler_timeout", Some(self.handler_timeout)),
            ("message_timeout", Some(self.message_timeout)),
            ("ping_interval", Some(self.ping_interval)),
            ("pong_timeout", Some(self.pong_timeout)),
            ("idle_timeout", self.idle_timeout),
            ("write_timeout", Some(self.write_timeout)),
            ("close_timeout", Some(self.close_timeout)),
        ];
        for (setting, time) in times {
            if let Some(time) = time.filter(|it| *it < SHORTEST) {
                return Err(ConnectionConfigError::TooShort { setting, time });
            }
        }
        let Self { ping_interval, control_frames, .. } = self;
        if ping_interval < control_frames.interval() || control_frames.at_once() == 0 {
            return Err(ConnectionConfigError::PingsTooOften { ping_interval, control_frames });
        }
        let largest = self.outbound_message_size();
        if largest < self.max_message_size {
            return Err(ConnectionConfigError::OutboundMessageTooSmall {
                max_outbound_message_size: largest,
                max_message_size: self.max_message_size,
            });
        }
        let queue = [
            ("max_outbound_bytes", self.outbound_bytes(), messages_of(largest, 2)),
            ("max_outbound_messages", self.max_outbound_messages, 2),
        ];
        for (setting, value, least) in queue {
            if value < least {
                return Err(ConnectionConfigError::OutboundTooSmall { setting, value, least });
            }
        }
        Ok(self)
    }
}

impl fmt::Display for ConnectionConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let setting = self.setting();
        match self {
            Self::TooShort { time, .. } => {
                write!(f, "{setting} is {time:?}: it must be a millisecond at least")
            }
            Self::PingsTooOften { ping_interval, control_frames } => write!(
                f,
                "{setting} is {ping_interval:?}, and a peer may send {control_frames}, \
                 in control frames: it would be closed for its pongs"
            ),
            Self::OutboundMessageTooSmall { max_outbound_message_size, max_message_size } => {
                write!(
                    f,
                    "{setting} is {max_outbound_message_size}, and a peer may send messages of \
                 {max_message_size} bytes: they could not be passed on"
                )
            }
            Self::OutboundTooSmall { value, least, .. } => write!(
                f,
                "{setting} is {value}: it must be {least} at least, for two of the largest messages"
            ),
        }
    }
}

impl Error for ConnectionConfigError {}

/// tokio's timers count milliseconds.
const SHORTEST: Duration = Duration::from_millis(1);

#[cfg(test)]
#[path = "tests/config_error.rs"]
mod tests;
