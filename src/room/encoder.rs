//! Write what is published, once for all members.

use std::{
    any::TypeId,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;

use crate::{
    close::Close,
    connection::Connection,
    foreign,
    layers::{Encode, EncodeError, Stamped},
    message::Message,
    outbound::frame::Frame,
    room::{position::Position, scope::RoomNotice},
};

/// What is to be published.
#[derive(Clone, Debug)]
pub(super) enum Publication {
    /// The frame that all members get.
    Frame(Frame),
    /// What it is made of when the position is known.
    Stamped(Stamped),
}

impl Publication {
    /// The frame, for a room whose next message is at `position`, if it keeps a history.
    pub(super) fn frame(&self, position: Option<Position>) -> Frame {
        match self {
            Self::Frame(frame) => frame.clone(),
            Self::Stamped(stamped) => {
                let position = position.map(|it| it.to_string()).unwrap_or_default();
                Frame::of(&stamped.at(&position))
            }
        }
    }
}

/// What a joiner is told, however its join comes out.
#[derive(Clone, Debug)]
pub(super) enum Welcome {
    Plain(Message),
    Stamped { recovered: Option<Stamped>, otherwise: Stamped },
}

impl Welcome {
    /// The message to who joins at `position`, and got what it had missed or not.
    pub(super) fn message(&self, position: Option<Position>, recovered: bool) -> Message {
        match self {
            Self::Plain(message) => message.clone(),
            Self::Stamped { recovered: whole, otherwise } => {
                let stamped = whole.as_ref().filter(|_| recovered).unwrap_or(otherwise);
                stamped.at(&position.map(|it| it.to_string()).unwrap_or_default())
            }
        }
    }
}

/// The codec of the rooms.
pub(super) struct Encoder<R> {
    codec: Box<dyn Encode<R>>,
    /// The rooms keep a history.
    stamps: bool,
    codec_type: TypeId,
    /// How a notice is said that no message of the peer's asked for. Known when somebody joins.
    words: OnceLock<fn(RoomNotice) -> R>,
    /// The operator was told that an endpoint has another codec.
    reported: AtomicBool,
}

impl<R: 'static> Encoder<R> {
    pub(super) fn new<C: Encode<R>>(codec: C, stamps: bool) -> Self {
        let codec_type = TypeId::of::<C>();
        let (codec, words, reported) = (Box::new(codec), OnceLock::new(), AtomicBool::new(false));
        Self { codec, stamps, codec_type, words, reported }
    }

    /// Writes `message` as all members get it.
    pub(super) fn publication(&self, message: &R) -> Result<Publication, EncodeError> {
        Ok(if self.stamps {
            Publication::Stamped(self.codec.encode_stamped(message)?)
        } else {
            Publication::Frame(Frame::of(&self.codec.encode(message)?))
        })
    }

    /// Writes `message` as the value of a key: it has no position.
    pub(super) fn frame(&self, message: &R) -> Result<Frame, EncodeError> {
        Ok(Frame::of(&self.codec.encode(message)?))
    }

    /// Writes what a joiner is told: `notice` of whether it got what it had missed, if it asked.
    pub(super) fn welcome(
        &self,
        asked: bool,
        notice: impl Fn(Option<bool>) -> R,
    ) -> Result<Welcome, EncodeError> {
        Ok(match (self.stamps, asked) {
            (false, false) => Welcome::Plain(self.encode(&notice(None))?),
            (false, true) => Welcome::Plain(self.encode(&notice(Some(false)))?),
            (true, false) => {
                let stamped = self.codec.encode_stamped(&notice(None))?;
                Welcome::Stamped { recovered: None, otherwise: stamped }
            }
            (true, true) => Welcome::Stamped {
                recovered: Some(self.codec.encode_stamped(&notice(Some(true)))?),
                otherwise: self.codec.encode_stamped(&notice(Some(false)))?,
            },
        })
    }

    /// Writes a notice that is about the room's log at `position`, if it is; nothing if the application
    /// cannot say it.
    pub(super) fn notice(&self, notice: RoomNotice, position: Option<Position>) -> Option<Message> {
        let words = self.words.get()?;
        foreign::run(|| {
            let message = words(notice);
            match position.filter(|_| self.stamps) {
                Some(at) => self.codec.encode_stamped(&message).map(|it| it.at(&at)),
                None => self.encode(&message),
            }
        })?
        .ok()
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
    /// Notices are said in these words.
    pub(super) fn speak(&self, words: fn(RoomNotice) -> R) {
        self.words.get_or_init(|| words);
    }

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
