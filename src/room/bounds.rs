//! Know what the members of a room can take, whoever they are.
//!
//! Members may have come by different endpoints with different bounds. What one of them cannot take is
//! nothing that it should be closed for: it did not make it. So a room says to whoever publishes what
//! fits all of them.

use crate::outbound::OutboundLimits;

/// The bounds of those who are in a room, and what they come to together.
#[derive(Debug)]
pub(super) struct Bounds {
    /// Each with how many members have it: as many entries as endpoints that differ.
    kinds: Vec<(OutboundLimits, usize)>,
    message_size: usize,
    share: usize,
    bytes: usize,
}

impl Bounds {
    /// Those of nobody: everything fits.
    pub(super) fn new() -> Self {
        Self { kinds: Vec::new(), message_size: usize::MAX, share: 0, bytes: usize::MAX }
    }

    /// The most payload bytes of a message that fits everybody.
    pub(super) fn message_size(&self) -> usize {
        self.message_size
    }

    /// The most that a message is of a member's bound in bytes, however small it is.
    pub(super) fn share(&self) -> usize {
        self.share
    }

    /// The most that may be published before everybody was offered it: a part of what each member may hold,
    /// so that nobody who was up to date is over its bound by it.
    pub(super) fn unwalked(&self) -> u64 {
        (self.bytes / 4).min(UNWALKED) as u64
    }

    pub(super) fn add(&mut self, limits: OutboundLimits) {
        match self.kinds.iter_mut().find(|(it, _)| *it == limits) {
            Some((_, members)) => *members += 1,
            None => self.kinds.push((limits, 1)),
        }
        self.message_size = self.message_size.min(limits.message_size);
        self.share = self.share.max(limits.share());
        self.bytes = self.bytes.min(limits.bytes);
    }

    pub(super) fn remove(&mut self, limits: OutboundLimits) {
        let Some(at) = self.kinds.iter().position(|(it, _)| *it == limits) else {
            return;
        };
        if let Some((_, members)) = self.kinds.get_mut(at).filter(|(_, members)| *members > 1) {
            *members -= 1;
            return;
        }
        self.kinds.swap_remove(at);
        let sizes = self.kinds.iter().map(|(limits, _)| limits.message_size);
        self.message_size = sizes.min().unwrap_or(usize::MAX);
        self.share = self.kinds.iter().map(|(limits, _)| limits.share()).max().unwrap_or(0);
        self.bytes = self.kinds.iter().map(|(limits, _)| limits.bytes).min().unwrap_or(usize::MAX);
    }
}

/// A quarter of what a connection may hold by default.
const UNWALKED: usize = 256 * 1024;
