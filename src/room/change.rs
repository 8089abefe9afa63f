//! What is to be changed of a key of a room.

use std::{any::Any, sync::Arc};

use crate::outbound::frame::Frame;

/// A key gets a value, or has none any more.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) key: Arc<str>,
    /// What the members are told.
    pub(super) frame: Frame,
    pub(super) is_removal: bool,
}

/// Keeps a room in the directory while the application has values in it. Must not be dropped under a room's
/// lock.
pub(super) type Pin = Box<dyn Any + Send + Sync>;

impl Change {
    pub(super) fn set(key: &str, frame: Frame) -> Self {
        Self { key: key.into(), frame, is_removal: false }
    }

    pub(super) fn unset(key: &str, frame: Frame) -> Self {
        Self { is_removal: true, ..Self::set(key, frame) }
    }
}
