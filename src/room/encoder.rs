//! Write what is published, once for all members.

use std::{
    any::TypeId,
    sync::atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;

use crate::{
    close::Close,
    connection::Connection,
    layers::{Encode, EncodeError},
    message::Message,
    outbound::frame::Frame,
};

/// The codec of the rooms.
pub(super) struct Encoder<R> {
    codec: Box<dyn Encode<R>>,
    codec_type: TypeId,
    /// The operator was told that an endpoint has another codec.
    reported: AtomicBool,
}

impl<R: 'static> Encoder<R> {
    pub(super) fn new<C: Encode<R>>(codec: C) -> Self {
        let codec_type = TypeId::of::<C>();
        Self { codec: Box::new(codec), codec_type, reported: AtomicBool::new(false) }
    }

    /// Writes `message` as the frame that all members get.
    pub(super) fn frame(&self, message: &R) -> Result<Frame, EncodeError> {
        self.codec.encode(message).map(|message| Frame::of(&message))
    }

    /// Writes `message`, and copies what the codec has made of it: it may wait, and
    /// whoever serves it would run the destructor of a payload that is the codec's.
    pub(super) fn encode(&self, message: &R) -> Result<Message, EncodeError> {
        Ok(match self.codec.encode(message)? {
            Message::Text(text) => Message::text(text.as_str()),
            Message::Binary(bytes) => Message::Binary(Bytes::copy_from_slice(&bytes)),
        })
    }
}

impl<R> Encoder<R> {
    /// Whether what is published is written as `connection` is written to, or the reason that it
    /// closes with: its peer could not read what it hears. It is a mistake in how the endpoint was
    /// built, and who built it is told once.
    pub(super) fn check(&self, connection: &Connection) -> Result<(), Close> {
        if connection.codec().is_none_or(|it| it == self.codec_type) {
            return Ok(());
        }
        connection.refuse("rooms", "stack.codec", None, None);
        if !self.reported.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a connection was refused a room, because its DecodeLayer has another codec than the \
                 room: give both the same, by DecodeLayer::new and RoomsConfig::codec"
            );
        }
        Err(Close::HANDLER_FAILED)
    }
}
